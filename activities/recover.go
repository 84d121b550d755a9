package activities

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/flotilla-etcd/flotilla/backup"
	"github.com/flotilla-etcd/flotilla/etcdadmin"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/node"
	"github.com/flotilla-etcd/flotilla/plan"
)

// recoverWithin is how long a recovery may take on its host: it reads 16 GiB, copies them,
// has etcd serve them once, and reads them again. examineWithin is for reading them.
const (
	recoverWithin = 50 * time.Minute
	examineWithin = 10 * time.Minute
	// compareWithin is the same before a start, which clients wait for: 4 GiB at the pace of a
	// slow disk.
	compareWithin = time.Minute
)

// observeRecovery looks on, as long as a verdict of dead takes, while something runs that
// may be a quorum. When nothing does, it looks at what the disks hold.
func (r Region) observeRecovery(ctx context.Context, op fleet.Operation, memory fleet.Memory, deadAfter time.Duration) (fleet.Observation, error) {
	obs, err := r.awaitQuorum(ctx, op, memory.Ran, deadAfter)
	if err != nil || !plan.NeedsDisks(plan.Input{Operation: op, Observation: obs, Memory: memory}) {
		return obs, err
	}
	if !someRun(obs) {
		r.examine(ctx, &obs, examineWithin)
	}
	obs.Stored, err = within(ctx, listWithin, "listing backups and changes", func(ctx context.Context) (*fleet.Stored, error) {
		return r.storedOf(ctx, op)
	})
	return obs, err
}

// awaitQuorum looks until a quorum answers, or none has for as long as a verdict of dead
// takes, or nothing runs that may be one.
func (r Region) awaitQuorum(ctx context.Context, op fleet.Operation, ran bool, deadAfter time.Duration) (obs fleet.Observation, err error) {
	for {
		began := time.Now()
		if obs, err = r.observeOnce(ctx, op, obs.Unanswered, ran); err != nil {
			return obs, err
		}
		if !obs.Authority { // nobody can ask; whether one serves is said by its host
			obs.Unanswered = obs.Unanswered.Again(began)
		}
		silence := obs.Unanswered
		if obs.Quorum || len(servingOn(op, obs)) == 0 || silence.Looks >= fleet.MinLooks && time.Duration(silence.Over) >= deadAfter {
			return obs, nil
		}
		// The next look's last read is sent when its hosts have reported, which takes as long again.
		took := time.Since(began)
		wait := max(leastPause-took, min(pauseFor(deadAfter), deadAfter-time.Since(silence.Since)-took))
		if err := pauseBetween(ctx, wait, silence.Since, deadAfter, "no quorum answers"); err != nil {
			return obs, err
		}
	}
}

// readBeside asks all hosts that run for a linearizable read, while a recovery asks them for
// their reports: who has no quorum lets those wait, and clients wait for the recovery. It
// gives for how long no quorum has answered, then.
func (r Region) readBeside(ctx context.Context, op fleet.Operation, obs fleet.Observation) <-chan fleet.Unanswered {
	said := make(chan fleet.Unanswered, 1)
	var all []fleet.Endpoint
	for _, h := range obs.Hosts {
		if h.State == fleet.HostRunning && h.Tags[fleet.TagUID] == op.UID {
			all = append(all, plan.EndpointOf(h.Host))
		}
	}
	if op.Kind != fleet.RecoverQuorum || len(all) == 0 {
		said <- obs.Unanswered
		return said
	}
	go func() {
		client, err := within(ctx, answerWithin, "opening the cluster's authority", func(ctx context.Context) (*etcdadmin.Client, error) {
			return r.connect(ctx, op.Cluster, op.UID, all)
		})
		if err != nil {
			said <- obs.Unanswered // whoever asks next says why
			return
		}
		defer client.Close()
		sent := time.Now()
		if client.Quorum(ctx) == nil {
			said <- fleet.Unanswered{}
			return
		}
		said <- obs.Unanswered.Again(sent)
	}()
	return said
}

