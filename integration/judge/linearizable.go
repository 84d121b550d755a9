package judge

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"
	"time"

	"github.com/anishathalye/porcupine"
)

const (
	// CheckTimeout bounds what porcupine takes for all keys, but for a second for
	// each part that is left then. It takes milliseconds a part, unless a part is
	// very wrong.
	CheckTimeout = time.Minute
	// partSize is from how many calls on a key's history is cut, at the next moment
	// at which no call is under way: what porcupine remembers grows with the square.
	partSize = 400
)

// step is a call as it concerns one key.
type step struct {
	call    int
	cond    *Condition // on this key
	write   *Write
	certain bool // it is known whether it took effect: held
	held    bool
	rev     int64 // of the write; zero if unknown
	saw     *Sight
	at      int64 // the store's revision that saw is of
	// What follows from the other steps spares porcupine all ways that end nowhere,
	// of which there are too many when something is wrong. Revisions only grow, so
	// before a change at a known revision comes the one with the next lower known
	// revision, after; what was seen at a revision between the two is of it, its
	// version. What a change replaces cannot be seen any more, so all that saw it
	// come before, sights of them. And of those, which leave the key as it is, one
	// that began earlier can always come earlier: each has its turn.
	after, version int64
	sights, turn   int
}

// changes says whether a step is sure to have changed the key, at a known revision.
func (t step) changes() bool {
	return t.certain && t.held && t.write != nil && (!t.write.Delete || t.saw == nil || t.saw.Mod > 0)
}

// state is a key.
type state struct {
	there bool
	value string
	mod   int64 // of the last change, also of a deletion; zero when not known
	base  int64 // of the last change whose revision is known
	seen  int   // how many steps have seen what base left
}

// next says whether a key in a state could answer so, and what it is then.
func (s state) next(t step) (bool, state) {
	if t.saw != nil {
		if s.base != t.version || s.seen != t.turn || s.there != (t.saw.Mod > 0) || s.there && (s.value != t.saw.Value || s.mod != t.saw.Mod) {
			return false, s
		}
		s.seen++
	}
	holds := true
	if t.cond != nil {
		holds = s.meets(*t.cond)
	}
	if t.certain {
		if t.cond != nil && holds != t.held {
			return false, s
		}
		holds = t.held
	}
	if !holds || t.write == nil {
		return true, s
	}
	if t.write.Delete && !s.there {
		return !t.changes(), s
	}
	next := state{there: !t.write.Delete, value: t.write.Value, mod: t.rev, base: s.base, seen: s.seen}
	if !t.changes() {
		return true, next
	}
	next.base, next.seen = t.rev, 0
	return s.base == t.after && s.seen == t.sights, next
}

// meets compares what etcd compared, or the value where the revision is not known:
// each value was written once, so the two say the same.
func (s state) meets(c Condition) bool {
	switch {
	case c.Mod == 0 || !s.there:
		return !s.there && c.Mod == 0
	case c.ByValue || s.mod == 0:
		return s.value == c.Value
	}
	return s.mod == c.Mod
}

// model is one key for porcupine, from a state on.
func model(from state) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return from },
		Step: func(s, t, _ any) (bool, any) {
			ok, next := s.(state).next(t.(step))
			return ok, next
		},
	}
}

// checkKeys checks that some order of the calls on each key, which keeps to the
// times at which they began and ended, explains all answers. Stale reads are left
// out, and keys with leases, which nobody's call deletes.
func (c *checker) checkKeys() {
	for key, ops := range c.operations() {
		c.verdict.Checked["key"]++
		c.checkKey(key, ops)
	}
}

// operations sorts the calls by key.
func (c *checker) operations() map[string][]porcupine.Operation {
	all := map[string][]porcupine.Operation{}
	for i := range c.calls {
		call := &c.calls[i]
		end, revision, certain := call.End, call.Revision, true
		if call.Outcome != OK {
			happened, did := c.ledger.happened[i]
			switch {
			case did:
				// It had been done when somebody knew its revision.
				revision = happened
				if known, ok := c.moments.known(revision); ok {
					end = max(known, call.Start)
				}
			case call.Kind == Delete && call.Outcome == Unknown && c.unexplained[call.Writes[0].Key]:
				end, revision, certain = math.MaxInt64, 0, false
			default:
				// What nobody saw explains nothing, so it may as well not have been.
				continue
			}
		}
		if call.Kind == Serializable || !call.Kind.linearizable() {
			continue
		}
		for key, t := range call.steps() {
			if c.ledger.leased[key] {
				continue
			}
			t.call, t.certain, t.rev, t.at = i, certain, revision, call.sightRevision()
			t.held = call.Held || call.Outcome != OK
			all[key] = append(all[key], porcupine.Operation{ClientId: call.Client, Input: t, Call: int64(call.Start), Return: int64(end)})
		}
	}
	return all
}

