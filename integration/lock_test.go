package integration

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/backup"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
	"github.com/flotilla-etcd/flotilla/objectstore/objectstoretest"
)

// TestObjectLock has backups, changes, and a backup of a point in time locked in a bucket as
// Amazon's are, with versions. What no rule keeps stays while it is locked, and fails nothing;
// and what is deleted by hand is still there.
func TestObjectLock(t *testing.T) {
	server := objectstoretest.StartVersioned(t)
	server.Setenv(t)
	server.LockableBucket(t, "flotilla")
	e := harness.Start(t, harness.WithObjectStore(server.Location("flotilla/fleet")))
	e.Flags = []string{"--object-lock", "compliance:1h"}
	e.StartWorker("flotilla-worker")
	spec := harness.Spec("orders", 1, "3.7.3").WithDefaults()
	spec.Backup.Every, spec.Backup.Keep.Last = fleet.Duration(7*24*time.Hour), 1 // no other is taken meanwhile
	spec.Backup.Changes = fleet.Duration(time.Second)
	e.Create(spec)
	for range 2 { // the second has the first expire
		answer := e.CLI("backup", spec.Name)
		require.Zero(t, answer.Code, answer.Err)
		require.NotContains(t, answer.Out+answer.Err, "could not be removed")
	}
	answer := e.CLI("backups", spec.Name)
	require.Contains(t, answer.Out, "LOCKED UNTIL")
	vault, err := e.Vault(t.Context())
	require.NoError(t, err)
	entries, err := vault.List(t.Context(), spec.Name, described(t, e, spec.Name).Summary.UID)
	require.NoError(t, err)
	require.Len(t, entries, 2, "both are locked")
	reached := putLater(t, e, spec.Name)
	harness.Eventually(t, "changes are recorded", func(ctx context.Context) error {
		segments, err := vault.Segments(ctx, spec.Name, entries[1].Manifest.UID)
		for _, s := range segments {
			require.NoError(t, s.Err)
			require.True(t, s.Segment.LockedAt(time.Now().Add(55*time.Minute)), "%s", s.Segment)
		}
		if reach := backup.ReachOf(entries[1].Manifest, segments); err == nil && reach.Revision < reached {
			err = fmt.Errorf("they lead to revision %d of %d", reach.Revision, reached)
		}
		return err
	})
	answer = e.CLI("backup", spec.Name, "--revision", fmt.Sprint(reached))
	require.Zero(t, answer.Code, answer.Err)
	require.Contains(t, answer.Out+answer.Err, "locked (compliance) until")
	entries, err = vault.List(t.Context(), spec.Name, entries[1].Manifest.UID)
	require.NoError(t, err)
	require.Len(t, entries, 3)
	require.NotEmpty(t, entries[2].Manifest.Base)
	for _, entry := range entries {
		m := entry.Manifest
		require.True(t, m.LockedAt(time.Now().Add(55*time.Minute)))
		key := m.Objects[0].Key
		require.NoError(t, vault.Store.Delete(t.Context(), key))
		versions := server.Versions(t, "flotilla", "fleet/"+key)
		require.Len(t, versions, 1, "it is hidden, and kept")
		require.ErrorContains(t, server.DeleteVersion(t, "flotilla", "fleet/"+key, versions[0]), "object lock")
	}
	answer = e.CLI("doctor", "--provider", "local", "--region", harness.Region)
	require.Contains(t, answer.Out, "can lock objects")
	e.Decommission(spec.Name, fleet.Options{SkipFinalSnapshot: true})
}
