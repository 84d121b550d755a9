package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// recoverQuorum brings back a cluster that lost its quorum, from the data of one of its
// members, or from the object store. In this order:
//
//  1. no quorum answers, for as long as it takes to call something dead
//  2. whatever cannot be seen has been given up by name
//  3. nothing of it runs: members are stopped, and so are the hosts that do not answer
//  4. what the disks hold is known: whoever is furthest is the survivor, a voter or a
//     learner. Where so many voters are whole that they are a quorum, they are started, and
//     nothing is lost
//  5. the survivor becomes a cluster of one, and serves. Where nobody's data is whole, or its
//     user says so, the voters are made from the newest backup and the changes recorded
//     since (recover_backup.go)
//  6. it grows to its size, and what is left of the others is given up
func recoverQuorum(in Input) fleet.Decision {
	in.Observation = own(in.Observation, in.Operation.UID)
	r := newRoster(in)
	if in.Observation.Quorum {
		op := in.Operation
		return change(in, goal{
			voters: op.Spec.Voters, learners: op.Spec.Learners,
			dead: func(seat) bool { return false }, // who is to be gone is no member any more, and goes last
			done: fmt.Sprintf("a quorum of %s serves, with all the members that it is to have%s", op.Cluster, r.leftThere()),
		})
	}
	if d := twins(in.Observation); d != nil {
		return *d
	}
	if s, found := r.recovered(); found {
		return r.startRecovered(s)
	}
	if f := r.ends(); f != nil {
		return failedFor(f)
	}
	if set, begun := r.begunRestore(); begun {
		return r.goOn(set)
	}
	for _, next := range []func() *fleet.Decision{r.unseen, r.fence, r.reopen} {
		if d := next(); d != nil {
			return *d
		}
	}
	if in.Operation.Options.FromBackup != "" {
		return r.fromStored()
	}
	c, d := r.candidates()
	switch {
	case d != nil:
		return *d
	case c.best == nil:
		return r.fromStored()
	}
	for _, next := range []func(candidates) *fleet.Decision{r.startWhole, r.outside} {
		if d := next(c); d != nil {
			return *d
		}
	}
	if o := in.Operation.Options; o.Survivor == "" && !o.ToStandby && r.storedHasMore(*c.best) {
		return r.fromStored()
	}
	s, _ := r.find(c.best.Member)
	step := r.startAs(fleet.RecoverMember, s)
	step.Token = r.recoveryToken(s.name)
	if step.Endpoint != nil {
		step.Initial = []fleet.Endpoint{*step.Endpoint}
	}
	return act(step)
}

// NeedsDisks says whether what members left on their disks, and what the object store has,
// decides what a recovery does next. Once it has made somebody's data, it does not, and
// clients need not wait until all of it was read again.
func NeedsDisks(in Input) bool {
	in.Observation = own(in.Observation, in.Operation.UID)
	r := newRoster(in)
	_, recovered := r.recovered()
	_, begun := r.begunRestore()
	return !in.Observation.Quorum && !recovered && !begun
}

// recoveryToken names a recovery from a member's data, beside that data and for good. Once
// the cluster has grown again it is another one: it may lose its quorum again.
func (r roster) recoveryToken(member string) string {
	grown := 0
	for _, s := range r.seats {
		if m := s.report(); s.number >= r.in.Operation.Since && m != nil && m.Configured != nil {
			grown = max(grown, s.number)
		}
	}
	return r.in.token(r.in.Operation.Generation, fleet.RecoverMember, member, grown)
}

// recovered gives the member whose data this recovery made.
func (r roster) recovered() (seat, bool) {
	for _, s := range r.seats {
		if m := s.report(); m != nil && m.Recovered != "" && m.Recovered == r.recoveryToken(s.name) {
			return s, true
		}
	}
	return seat{}, false
}

// startRecovered has a member serve that is a cluster of its own, and nobody else.
func (r roster) startRecovered(s seat) fleet.Decision {
	for i, f := range r.in.Failures {
		if f.Step.Member == s.name && f.Step.Kind != fleet.RecoverMember {
			return failedFor(&r.in.Failures[i])
		}
	}
	if !s.hasStopped() {
		return wait("%s was recovered, and does not serve yet%s; if that does not pass, see why, and submit the operation again", s.name, r.in.silent())
	}
	step := r.startAgain(s)
	if step.Endpoint != nil {
		step.Initial = []fleet.Endpoint{*step.Endpoint}
	}
	return act(step)
}

