package plan_test

import (
	"fmt"
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
	*entity
	choose chooser
	next   planner
	tally  *tally
	log    strings.Builder
	doing  fleet.OperationKind
	theme  fleet.OperationKind // what most of the operations of a life are, if any
	lost   int                 // hosts that were lost
	refuse int                 // purchases that were refused for want of stock
	// wounds are the faults that were not mended yet, and limit is how many of them
	// there may be at a time; zero means any number.
	wounds []wound
	limit  int
	backup *fleet.Restore // what is restored
	mild   bool           // nothing breaks that an observation does not show
	// seen are the observations of the running operation, before those of the ones
	// before it: what a list that lags behind may show.
	seen    []fleet.Observation
	earlier []fleet.Observation
}

func newWalk(choose chooser, next planner, tally *tally) *walk {
	w := &walk{choose: choose, next: next, tally: tally}
	w.rules = newRules(model.New())
	spec := fleet.Spec{
		Name: "orders", Provider: "local", Region: "local-1", Voters: 1 + 2*choose(4, "voters"), Learners: choose(3, "learners"),
		Zones:   []string{"a", "b", "c", "d"}[:1+choose(4, "zones")],
		Etcd:    fleet.EtcdSpec{Version: releases[choose(len(releases), "release")]},
		Machine: fleet.MachineSpec{Type: "small", Disk: fleet.DiskSpec{Category: "ssd"}},
	}
	if fleet.Minor(spec.Etcd.Version) == "3.5" {
		spec.Learners = min(1, spec.Learners)
	}
	if spec.Learners == 1 { // in some lives disks can change where they are
		w.world.Retyping("ssd", "essd")
	}
	w.entity = newEntity(spec.WithDefaults())
	return w
}

// releases are what clusters are made of: two of each minor, so that patches are
// changed as well.
var releases = []string{"3.5.32", "3.5.35", "3.6.11", "3.6.16", "3.7.1", "3.7.3"}

// once says yes one time in n.
func (w *walk) once(n int, label string) bool { return w.choose(n, label) == n-1 }

func (w *walk) say(format string, args ...any) { fmt.Fprintf(&w.log, format+"\n", args...) }

// patience is how many looks in a row may say that they want a clearer one. Then the
// operation ends and says what is unclear.
const patience = 4

// ending is how an operation ended: the verdict is wait if it was looked at too often,
// and empty if it was cancelled.
type ending struct {
	fleet.Decision
	in plan.Input
}

// run is the operation's workflow: look, run the wave, look again, for at most so
// many waves. In rough weather things break and lists lag behind.
func (w *walk) run(op fleet.Operation, waves int, rough bool) ending {
	w.say("%s %s of %s, %d waves, rough %v%s", op.Kind, op.ID, op.Generation, waves, rough, w.wish(op))
	w.begin(op)
	w.doing = op.Kind
	w.tally.of(op.Kind).operations++
	in := input(op)
	w.seen = nil
	var last fleet.Decision
	touched, waited := false, 0
	for range waves {
		last = fleet.Decision{}
		if rough {
			w.disturb()
		} else {
			w.world.Settle()
		}
		in.Observation = w.observe(op, rough)
		if op.Kind == fleet.RecoverQuorum && !plan.NeedsDisks(in) { // they are not looked at then
			in.Observation.Data, in.Observation.Stored = nil, nil
		}
		met(&in, in.Observation)
		d := w.next(in)
		w.say("  %s %s %s", d.Verdict, plan.Words(d.Wave), d.Reason)
		w.decision(in, d)
		w.tally.of(op.Kind).verdicts[d.Verdict]++
		if d.Verdict != fleet.VerdictAct {
			last = d
			if waited++; d.Verdict == fleet.VerdictWait && waited < patience {
				continue
			}
			break
		}
		touched, waited = true, 0
		if cancelled := w.wave(&in, d.Wave, rough); cancelled {
			break
		}
	}
	w.earlier = append(w.earlier, w.seen...)
	w.settle(in, last.Verdict == fleet.VerdictDone, touched, rough && w.once(30, "terminated"))
	if last.Verdict == fleet.VerdictBlocked || last.Verdict == fleet.VerdictWait && waited >= patience {
		w.advised(op, last)
	}
	return ending{last, in}
}

