package activities

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/flotilla-etcd/flotilla/etcdadmin"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/node"
	"github.com/flotilla-etcd/flotilla/plan"
)

// reportTimeout bounds how long one host is waited for in a look. A cloud's
// run-command takes a second or two; a host that takes longer is silent, for now.
const reportTimeout = 15 * time.Second

// observe looks at everything that there is of a cluster. It fails when the cloud
// or the object store cannot be read, because absence decides; a host or member
// that does not answer is part of what was seen. A failover looks on for as long as
// a verdict of dead takes, and then once more: much may have changed meanwhile.
// Where it knows already, it only sees that nothing speaks against it.
func (r Region) observe(ctx context.Context, op fleet.Operation, memory fleet.Memory, deadAfter time.Duration) (fleet.Observation, error) {
	if op.Kind == fleet.RecoverQuorum {
		return r.observeRecovery(ctx, op, memory, deadAfter)
	}
	obs, err := r.observeOnce(ctx, op, fleet.Unanswered{}, memory.Ran)
	if err == nil && plan.ComparesDisks(plan.Input{Operation: op, Observation: obs, Memory: memory}) {
		r.compareDisks(ctx, &obs)
	}
	if err != nil || op.Kind != fleet.FailoverMember {
		return obs, err
	}
	doubted := suspects(op, obs, memory.Purchases)
	if len(doubted) == 0 {
		return obs, nil
	}
	evidence, err := r.gatherEvidence(ctx, op, doubted, memory.Dead, deadAfter)
	if err != nil {
		return obs, err
	}
	if obs, err = r.observeOnce(ctx, op, fleet.Unanswered{}, memory.Ran); err != nil {
		return obs, err
	}
	for _, e := range evidence {
		if m := obs.Member(e.Member); m != nil && m.Answers {
			e.Client, e.Words = fleet.SaysAlive, "it answers again"
		}
		obs.Evidence = append(obs.Evidence, e)
	}
	return obs, nil
}

// observeOnce looks once; before is for how long no quorum answered at the looks before this one,
// and ran says that the operation has stopped a member of the cluster, which ran until then.
func (r Region) observeOnce(ctx context.Context, op fleet.Operation, before fleet.Unanswered, ran bool) (fleet.Observation, error) {
	obs, err := r.resources(ctx, op)
	obs.Unanswered = before
	if err == nil && op.Options.Adopt != nil {
		err = r.foreign(ctx, *op.Options.Adopt, &obs)
	}
	if err != nil {
		return obs, err
	}
	if op.Kind != fleet.BackupCluster { // it needs nothing that only hosts know, and is done often
		beat(ctx, -1, "asking hosts")
		read := r.readBeside(ctx, op, obs)
		r.ask(ctx, &obs)
		obs.Unanswered = <-read
	}
	if _, err := within(ctx, answerWithin, "reading the object store", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, r.stored(ctx, op, ran, &obs)
	}); err != nil {
		return obs, err
	}
	if serving := servingOn(op, obs); len(serving) > 0 && obs.Authority {
		beat(ctx, -1, "asking members")
		if err := r.members(ctx, op, serving, &obs); err != nil {
			return obs, err
		}
	}
	return obs, nil
}

// foreign adds the hosts and disks that are to be adopted and do not carry the
// cluster's tags yet. One that does not exist is left out.
func (r Region) foreign(ctx context.Context, adoption fleet.Adoption, obs *fleet.Observation) error {
	for _, m := range adoption.Members {
		if !slices.ContainsFunc(obs.Hosts, func(h fleet.ObservedHost) bool { return h.ID == m.HostID }) {
			host, err := r.Provider.Host(ctx, m.HostID)
			if err == nil {
				obs.Hosts = append(obs.Hosts, fleet.ObservedHost{Host: host})
			} else if !fleet.Is(err, fleet.NotFound) {
				return err
			}
		}
		if !slices.ContainsFunc(obs.Disks, func(d fleet.Disk) bool { return d.ID == m.DiskID }) {
			disk, err := r.Provider.Disk(ctx, m.DiskID)
			if err == nil {
				obs.Disks = append(obs.Disks, disk)
			} else if !fleet.Is(err, fleet.NotFound) {
				return err
			}
		}
	}
	return nil
}

