package activities

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// A member that comes to a cluster with a long log, to which nobody writes any more, gets
// all by a snapshot and serves nobody before there is another entry. Whoever waits for it
// makes one.
func TestLearnerOfAQuietClusterComesIntoSync(t *testing.T) {
	s := created(t, 1, func(op *fleet.Operation) { op.Spec.Etcd.SnapshotCount = 500 })
	// What a leader keeps of its log for who is behind are 5,000 entries, and etcd's own
	// limit of how far a member may be behind that publishes itself is as many.
	const entries, writers = 7000, 32
	etcd := s.etcd()
	group, ctx := errgroup.WithContext(t.Context())
	for range writers {
		group.Go(func() error {
			for range entries / writers {
				if _, err := etcd.Put(ctx, "key", "value"); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())

	launch := fleet.Step{Kind: fleet.LaunchHost, Member: "orders-2", Zone: "a", Token: "host-2"}
	s.must(launch)
	attach := s.step(fleet.AttachDisk, "orders-2")
	attach.Token = "disk-2"
	s.must(attach)
	for _, kind := range []fleet.StepKind{fleet.PrepareHost, fleet.AddLearner, fleet.StartMember, fleet.AwaitInSync, fleet.Promote} {
		t.Logf("%s: %s", kind, s.must(s.step(kind, "orders-2")))
	}
	s.must(fleet.Step{Kind: fleet.AwaitSettled})
}