// wave does the steps in some order, and in rough weather it may end half way, when
// the operation is cancelled.
func (w *walk) wave(in *plan.Input, steps []fleet.Step, rough bool) (cancelled bool) {
	steps = append([]fleet.Step(nil), steps...)
	w.tally.of(in.Operation.Kind).waves++
	for _, s := range steps { // the workflow begins all of them, then waits
		in.Begin(in.Operation.Cluster, s)
		met(in, fleet.Observation{Members: []fleet.ObservedMember{{Name: s.Member}}})
	}
	for len(steps) > 0 {
		i := 0
		if rough {
			i = w.choose(len(steps), "which step")
		}
		s := steps[i]
		steps = append(steps[:i], steps[i+1:]...)
		was := w.state()
		end, err := w.step(in.Operation, s, rough)
		w.visit(in.Operation.Kind, was, s)
		switch {
		case end == abandoned:
			cancelled = true
			w.say("    %s: cancelled", s)
		case err != nil:
			w.say("    %s: %v", s, err)
			in.Fail(s, fleet.KindOf(err), err.Error())
			if fleet.Is(err, fleet.OutOfCapacity) {
				w.refuse++
			}
		default:
			in.Done(s, in.Observation)
		}
		if rough && w.once(10, "disturb in a wave") {
			w.disturb()
		}
	}
	return cancelled
}

// stepEnd is how a step ended, apart from its error.
type stepEnd int

const (
	finished  stepEnd = iota
	abandoned         // the operation was cancelled, before it or in it
)

// step does a step, at times twice: whoever crashed in it does it again. What cannot
// be done now is tried again for a while.
func (w *walk) step(op fleet.Operation, s fleet.Step, rough bool) (stepEnd, error) {
	if rough && w.once(40, "cancel before the step") {
		return abandoned, nil
	}
	for try := 0; ; try++ {
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
		w.after(op, s, err)
		switch {
		case crash:
			w.say("    %s: crash after %d of %d effects", s, n, len(all))
			switch w.choose(8, "after the crash") {
			case 6:
				return abandoned, nil
			case 7:
				return finished, fleet.Errorf(fleet.Unavailable, s.String(), "no end within its time")
			}
		case err == nil || final(err) || try == 3 || rough && w.once(3, "out of time"):
			if err == nil && rough && w.once(12, "the step is done twice") {
				continue
			}
			return finished, err
		case rough:
			w.disturb()
		default:
			w.world.Settle()
		}
	}
}

// final says whether trying the same again cannot mend an error (activities/errors.go).
func final(err error) bool {
	switch fleet.KindOf(err) {
	case fleet.Invalid, fleet.Denied, fleet.Blocked, fleet.Lost, fleet.OutOfCapacity:
		return true
	}
	return false
}

// tally counts what walks have visited, over all of them.
type tally struct {
	states, transitions map[uint64]bool
	kinds               map[fleet.OperationKind]*kindTally
	done                int
}

// kindTally counts what happened in operations of one kind.
type kindTally struct {
	operations, waves   int
	states, transitions map[uint64]bool
	verdicts            map[fleet.Verdict]int
}

func newTally() *tally {
	return &tally{states: map[uint64]bool{}, transitions: map[uint64]bool{}, kinds: map[fleet.OperationKind]*kindTally{}}
}

func (t *tally) of(kind fleet.OperationKind) *kindTally {
	if t.kinds[kind] == nil {
		t.kinds[kind] = &kindTally{states: map[uint64]bool{}, transitions: map[uint64]bool{}, verdicts: map[fleet.Verdict]int{}}
	}
	return t.kinds[kind]
}