func (r roster) isWithout(member string) bool {
	return slices.Contains(r.in.Operation.Options.Without, member)
}

// unseen stops a recovery as long as something may serve, or have what no other has, and
// nobody has given it up.
func (r roster) unseen() *fleet.Decision {
	var words, names []string
	for _, s := range r.seats {
		if s.host != nil && s.host.Report != nil || r.isWithout(s.name) {
			continue
		}
		names = append(names, s.name)
		switch h := s.host; {
		case h == nil && s.disk == nil:
			words = append(words, fmt.Sprintf("neither a host nor a disk of %s is seen", s.name))
		case h == nil:
			words = append(words, fmt.Sprintf("%s has a disk (%s) and no host", s.name, s.disk.ID))
		case h.State == fleet.HostRunning:
			words = append(words, fmt.Sprintf("the host of %s does not answer (%s)", s.name, h.Silent))
		default:
			words = append(words, fmt.Sprintf("the host of %s is %s", s.name, h.State))
		}
	}
	if len(names) == 0 {
		return nil
	}
	d := r.needsWithout(names, words)
	return &d
}

func (r roster) needsWithout(names, words []string) fleet.Decision {
	command := "recover " + r.in.Operation.Cluster
	if r.in.Operation.Kind == fleet.RestoreCluster {
		command = "restore " + r.in.Operation.Cluster + " --in-place"
	}
	return blocked(fleet.Blocked, "%s: what is unknown may serve, or have what no other has, and is never taken for dead; bring it back, or, if you know that it "+
		"does not serve and give up what it has: flotilla %s --without %s", sentence(words), command, strings.Join(names, ","))
}

// fence stops whatever of the cluster runs, once it is known that no quorum does.
func (r roster) fence() *fleet.Decision {
	var wave []fleet.Step
	started, serves := 0, ""
	for _, s := range r.seats {
		if m := s.report(); m != nil && m.Ready { // it answers linearizable reads there
			serves = s.name
		}
		switch h := s.host; {
		case s.keptRunning() && r.startedHere(s):
			started++
		case s.keptRunning():
			wave = append(wave, r.step(fleet.StopMember, s))
		case h == nil || h.Report != nil || r.in.failed(fleet.StopHost, s.name) > 0:
		case h.State == fleet.HostRunning || h.State == fleet.HostPending:
			wave = append(wave, r.step(fleet.StopHost, s))
		}
	}
	answer := func(d fleet.Decision) *fleet.Decision { return &d }
	unanswered := r.in.Observation.Unanswered
	switch {
	case started > 0:
		return answer(wait("%d members of %s are whole, which is a quorum of them, and were started%s; if they do not find to each other, see why, and submit the operation again",
			started, r.in.Operation.Cluster, r.in.silent()))
	case len(wave) == 0:
		return nil
	case serves != "":
		return answer(wait("no quorum of %s answers, but the host of %s says that it serves; see why it cannot be reached, and submit the operation again",
			r.in.Operation.Cluster, serves))
	case unanswered.Looks < fleet.MinLooks || unanswered.Over < r.in.Policy.DeadAfter:
		return answer(wait("no quorum of %s answers, at %d looks over %s; that has to be so for %s; submit the operation again if it is",
			r.in.Operation.Cluster, unanswered.Looks, unanswered.Over, r.in.Policy.DeadAfter))
	}
	return answer(act(wave...))
}

// startedHere says that a member runs because this operation started it. One that goes on
// with another that stopped half way, stops it again and looks at what there is.
func (r roster) startedHere(s seat) bool {
	run, known := s.configured()
	return known && run.Generation == r.in.Operation.ID
}

// reopen has the final snapshot of a cluster that was stopped be the last word no more.
func (r roster) reopen() *fleet.Decision {
	s := r.in.Observation.FinalSnapshot
	if s == nil || s.Closed.IsZero() {
		return nil
	}
	d := act(r.in.step(fleet.ReopenSnapshot, ""))
	return &d
}

