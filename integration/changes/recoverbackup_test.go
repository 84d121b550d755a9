package changes

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/flotilla-etcd/flotilla/backup"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/integration/harness"
)

// TestNoDiskIsLeft has three of three hosts end with their disks in the middle of writes that
// are recorded. On new hosts, and after a person said so, the cluster comes back from a
// backup and the recorded changes with every write up to the last that was recorded and
// none after it, of each minor of etcd.
func TestNoDiskIsLeft(t *testing.T) {
	abreast(t)
	e := harness.Start(t)
	e.StartWorker("flotilla-worker")
	versions := []string{"3.7.3", "3.6.16", "3.5.35"}
	if !harness.Whole() {
		versions = versions[:1]
	}
	for _, version := range versions {
		t.Run(version, func(t *testing.T) { comesBackFromChanges(t, e, version) })
	}
}

func comesBackFromChanges(t *testing.T, e *harness.Env, version string) {
	spec := small("orders-"+fleet.Minor(version)[2:], 3, version)
	spec.Backup = fleet.BackupPolicy{Every: fleet.Duration(time.Hour), Changes: fleet.Duration(time.Second)}
	e.Create(spec)
	require.Zero(t, e.CLI("backup", spec.Name).Code)
	acknowledged := writeUntilRecorded(t, e, spec.Name, func() {
		hosts, err := e.HostsOf(t.Context(), spec.Name)
		require.NoError(t, err)
		disks, err := e.Provider.ListDisks(t.Context(), iaas.Tags{fleet.TagCluster: spec.Name})
		require.NoError(t, err)
		for _, h := range hosts {
			require.NoError(t, e.Provider.FailHost(t.Context(), h.ID))
		}
		for _, d := range disks {
			require.NoError(t, e.Provider.FailDisk(t.Context(), d.ID))
		}
	})

	var lostMembers []string // a cloud lists hosts that failed; nobody else knows that they are gone for good
	for n := range 3 {
		lostMembers = append(lostMembers, fleet.MemberName(spec.Name, n+1))
	}
	answer := e.CLI("recover", spec.Name, "--yes", "--without", strings.Join(lostMembers, ","))
	require.Equal(t, 5, answer.Code, "it waits for approval: %s %s", answer.Out, answer.Err)
	require.Contains(t, answer.Err+answer.Out, "the newest backup and the changes recorded since")
	for code := 5; code == 5; { // it asks again if more was recorded meanwhile
		require.Zero(t, e.CLI("approve", spec.Name).Code)
		answer = e.CLI("watch", spec.Name)
		code = answer.Code
	}
	require.Zero(t, answer.Code, answer.Err)
	require.NoError(t, e.Stands(t.Context(), spec.Name))

	view, err := e.Client.Describe(t.Context(), spec.Name)
	require.NoError(t, err)
	lost := view.Operations[0].Lost
	t.Log(lost)
	said := regexp.MustCompile(`^recovered from backup \S+ at revision (\d+); .*whatever was written after .* is lost, up to \d+`).FindStringSubmatch(lost)
	require.NotNil(t, said, lost)
	recovered, err := strconv.ParseInt(said[1], 10, 64)
	require.NoError(t, err)

	a, err := e.Connect(t.Context(), spec.Name)
	require.NoError(t, err)
	defer a.Close()
	there, err := a.Get(t.Context(), "k/", clientv3.WithPrefix())
	require.NoError(t, err)
	found := map[string]int64{}
	for _, kv := range there.Kvs {
		found[string(kv.Key)] = kv.ModRevision
	}
	gone := 0
	for key, revision := range acknowledged {
		if revision <= recovered {
			require.Equal(t, revision, found[key], "%s was recorded", key)
			continue
		}
		require.Zero(t, found[key], "%s is of revision %d, and %d was recovered", key, revision, recovered)
		gone++
	}
	require.NotEmpty(t, found)
	t.Logf("%d writes were acknowledged, the last %d of them are lost", len(acknowledged), gone)
	e.Decommission(spec.Name, fleet.Options{}) // with a final snapshot, of what was restored
}

// writeUntilRecorded writes until changes beyond the backup are stored and some hundred
// writes more were acknowledged, and then until something has happened. It gives the
// revision of each key that was.
func writeUntilRecorded(t *testing.T, e *harness.Env, cluster string, happen func()) map[string]int64 {
	t.Helper()
	a, err := e.Connect(t.Context(), cluster)
	require.NoError(t, err)
	defer a.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	acknowledged := map[string]int64{}
	var writers sync.WaitGroup
	for w := range 2 {
		writers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				key := fmt.Sprintf("k/%d/%d", w, i)
				put, err := a.Put(ctx, key, "v")
				if err != nil {
					return
				}
				mu.Lock()
				acknowledged[key] = put.Header.Revision
				mu.Unlock()
			}
		})
	}
	view, err := e.Client.Describe(t.Context(), cluster)
	require.NoError(t, err)
	vault, err := e.Vault(t.Context())
	require.NoError(t, err)
	harness.Eventually(t, "changes of "+cluster+" are recorded", func(ctx context.Context) error {
		entries, err := vault.List(ctx, cluster, view.Summary.UID)
		if err != nil {
			return err
		}
		segments, err := vault.Segments(ctx, cluster, view.Summary.UID)
		if err != nil {
			return err
		}
		if best, reach, _ := backup.Furthest(entries, segments); reach.Revision < best.Manifest.Revision+100 {
			return fmt.Errorf("they lead from revision %d to %d", best.Manifest.Revision, reach.Revision)
		}
		return nil
	})
	happen()
	cancel()
	writers.Wait()
	return acknowledged
}
