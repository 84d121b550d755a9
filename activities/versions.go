package activities

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/flotilla-etcd/flotilla/etcdadmin"
	"github.com/flotilla-etcd/flotilla/fleet"
)

// Versions does what a change of etcd's minor needs of the whole cluster.
type Versions struct{ Region }

// EnableDowngrade has etcd lower its storage version for the minor of the step's
// release, and waits until every member's store is there.
func (v *Versions) EnableDowngrade(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	minor := fleet.Minor(versionOf(r.Operation, r.Step))
	client, err := v.client(ctx, r.Operation, "")
	if err != nil {
		return note("", err)
	}
	defer client.Close()
	if err := insist(ctx, func(ctx context.Context) error { return client.EnableDowngrade(ctx, minor) }); err != nil {
		return note("", err)
	}
	err = poll(ctx, func(ctx context.Context) (bool, int, string, error) {
		members, err := asking(ctx, client.Members)
		if err != nil {
			return false, -1, err.Error(), ignore(err, fleet.Unavailable)
		}
		done, words := lowered(members, minor)
		return done == len(members), 100 * done / max(1, len(members)), words, nil
	})
	return note("every store is at "+minor, err)
}

// lowered counts the members whose store a minor can read, and names one of the
// others. 3.5 writes no version into its store.
func lowered(members []fleet.ObservedMember, minor string) (done int, words string) {
	for _, m := range members {
		switch {
		case !m.Answers:
			words = m.Name + " does not answer"
		case m.Storage != "" && fleet.CompareVersions(fleet.Minor(m.Storage)+".0", minor+".0") > 0:
			words = fmt.Sprintf("the store of %s is at %s", m.Name, m.Storage)
		default:
			done++
		}
	}
	return done, words
}

// CancelDowngrade takes a downgrade back that is enabled.
func (v *Versions) CancelDowngrade(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	client, err := v.client(ctx, r.Operation, "")
	if err != nil {
		return note("", err)
	}
	defer client.Close()
	return note("", insist(ctx, client.CancelDowngrade))
}

// TakeRaftSnapshot has every member write a raft snapshot of after the last member's move
// to the minor that it runs. A quiet cluster never does by itself; so
// entries are made that change nothing, as many as members wait for.
func (v *Versions) TakeRaftSnapshot(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	return note(v.takeRaftSnapshot(ctx, r.Operation))
}

// snapshotSettles is how long a member may take to write its snapshot once it has
// enough entries: it does so beside its work, and a host is asked no more often.
const snapshotSettles = 5 * time.Second

func (v *Versions) takeRaftSnapshot(ctx context.Context, op fleet.Operation) (string, error) {
	client, err := v.client(ctx, op, "")
	if err != nil {
		return "", err
	}
	defer client.Close()
	ctx, made, pack := carrying[int](ctx)
	for {
		seen, err := v.raftSnapshots(ctx, op, client)
		if err != nil {
			return "", err
		}
		if seen.old == 0 {
			return fmt.Sprintf("every member has one of entry %d or later", seen.since), nil
		}
		if made >= seen.count { // they have enough: what is left is that they write it
			if seen, err = v.awaitRaftSnapshots(ctx, op, client); err != nil {
				return "", err
			}
			if made = 0; seen.old == 0 {
				continue
			}
		}
		base := made
		err = client.Churn(ctx, seen.count-made, func(n int) {
			made = base + n
			pack(made)
			beat(ctx, min(99, 100*made/seen.count), fmt.Sprintf("%d of %d entries that a raft snapshot takes", made, seen.count))
		})
		if err != nil {
			return "", err
		}
	}
}

// awaitRaftSnapshots waits a while for members to write what they have to.
func (v *Versions) awaitRaftSnapshots(ctx context.Context, op fleet.Operation, client *etcdadmin.Client) (seen raftSnapshots, err error) {
	until := time.Now().Add(snapshotSettles)
	err = poll(ctx, func(ctx context.Context) (bool, int, string, error) {
		seen, err = v.raftSnapshots(ctx, op, client)
		return seen.old == 0 || time.Now().After(until), 99, fmt.Sprintf("%d members have not written theirs yet", seen.old), err
	})
	return seen, err
}

// raftSnapshots is how far a cluster is from having new raft snapshots.
type raftSnapshots struct {
	since uint64 // the entry that they must have come to
	old   int    // members without one
	count int    // after how many entries each member writes one
}

func (v *Versions) raftSnapshots(ctx context.Context, op fleet.Operation, client *etcdadmin.Client) (raftSnapshots, error) {
	obs, err := v.resources(ctx, op)
	if err != nil {
		return raftSnapshots{}, err
	}
	v.ask(ctx, &obs)
	members, err := asking(ctx, client.Members)
	if err != nil {
		return raftSnapshots{}, err
	}
	var reports []*fleet.MemberReport
	for _, m := range members {
		var report *fleet.MemberReport
		if host := obs.Host(m.Name); host != nil {
			report = host.Report.Find(m.Name)
		}
		if report == nil || report.Configured == nil {
			return raftSnapshots{}, fleet.Errorf(fleet.Unavailable, "raft snapshot of "+m.Name, "its host does not say which one it is")
		}
		reports = append(reports, report)
	}
	return judgeSnapshots(reports), nil
}

// judgeSnapshots says what is missing, by the reports on all members. Those that run
// 3.7 already have passed.
func judgeSnapshots(reports []*fleet.MemberReport) raftSnapshots {
	var s raftSnapshots
	var below []*fleet.MemberReport
	for _, m := range reports {
		if fleet.Minor(m.Configured.Version) != "3.7" {
			below = append(below, m)
		}
		count := int(cmp.Or(m.Configured.Settings.SnapshotCount, fleet.DefaultSnapshotCount))
		s.count = max(s.count, count+count/100+1) // more than so many, at whoever lags a little too
	}
	since, old := fleet.Snapshotted(below)
	s.since, s.old = since, len(old)
	return s
}
