package changes

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/integration/harness"
	"github.com/flotilla-etcd/flotilla/node/datadir"
)

// TestQuorumIsLost has two of three hosts and their disks end in the middle of writes. The
// last one, which led, becomes a cluster of one after a person said so, with all that it had
// acknowledged, and grows to three.
func TestQuorumIsLost(t *testing.T) {
	abreast(t)
	e := harness.Start(t)
	e.StartWorker("flotilla-worker")
	spec := small("orders", 3, newer)
	e.Create(spec)
	refusedToRecover(t, e, spec.Name)

	survivor, err := e.Leader(t.Context(), spec.Name)
	require.NoError(t, err)
	hosts, err := e.HostsOf(t.Context(), spec.Name)
	require.NoError(t, err)
	var lost []string
	acknowledged := writeWhile(t, e, spec.Name, survivor, func() {
		for _, h := range hosts {
			if h.Member() == survivor {
				continue
			}
			lost = append(lost, h.Member())
			disks, err := e.Provider.ListDisks(t.Context(), iaas.Tags{fleet.TagCluster: spec.Name, fleet.TagMember: h.Member()})
			require.NoError(t, err)
			require.NoError(t, e.Provider.FailHost(t.Context(), h.ID))
			for _, d := range disks {
				require.NoError(t, e.Provider.FailDisk(t.Context(), d.ID))
			}
		}
	})

	slices.Sort(lost) // a provider lists its hosts in any order

	// Nobody said that they are gone for good.
	answer := e.CLI("recover", spec.Name, "--yes")
	require.NotZero(t, answer.Code, answer.Out)
	require.Contains(t, answer.Err, "--without "+strings.Join(lost, ","))

	without := strings.Join(lost, ",")
	answer = e.CLI("recover", spec.Name, "--yes", "--without", without)
	require.Equal(t, 5, answer.Code, "it waits for approval: %s %s", answer.Out, answer.Err)
	require.Contains(t, answer.Err+answer.Out, survivor+" becomes a cluster of one")
	require.Contains(t, answer.Err+answer.Out, "2 of 3 voters are not there")
	answer = e.CLI("approve", spec.Name)
	require.Zero(t, answer.Code, answer.Err)
	answer = e.CLI("watch", spec.Name)
	require.Zero(t, answer.Code, answer.Err)

	require.NoError(t, e.Stands(t.Context(), spec.Name))
	hasAll(t, e, spec.Name, acknowledged)
	copyIsKept(t, e, spec.Name, survivor, int64(len(acknowledged)))
	e.Decommission(spec.Name, fleet.Options{})
	e.ExpectNothingLeft()
}

// hasAll expects that a cluster has every key whose write it acknowledged.
func hasAll(t *testing.T, e *harness.Env, cluster string, acknowledged []string) {
	t.Helper()
	a, err := e.Connect(t.Context(), cluster)
	require.NoError(t, err)
	defer a.Close()
	there, err := a.Get(t.Context(), "k/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	require.NoError(t, err)
	keys := map[string]bool{}
	for _, kv := range there.Kvs {
		keys[string(kv.Key)] = true
	}
	require.NotEmpty(t, acknowledged)
	for _, key := range acknowledged {
		require.True(t, keys[key], "%s was acknowledged and is gone", key)
	}
}

// copyIsKept expects a copy of the survivor's disk as it was before the recovery: a disk
// that is made from it has all that was written. It is kept until somebody discards it.
func copyIsKept(t *testing.T, e *harness.Env, cluster, survivor string, written int64) {
	t.Helper()
	ctx := t.Context()
	copies := func() []fleet.DiskSnapshot {
		all, err := e.Provider.ListDiskSnapshots(ctx, iaas.Tags{fleet.TagCluster: cluster})
		require.NoError(t, err)
		return all
	}
	kept := copies()
	require.Len(t, kept, 1, "the other disks were gone")
	require.Equal(t, [2]any{survivor, fleet.DiskSnapshotCompleted}, [2]any{kept[0].Member(), kept[0].State})
	disk, err := e.Provider.CreateDisk(ctx, iaas.CreateDiskRequest{
		Token: "copy", Name: "copy", Zone: "a", Size: kept[0].Size, Category: "ssd", SnapshotID: kept[0].ID,
	})
	require.NoError(t, err)
	found, err := filepath.Glob(filepath.Join(e.Dir, "local/disks", disk.ID, "data", survivor, "data"))
	require.NoError(t, err)
	require.Len(t, found, 1)
	data, err := datadir.Examine(ctx, found[0])
	require.NoError(t, err)
	require.Empty(t, data.Damage)
	require.Len(t, data.Voters(), 3, "it is from before it became a cluster of one")
	require.GreaterOrEqual(t, int64(data.Last.Index), written, "its log has all that was acknowledged")
	require.NoError(t, e.Provider.DeleteDisk(ctx, disk.ID))

	answer := e.CLI("plan", "discard", cluster)
	require.Zero(t, answer.Code, answer.Err)
	require.Contains(t, answer.Out, kept[0].ID)
	answer = e.CLI("discard", cluster, "--yes")
	require.Zero(t, answer.Code, answer.Err)
	require.Empty(t, copies())
	require.NoError(t, e.Stands(ctx, cluster))
}

// refusedToRecover expects that nothing is done to a cluster that serves.
func refusedToRecover(t *testing.T, e *harness.Env, cluster string) {
	t.Helper()
	r, err := e.BeginChange(cluster, harness.Change{Kind: fleet.RecoverQuorum})
	require.NoError(t, err)
	result, err := r.Await()
	require.NoError(t, err, "a quorum serves, so there is nothing to do")
	require.Empty(t, result.Progress.Steps)
}

// writeWhile writes at one member until something has happened, and gives the keys whose
// writes were acknowledged.
func writeWhile(t *testing.T, e *harness.Env, cluster, member string, happen func()) []string {
	t.Helper()
	a, err := e.Connect(t.Context(), cluster)
	require.NoError(t, err)
	defer a.Close()
	endpoints, err := e.Client.Endpoints(t.Context(), cluster)
	require.NoError(t, err)
	for _, endpoint := range endpoints {
		if endpoint.Member == member {
			a.SetEndpoints(endpoint.ClientURL())
		}
	}
	return writeUntil(t, a.Client, happen)
}

// writeUntil writes from several clients until something has happened, and gives the keys
// whose writes were acknowledged.
func writeUntil(t *testing.T, a *clientv3.Client, happen func()) []string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	var acknowledged []string
	var writers sync.WaitGroup
	enough := make(chan struct{})
	for w := range 4 {
		writers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				key := fmt.Sprintf("k/%d/%d", w, i)
				if _, err := a.Put(ctx, key, "v"); err != nil {
					return
				}
				mu.Lock()
				if acknowledged = append(acknowledged, key); len(acknowledged) == 300 {
					close(enough)
				}
				mu.Unlock()
			}
		})
	}
	<-enough
	happen()
	cancel()
	writers.Wait()
	return acknowledged
}