// steps gives what a call means for each key that it concerns.
func (c *Call) steps() map[string]step {
	steps := map[string]step{}
	for i := range c.Saw {
		steps[c.Saw[i].Key] = step{saw: &c.Saw[i]}
	}
	for i, w := range c.Writes {
		t := steps[w.Key]
		t.write = &c.Writes[i]
		steps[w.Key] = t
	}
	if c.If != nil {
		t := steps[c.If.Key]
		t.cond = c.If
		steps[c.If.Key] = t
	}
	return steps
}

// checkKey gives the calls on one key to porcupine, in parts that it can hold. A
// part ends where no call is under way; the key is then as its last write left it.
func (c *checker) checkKey(key string, ops []porcupine.Operation) {
	slices.SortStableFunc(ops, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	from := state{}
	for len(ops) > 0 {
		n, busy := 0, int64(0)
		for n < len(ops) && (n < partSize || ops[n].Call <= busy) {
			busy = max(busy, ops[n].Return)
			n++
		}
		c.verdict.Checked["part"]++
		to := chain(from, ops[:n])
		switch result := porcupine.CheckOperationsTimeout(model(from), ops[:n], c.timeLeft()); result {
		case porcupine.Illegal:
			c.violated(ruleLinear, "%s: no order of %d calls between %s and %s explains their answers%s", key, n,
				since(time.Duration(ops[0].Call)), since(c.lastEnd(ops[:n])), c.culprit(from, ops[:n]))
		case porcupine.Unknown:
			c.verdict.Undecided = append(c.verdict.Undecided, fmt.Sprintf("%s: whether %d calls between %s and %s are linearizable was not found out in time",
				key, n, since(time.Duration(ops[0].Call)), since(c.lastEnd(ops[:n]))))
		}
		from, ops = to, ops[n:]
	}
}

// chain fills in what follows from all steps together, and gives the state that they
// leave when nothing else goes on. The steps are in the order in which they began.
func chain(from state, ops []porcupine.Operation) state {
	var changes []int
	for i, op := range ops {
		if op.Input.(step).changes() {
			changes = append(changes, i)
		}
	}
	slices.SortFunc(changes, func(a, b int) int { return cmp.Compare(ops[a].Input.(step).rev, ops[b].Input.(step).rev) })
	sights := map[int64]int{}
	see := func(changing bool) {
		for i, op := range ops {
			t := op.Input.(step)
			if t.saw == nil || t.changes() != changing {
				continue
			}
			t.version = from.mod
			if n := sort.Search(len(changes), func(n int) bool { return ops[changes[n]].Input.(step).rev > t.at }); n > 0 {
				t.version = ops[changes[n-1]].Input.(step).rev
			}
			t.turn = sights[t.version]
			sights[t.version]++
			ops[i].Input = t
		}
	}
	see(false)
	see(true) // a change comes after all others that saw what it replaces
	for _, i := range changes {
		t := ops[i].Input.(step)
		t.after, t.sights = from.mod, sights[from.mod]
		ops[i].Input = t
		from = state{there: !t.write.Delete, value: t.write.Value, mod: t.rev, base: t.rev}
	}
	return from
}

// timeLeft is what may be spent on the next part.
func (c *checker) timeLeft() time.Duration { return max(time.Second, time.Until(c.deadline)) }

func (c *checker) lastEnd(ops []porcupine.Operation) (end time.Duration) {
	for _, op := range ops {
		end = max(end, c.calls[op.Input.(step).call].End)
	}
	return end
}

// culprit names the call that the longest explanation of a part cannot take in.
func (c *checker) culprit(from state, ops []porcupine.Operation) string {
	_, info := porcupine.CheckOperationsVerbose(model(from), ops, c.timeLeft())
	var longest []porcupine.Operation
	for _, explanation := range info.PartialLinearizationsOperations()[0] {
		if len(explanation) > len(longest) {
			longest = explanation
		}
	}
	explained := map[int]bool{}
	for _, op := range longest {
		explained[op.Input.(step).call] = true
	}
	for _, op := range ops {
		if call := op.Input.(step).call; !explained[call] {
			return fmt.Sprintf("; %d of them have one, without %s", len(longest), &c.calls[call])
		}
	}
	return ""
}
