package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// Sources gives what a recovery may go on from, the one that it is about to first, and
// then as they rank: whoever's log is furthest, a voter before a learner, and last what the
// object store has. None, unless the decision is the one by which data may be lost.
func Sources(in Input, d fleet.Decision) []fleet.Source {
	if in.Operation.Kind != fleet.RecoverQuorum || d.Verdict != fleet.VerdictAct || in.Observation.Quorum {
		return nil
	}
	in.Observation = own(in.Observation, in.Operation.UID)
	r := newRoster(in)
	taken := ""
	switch step := d.Wave[0]; step.Kind {
	case fleet.RecoverMember:
		taken = step.Member
	case fleet.SaveBackup, fleet.LaunchHost, fleet.StartHost, fleet.AttachDisk, fleet.PrepareHost, fleet.RestoreMember:
		if _, begun := r.begunRestore(); begun {
			return nil
		}
	default:
		return nil
	}
	c, _ := r.candidates()
	var all []fleet.Source
	for _, data := range c.whole {
		all = append(all, r.memberSource(c, data))
	}
	if stored := in.Observation.Stored; stored != nil {
		all = append(all, r.storedSource(*stored))
	}
	newest := int64(0)
	for _, s := range all {
		newest = max(newest, s.Revision)
	}
	if seen := in.Operation.Seen; seen != nil {
		newest = max(newest, seen.Revision)
	}
	for i := range all {
		// Further apart they are not of one history: a restore was in between.
		if missing := newest - all[i].Revision; missing < fleet.RevisionBump/2 {
			all[i].Missing = missing
		}
		all[i].Words += missingWords(all[i], in.Operation)
	}
	first := func(s fleet.Source) int {
		return truth(s.Name != taken && (taken != "" || s.Kind != fleet.SourceBackup))
	}
	slices.SortStableFunc(all, func(a, b fleet.Source) int { return cmp.Compare(first(a), first(b)) })
	return all
}

// missingWords says how many revisions and which time are lost by a source.
func missingWords(s fleet.Source, op fleet.Operation) string {
	words := ""
	switch {
	case s.Missing > 0 && s.Kind == fleet.SourceBackup:
		words = fmt.Sprintf("; lost: at least %d revisions, for revision %d was seen", s.Missing, s.Newest())
	case s.Missing > 0: // what its log has beyond its store is not in its revision yet
		words = fmt.Sprintf("; revision %d was seen, which is %d further than its store; its log may have them", s.Newest(), s.Missing)
	}
	if s.Over > 0 {
		words += fmt.Sprintf("; lost: whatever was written in the %s before the recovery was asked for at %s",
			s.OverAtMost(), op.Asked.UTC().Format(time.TimeOnly+" MST"))
	}
	return words
}

// memberSource says what is lost if a cluster goes on from a member's disk.
func (r roster) memberSource(c candidates, data fleet.DataReport) fleet.Source {
	s := fleet.Source{Kind: fleet.SourceSurvivor, Name: data.Member, Revision: data.Revision}
	who := data.Member
	if data.Learns() {
		s.Kind = fleet.SourceStandby
		who += ", a learner,"
	}
	words := []string{fmt.Sprintf("%s becomes a cluster of one, at entry %d of term %d, revision %d or later, with %d keys",
		who, data.Last.Index, data.Last.Term, data.Revision, data.Keys)}
	further := 0
	for _, other := range c.whole {
		if other.Last.Compare(data.Last) > 0 {
			further++
			words = append(words, fmt.Sprintf("%s is further, at entry %d of term %d: what only it has is lost", other.Member, other.Last.Index, other.Last.Term))
		}
	}
	if n := data.Unproven(); n > 0 {
		words = append(words, fmt.Sprintf("its last %d entries are not known to be committed; they are kept, and become so", n))
	}
	if data.Torn != "" {
		words = append(words, "its log is torn ("+data.Torn+"): what was behind is lost")
	}
	for _, broken := range c.broken {
		words = append(words, "lost, as far as no other has it: what only "+broken.Member+" had"+brokenWords([]fleet.DataReport{broken}))
	}
	unseen := 0
	for _, m := range data.Voters() {
		if name := cmp.Or(m.Name, "member-"+m.ID); r.in.Observation.DataOf(name) == nil {
			unseen++
			words = append(words, "lost: what only "+name+" had, which is not seen")
		}
	}
	voters := len(data.Voters())
	if unseen+len(c.broken) >= voters/2+1 {
		words = append(words, fmt.Sprintf("%d of %d voters are not there, which is a quorum: they may have acknowledged writes that nobody else has", unseen+len(c.broken), voters))
	} else if further == 0 && data.Torn == "" {
		s.Sure = true
	}
	s.Words = strings.Join(words, "; ")
	return s
}

// storedSource says what is lost if a cluster goes on from the object store.
func (r roster) storedSource(stored fleet.Stored) fleet.Source {
	s := fleet.Source{Kind: fleet.SourceBackup, Name: stored.Backup.ID, Revision: stored.Revision(), Until: stored.Until()}
	if asked := r.in.Operation.Asked; !asked.IsZero() {
		// The two times are of two clocks, and nothing tells that nobody wrote in between.
		s.Over = fleet.Duration(max(asked.Sub(s.Until), time.Second))
	}
	what := "backup " + stored.Backup.ID
	if reach := stored.Backup.Reach; reach != nil {
		what = "the newest backup and the changes recorded since"
	}
	s.Words = fmt.Sprintf("%s is made anew from %s, up to revision %d of %s",
		r.in.Operation.Cluster, what, s.Revision, s.Until.UTC().Format(time.DateTime+" MST"))
	if s.Unasked = stored.Away != ""; s.Unasked {
		s.Words += " in the SECOND store; the first cannot be asked, and may have NEWER backups and changes (" + stored.Away + ")"
	}
	return s
}

// Loss says in words what a recovery or a restore is about to go on from, what may be lost
// by it, and what else a recovery could go on from.
func Loss(in Input, d fleet.Decision) []string {
	if in.Operation.Kind == fleet.RestorePrefixes && d.Verdict == fleet.VerdictAct {
		return in.keysLoss(d.Wave)
	}
	if in.Operation.Kind == fleet.RestoreCluster && d.Verdict == fleet.VerdictAct {
		in.Observation = own(in.Observation, in.Operation.UID)
		return newRoster(in).restoreLoss(d.Wave)
	}
	all := Sources(in, d)
	if len(all) == 0 {
		return nil
	}
	words := []string{all[0].Words}
	for i, other := range all[1:] {
		words = append(words, fmt.Sprintf("or else, %d. %s (%s)", i+2, other.Words, insteadBy(in.Operation.Cluster, other)))
	}
	return words
}

func insteadBy(cluster string, s fleet.Source) string {
	if s.Kind == fleet.SourceBackup {
		return "flotilla recover " + cluster + " --from-backup"
	}
	return "flotilla recover " + cluster + " --survivor " + s.Name
}