// storedOf gives what the object store has to recover a cluster from; nil when it has
// nothing. One that was named and is not there is fleet.Invalid.
func (r Region) storedOf(ctx context.Context, op fleet.Operation) (*fleet.Stored, error) {
	entries, away, err := r.both().ListBoth(ctx, op.Cluster, op.UID)
	if err != nil {
		return nil, err
	}
	if named := op.Options.FromBackup; named != "" && named != fleet.NewestBackup {
		counting := slices.DeleteFunc(entries, func(e backup.Entry) bool { return e.Err != nil })
		e, err := entryNamed(op.Cluster, counting, named)
		switch {
		case fleet.Is(err, fleet.NotFound) && r.Second != nil && away.Store != nil:
			return nil, r.needsFirst("backup "+named+" of "+op.Cluster, "the second store does not have it, and the first may", away.Store)
		case fleet.Is(err, fleet.NotFound):
			return nil, fleet.Errorf(fleet.Invalid, "backup "+named+" of "+op.Cluster, "there is none that counts").
				WithRemedy("flotilla backups %s shows what there is", op.Cluster)
		case err != nil:
			return nil, err
		}
		return &fleet.Stored{Backup: tell(e), History: e.Manifest.History}, nil
	}
	segments, err := r.both().Segments(ctx, op.Cluster, op.UID)
	if err != nil {
		return nil, err
	}
	newest, reach, found := backup.Furthest(entries, segments)
	if !found && op.Options.FromBackup != "" && r.Second != nil && away.Store != nil {
		return nil, r.needsFirst("backups of "+op.Cluster, "the second store has none that counts, and the first may", away.Store)
	}
	if !found {
		return nil, nil
	}
	stored := &fleet.Stored{Backup: tell(newest), History: newest.Manifest.History}
	if r.Second != nil {
		stored.Away = cmp.Or(textOf(away.Store), textOf(r.away())) // which may have happened in between
	}
	if len(reach.Segments) > 0 {
		stored.Backup.Reach = &fleet.Reach{Revision: reach.Revision, Until: reach.Until}
	}
	return stored, nil
}

// someRun says that some host keeps a member running.
func someRun(obs fleet.Observation) bool {
	return slices.ContainsFunc(obs.Hosts, func(h fleet.ObservedHost) bool {
		m := h.Report.Find(h.Member())
		return m != nil && (m.State == fleet.MemberRunning || m.State == fleet.MemberRestarting)
	})
}

// examine has all hosts that answer look at what their members left on their disks.
func (r Region) examine(ctx context.Context, obs *fleet.Observation, within time.Duration) {
	var group errgroup.Group
	data := make([]*fleet.DataReport, len(obs.Hosts))
	failed := make([]error, len(obs.Hosts))
	for i, h := range obs.Hosts {
		m := h.Report.Find(h.Member())
		if m == nil || m.Configured == nil { // it never ran there
			continue
		}
		group.Go(func() error {
			data[i], failed[i] = callWithin[fleet.DataReport](ctx, r.Provider, h.Host, node.VerbExamine, node.MemberRequest{Member: m.Name}, within)
			return nil
		})
	}
	_ = group.Wait()
	for i, h := range obs.Hosts {
		switch err := failed[i]; {
		case fleet.Is(err, fleet.NotFound) || fleet.Is(err, fleet.Blocked): // so it is, and stays
			obs.Data = append(obs.Data, fleet.DataReport{Member: h.Member(), Damage: []string{err.Error()}})
		case err != nil:
			obs.Unknowns = append(obs.Unknowns, fmt.Sprintf("what the disk of %s holds: %s", h.Member(), err))
		case data[i] != nil:
			obs.Data = append(obs.Data, *data[i])
		}
	}
}

// compareDisks has them do so before a stopped cluster is started. What cannot be read in
// time is unknown there, and keeps nobody from starting.
func (r Region) compareDisks(ctx context.Context, obs *fleet.Observation) {
	before := obs.Unknowns
	beat(ctx, -1, "comparing what the members have on their disks")
	r.examine(ctx, obs, compareWithin)
	for _, unknown := range obs.Unknowns[len(before):] {
		r.Log.Warn("a member is started without a comparison of its data", zap.String("why", unknown))
	}
	obs.Unknowns = before
}

// RecoverMember makes a stopped member a cluster of its own, with all that its log and its
// store have. Its data before that stays on its disk.
func (h *Hosts) RecoverMember(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	host, err := h.Provider.Host(ctx, r.Step.HostID)
	if err != nil {
		return note("", err)
	}
	result, err := callWithin[node.RecoverResult](ctx, h.Provider, host, node.VerbRecover,
		node.RecoverRequest{Token: r.Step.Token, Start: startRequest(r.Operation, r.Step)}, recoverWithin)
	if err != nil {
		return note("", err)
	}
	after := result.After
	return fleet.StepReply{Revision: after.Revision, Note: fmt.Sprintf("a cluster of one at revision %d with %d keys; entries up to %d of its log, %d of them not known to be committed before",
		after.Revision, after.Keys, result.Before.Last.Index, result.Before.Unproven())}, nil
}