// ask asks every running host for its report, side by side.
func (r Region) ask(ctx context.Context, obs *fleet.Observation) {
	var group errgroup.Group
	for i := range obs.Hosts {
		h := &obs.Hosts[i]
		if h.State != fleet.HostRunning {
			h.Silent = "it is " + string(h.State)
			continue
		}
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, reportTimeout)
			defer cancel()
			report, err := call[fleet.HostReport](ctx, r.Provider, h.Host, node.VerbReport, nil)
			if err != nil {
				h.Silent = err.Error()
			}
			h.Report = report
			return nil
		})
	}
	_ = group.Wait()
	for _, h := range obs.Hosts {
		if h.Report == nil {
			obs.Unknowns = append(obs.Unknowns, fmt.Sprintf("host %s does not answer: %s", h.Name, h.Silent))
		}
	}
}

// stored looks up what the object store has of a cluster.
func (r Region) stored(ctx context.Context, op fleet.Operation, ran bool, obs *fleet.Observation) error {
	k, err := r.kept(ctx, op.Cluster, op.UID)
	// One that nobody can open any more is no reason not to take the cluster down.
	hopeless := op.Kind == fleet.DecommissionCluster && len(k.versions) > 0 && (fleet.Is(err, fleet.Lost) || fleet.Is(err, fleet.Denied))
	if err != nil && !hopeless {
		return err
	}
	obs.Authority = k.authority != nil || hopeless
	obs.Secrets = len(k.versions)+len(k.others) > 0
	if k.authority != nil {
		if obs.Trust, err = r.trust(ctx, op, k.authority); err != nil && (r.Second == nil || !passing(err)) {
			return err // an authority is dropped by who asks the first store once more
		}
	}
	switch op.Kind {
	case fleet.DecommissionCluster, fleet.StopCluster, fleet.StartCluster, fleet.RecoverQuorum, fleet.RestoreCluster:
		obs.FinalSnapshot, err = r.finalSnapshot(ctx, op.Cluster, op.UID)
		if r.Second != nil && passing(err) {
			return r.withoutFinal(op, *obs, ran, err)
		}
		return ignore(err, fleet.NotFound)
	case fleet.BackupCluster:
		if obs.Backup, err = r.ownBackup(ctx, op); err != nil || obs.Backup == nil {
			return err
		}
		if op.Options.At != nil && r.away() != nil {
			return nil // the next backup removes what no rule keeps
		}
		expired, err := r.expired(ctx, op)
		if err != nil {
			return err
		}
		for _, e := range expired {
			obs.ExpiredBackups = append(obs.ExpiredBackups, e.ID)
		}
		changes, err := r.unneeded(ctx, op)
		if len(changes) > 0 {
			obs.ExpiredBackups = append(obs.ExpiredBackups, fmt.Sprintf("changes %d to %d", changes[0].Segment.First, changes[len(changes)-1].Segment.Last))
		}
		return err
	}
	return nil
}

// members asks etcd itself.
func (r Region) members(ctx context.Context, op fleet.Operation, endpoints []fleet.Endpoint, obs *fleet.Observation) error {
	client, err := r.connect(ctx, op.Cluster, op.UID, endpoints)
	if err != nil {
		return err
	}
	defer client.Close()
	sent := time.Now()
	seen, _ := asking(ctx, func(ctx context.Context) (etcdadmin.Observation, error) { return client.Observe(ctx), nil })
	if obs.Unanswered = obs.Unanswered.Again(sent); seen.Quorum {
		obs.Unanswered = fleet.Unanswered{}
	}
	obs.Members, obs.Quorum, obs.Leader, obs.Revision = seen.Members, seen.Quorum, seen.Leader, seen.Revision
	obs.Downgrade, obs.Alarms = seen.Downgrade, seen.Alarms
	if seen.Why != "" {
		obs.Unknowns = append(obs.Unknowns, seen.Why)
	}
	return nil
}

// servingOn gives where members may be serving: on every host that runs one, and
// on every host that does not say. While a cluster is adopted, something else may run
// the member of a host that does not.
func servingOn(op fleet.Operation, obs fleet.Observation) []fleet.Endpoint {
	var all []fleet.Endpoint
	for _, h := range obs.Hosts {
		member := h.Report.Find(h.Member())
		elsewhere := op.Kind == fleet.AdoptCluster && (member == nil || member.State == fleet.MemberPrepared)
		silent := h.State == fleet.HostRunning && (h.Report == nil || elsewhere)
		if silent || member != nil && (member.State == fleet.MemberRunning || member.State == fleet.MemberRestarting) {
			all = append(all, plan.EndpointOf(h.Host))
		}
	}
	return all
}

func ignore(err error, kind fleet.Kind) error {
	if fleet.Is(err, kind) {
		return nil
	}
	return err
}