// startWhole starts the members whose data is whole, if they are a quorum: then nothing
// is lost.
func (r roster) startWhole(c candidates) *fleet.Decision {
	voters := c.best.Voters()
	var wave []fleet.Step
	for _, whole := range c.whole {
		if slices.ContainsFunc(voters, func(m fleet.DataMember) bool { return m.ID == whole.MemberID }) {
			s, _ := r.find(whole.Member)
			step := r.startAgain(s)
			if step.Run != nil {
				run := *step.Run
				run.Generation = r.in.Operation.ID
				step.Run = &run
			}
			wave = append(wave, step)
		}
	}
	if len(wave) < len(voters)/2+1 || len(voters) == 0 {
		return nil
	}
	answer := inTurn(wave...)
	return &answer
}

// candidates are the members that a recovery may start from.
type candidates struct {
	best  *fleet.DataReport  // nil: nobody's data is whole
	whole []fleet.DataReport // furthest first, and of those that are alike, voters first
	// broken are the others that were looked at.
	broken []fleet.DataReport
}

// candidates ranks what the disks hold, or says why that cannot be.
func (r roster) candidates() (candidates, *fleet.Decision) {
	cluster := r.in.Operation.Cluster
	var c candidates
	answer := func(d fleet.Decision) (candidates, *fleet.Decision) { return candidates{}, &d }
	for _, s := range r.seats {
		m := s.report()
		if m == nil || m.Configured == nil {
			continue // nothing of it was ever run there
		}
		data := r.in.Observation.DataOf(s.name)
		switch {
		case data == nil:
			return answer(wait("it is not known what the disk of %s holds%s; submit the operation again", s.name, r.in.silent()))
		case r.halfMade(s, *data):
			half := *data
			half.Damage = append(slices.Clone(data.Damage), "it was made from a backup by an attempt that did not come to its end")
			c.broken = append(c.broken, half)
		case len(data.Damage) > 0 || !data.Votes() && !data.Learns():
			c.broken = append(c.broken, *data)
		default:
			c.whole = append(c.whole, *data)
		}
	}
	slices.SortStableFunc(c.whole, func(a, b fleet.DataReport) int {
		return cmp.Or(b.Last.Compare(a.Last), truth(b.Votes())-truth(a.Votes()), b.Applied.Compare(a.Applied))
	})
	switch {
	case len(c.whole) == 0:
		return c, nil
	case r.in.Operation.Options.Survivor == "" && slices.ContainsFunc(c.whole, func(d fleet.DataReport) bool { return d.ClusterID != c.whole[0].ClusterID }):
		return answer(blocked(fleet.Conflict, "the disks of %s hold data of different clusters (%s and others); say which to go on from: flotilla recover %s --survivor NAME",
			cluster, c.whole[0].ClusterID, cluster))
	}
	c.best = &c.whole[0]
	if wish := r.in.Operation.Options.Survivor; wish != "" {
		i := slices.IndexFunc(c.whole, func(d fleet.DataReport) bool { return d.Member == wish })
		if i < 0 {
			return answer(blocked(fleet.Invalid, "%s cannot be recovered from: it is no member whose data is whole%s; name another one, or none: flotilla recover %s",
				wish, brokenWords(c.broken), cluster))
		}
		c.best = &c.whole[i]
	}
	return c, nil
}

func brokenWords(broken []fleet.DataReport) string {
	var words []string
	for _, d := range broken {
		why := "it was removed"
		if len(d.Damage) > 0 {
			why = d.Damage[0]
		}
		words = append(words, d.Member+": "+why)
	}
	if len(words) == 0 {
		return ""
	}
	return " (" + strings.Join(words, "; ") + ")"
}

// outside stops a recovery while a voter that the survivor knows of is neither seen nor
// given up.
func (r roster) outside(c candidates) *fleet.Decision {
	var names, words []string
	for _, m := range c.best.Voters() {
		name := cmp.Or(m.Name, "member-"+m.ID)
		if _, seen := r.find(name); !seen && !r.isWithout(name) {
			names, words = append(names, name), append(words, fmt.Sprintf("%s is a voter, and neither a host nor a disk of it is seen", name))
		}
	}
	if len(names) == 0 {
		return nil
	}
	d := r.needsWithout(names, words)
	return &d
}
