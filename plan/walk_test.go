package plan_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/plan"
	"github.com/flotilla-etcd/flotilla/plan/model"
)

// A chooser decides what a walk leaves open: 0 ≤ choice < n.
type chooser func(n int, label string) int

// A planner is plan.Next, or a broken one that a test must catch.
type planner func(plan.Input) fleet.Decision

// walk drives one cluster through operations on the model while it breaks things.
type walk struct {
	rules
	choose chooser
	next   planner
	tally  *tally
	spec   fleet.Spec
	log    strings.Builder
	ops    int
	lost   int // hosts that were lost
	refuse int // purchases that were refused for want of stock
	// seen are the observations of the running operation, before those of the
	// creates before it: what a list that lags behind may show.
	seen    []fleet.Observation
	earlier []fleet.Observation
}

// tally counts what walks have visited, over all of them.
type tally struct {
	states, transitions map[string]bool
	waves, done         int
	verdicts            map[string]int
}

func newTally() *tally {
	return &tally{states: map[string]bool{}, transitions: map[string]bool{}, verdicts: map[string]int{}}
}

func newWalk(choose chooser, next planner, tally *tally) *walk {
	w := &walk{choose: choose, next: next, tally: tally}
	w.rules = rules{world: model.New(), bought: map[string]string{}, startedOn: map[string]string{}}
	w.spec = fleet.Spec{
		Name: "orders", Provider: "local", Region: "local-1", Voters: 1 + 2*choose(4, "voters"), Learners: choose(3, "learners"),
		Zones: []string{"a", "b", "c", "d"}[:1+choose(4, "zones")], Etcd: fleet.EtcdSpec{Version: "3.7.3"},
		Machine: fleet.MachineSpec{Type: "small", Disk: fleet.DiskSpec{Category: "ssd"}},
	}.WithDefaults()
	return w
}

// once says yes one time in n.
func (w *walk) once(n int, label string) bool { return w.choose(n, label) == n-1 }

func (w *walk) say(format string, args ...any) { fmt.Fprintf(&w.log, format+"\n", args...) }

func (w *walk) operation(kind fleet.OperationKind) fleet.Operation {
	w.ops++
	return fleet.Operation{ID: fmt.Sprintf("op-%d", w.ops), Kind: kind, Cluster: w.spec.Name, UID: "uid-of-orders", Spec: w.spec}
}

// run is the operation's workflow: look, run the wave, look again, for at most so
// many waves. In rough weather things break and lists lag behind.
func (w *walk) run(op fleet.Operation, waves int, rough bool) fleet.Decision {
	w.say("%s %s, %d waves, rough %v", op.Kind, op.ID, waves, rough)
	in := plan.Input{Operation: op}
	w.seen = nil
	for range waves {
		if rough {
			w.disturb()
		} else {
			w.world.Settle()
		}
		in.Observation = w.observe(op, rough)
		d := w.next(in)
		w.say("  %s %s %s", d.Verdict, plan.Words(d.Wave), d.Reason)
		w.decision(op, in.Observation, d)
		w.tally.verdicts[string(op.Kind)+" "+string(d.Verdict)]++
		switch d.Verdict {
		case fleet.VerdictWait:
			continue
		case fleet.VerdictBlocked:
			w.blocked(op, d)
			return d
		case fleet.VerdictDone:
			return d
		}
		in.Failures = append(in.Failures, w.wave(op, d.Wave, rough)...)
	}
	return fleet.Decision{}
}

// wave does the steps in some order, and in rough weather not all of them, or not
// all of each.
func (w *walk) wave(op fleet.Operation, steps []fleet.Step, rough bool) []fleet.Failure {
	var failures []fleet.Failure
	steps = append([]fleet.Step(nil), steps...)
	w.tally.waves++
	for len(steps) > 0 {
		i := 0
		if rough {
			i = w.choose(len(steps), "which step")
		}
		s := steps[i]
		steps = append(steps[:i], steps[i+1:]...)
		if rough && w.once(12, "crash before the step") {
			w.say("    %s: crash before", s)
			continue
		}
		was := w.state()
		err := w.step(op, s, rough)
		w.after(op, s, err)
		w.visit(was, s)
		if err != nil {
			w.say("    %s: %v", s, err)
			failures = append(failures, fleet.Failure{Step: s, Kind: fleet.KindOf(err), Message: err.Error()})
			if fleet.Is(err, fleet.OutOfCapacity) {
				w.refuse++
			}
		}
		if rough && w.once(10, "disturb in a wave") {
			w.disturb()
		}
	}
	return failures
}

// step does a step, at times twice: whoever crashed in it does it again.
func (w *walk) step(op fleet.Operation, s fleet.Step, rough bool) error {
	for {
		w.before(op, s)
		all, err := w.world.Effects(op, s)
		n := len(all)
		crash := rough && n > 0 && w.once(8, "crash inside the step")
		if crash {
			n = w.choose(n, "effects done")
		}
		for _, effect := range all[:n] {
			effect()
		}
		if !crash {
			return err
		}
		w.say("    %s: crash after %d of %d effects", s, n, len(all))
		w.after(op, s, err)
		if w.once(2, "give up after the crash") {
			return nil
		}
	}
}

// disturb does what a cloud, a network and a client do at any time.
func (w *walk) disturb() {
	hosts := w.world.Observe().Hosts
	if w.once(2, "settle") {
		w.world.Settle()
	}
	if len(hosts) > 0 && w.once(12, "lose a host") {
		h := hosts[w.choose(len(hosts), "lost host")]
		w.say("    lost: host %s of %s", h.ID, h.Member())
		w.world.LoseHost(h.ID)
		w.lost++
	}
	if w.once(8, "stock changes") {
		zone := w.spec.Zones[w.choose(len(w.spec.Zones), "zone")]
		w.world.SoldOut(zone, w.once(2, "sold out"))
	}
	if len(hosts) > 0 && w.once(8, "silence changes") {
		w.world.Silence(hosts[w.choose(len(hosts), "silent host")].ID, w.once(2, "silent"))
	}
}

// observe looks at the world. In rough weather the look may be an old one, lists
// may lag behind what members say. A list that may be incomplete is an error of
// whoever lists, and leads to no decision.
func (w *walk) observe(op fleet.Operation, rough bool) fleet.Observation {
	obs := w.world.Observe()
	w.seen = append(w.seen, obs)
	if !rough {
		return obs
	}
	// A create may meet lists from before an earlier create ended, unless that one had
	// a purchase refused: which zone it went to in the end, only lists tell.
	old := w.seen
	if op.Kind == fleet.CreateCluster && w.refuse == 0 {
		old = append(append([]fleet.Observation{}, w.earlier...), w.seen...)
	}
	switch w.choose(12, "kind of look") {
	case 11: // decided long ago, acted on only now
		obs = w.seen[w.choose(len(w.seen), "old look")]
		w.say("    an old look")
	case 10, 9: // eventual consistency
		was := old[w.choose(len(old), "old lists")]
		obs.Hosts, obs.Disks = w.relist(was.Hosts, obs.Hosts), was.Disks
		w.say("    old lists")
	case 8:
		obs.Unknowns = append(slices.Clone(obs.Unknowns), "something could not be seen")
	}
	return obs
}

// relist is an old list of hosts, with what the hosts on it say now.
func (w *walk) relist(old, now []fleet.ObservedHost) []fleet.ObservedHost {
	var list []fleet.ObservedHost
	for _, h := range old {
		h.Report, h.Silent = nil, "no answer"
		for _, n := range now {
			if n.ID == h.ID {
				h.Report, h.Silent = n.Report, n.Silent
			}
		}
		list = append(list, h)
	}
	return list
}

// state names the world's state without the names of what was bought.
func (w *walk) state() string {
	var b strings.Builder
	obs := w.world.Observe()
	fmt.Fprintf(&b, "%d+%d/%d a%v q%v s%v", w.spec.Voters, w.spec.Learners, len(w.spec.Zones), obs.Authority, obs.Quorum, w.world.Saved())
	for _, name := range plan.MemberNames(w.spec) {
		b.WriteString("|")
		if h := obs.Host(name); h != nil {
			b.WriteString(h.Zone + string(h.State[:1]))
			if m := h.Report.Find(name); m != nil {
				fmt.Fprintf(&b, "%s%v", m.State, m.CertifiedUntil.IsZero())
			} else if h.Report == nil {
				b.WriteString("silent")
			}
		}
		if d := obs.Disk(name); d != nil {
			fmt.Fprintf(&b, "d%s%v%v", d.Zone, d.State, w.world.HoldsData(d.ID) != "")
		}
		if m := obs.Member(name); m != nil {
			fmt.Fprintf(&b, "m%v", m.Answers)
		}
	}
	return b.String()
}

func (w *walk) visit(was string, s fleet.Step) {
	is := w.state()
	w.tally.states[is] = true
	w.tally.transitions[was+" "+s.String()+" "+is] = true
}
