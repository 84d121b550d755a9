package activities

import (
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/backup"
	"github.com/flotilla-etcd/flotilla/fleet"
)

// recording is the activity that records a cluster's changes, as its workflow runs it.
type recording struct {
	cancel context.CancelFunc
	ended  chan error
}

func (s *stand) record(region Region) *recording {
	r := &recording{ended: make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	changes := &Changes{region.ready()}
	go func() {
		_, err := as(s.t, func(activityCtx context.Context) error {
			activityCtx, end := context.WithCancel(activityCtx)
			defer end()
			defer context.AfterFunc(ctx, end)()
			_, err := changes.RecordChanges(activityCtx, fleet.RecordRequest{Provider: "local", Region: "local-1", Of: 1})
			return err
		})
		r.ended <- err
	}()
	s.t.Cleanup(cancel)
	return r
}

func (r *recording) stop(t *testing.T) {
	t.Helper()
	r.cancel()
	require.Error(t, <-r.ended, "it goes on until it is ended")
}

// The changes of a cluster whose spec asks for it are recorded behind its backups; a
// backup is asked for where they follow on none; what no backup needs is removed.
func TestChangesAreRecordedBehindBackups(t *testing.T) {
	s := created(t, 1, func(op *fleet.Operation) {
		op.Spec.Backup = fleet.BackupPolicy{Every: fleet.Duration(6 * time.Hour), Changes: fleet.Duration(time.Second), Keep: fleet.Keep{Last: 1}}
	})
	policy := s.op.Spec.Backup
	summary := fleet.Summary{
		Name: s.op.Cluster, UID: s.op.UID, Provider: "local", Region: "local-1", Phase: fleet.PhaseRunning, Voters: 1,
		Etcd: s.op.Spec.Etcd.Version, Backup: &policy,
	}
	region := s.Region
	region.Clusters = func(context.Context) ([]fleet.Summary, error) {
		other := summary
		other.UID, other.Backup = "other", &fleet.BackupPolicy{}
		return []fleet.Summary{other, summary}, nil
	}
	var mu sync.Mutex
	var asked []fleet.Operation
	region.WantBackup = func(_ context.Context, op fleet.Operation) error {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, op)
		return nil
	}
	wanted := func() []fleet.Operation {
		mu.Lock()
		defer mu.Unlock()
		return asked
	}
	etcd := s.etcd()
	write := func(n int) (revision int64) {
		t.Helper()
		for i := range n {
			answer, err := etcd.Put(t.Context(), fmt.Sprintf("k/%d", i), rand.Text())
			require.NoError(t, err)
			revision = answer.Header.Revision
		}
		return revision
	}
	vault := s.vault()
	reach := func() (m backup.Manifest, reach backup.Reach) {
		t.Helper()
		entries, err := vault.List(t.Context(), s.op.Cluster, s.op.UID)
		require.NoError(t, err)
		segments, err := vault.Segments(t.Context(), s.op.Cluster, s.op.UID)
		require.NoError(t, err)
		if len(entries) == 0 {
			return m, reach
		}
		m = entries[len(entries)-1].Manifest
		return m, backup.ReachOf(m, segments)
	}
	take := func(op fleet.Operation) string {
		t.Helper()
		op.Spec = s.op.Spec
		backups := &Backups{s.ready()}
		for _, run := range []func(context.Context, fleet.StepRequest) (fleet.StepReply, error){backups.SaveBackup, backups.ExpireBackups} {
			_, err := as(t, func(ctx context.Context) error {
				_, err := run(ctx, fleet.StepRequest{Operation: op})
				return err
			})
			require.NoError(t, err)
		}
		return op.ID
	}

	write(5)
	first := s.record(region)
	await(t, "a backup is asked for", func() bool { return len(wanted()) == 1 })
	op := wanted()[0]
	require.Equal(t, []any{fleet.BackupCluster, s.op.Cluster, s.op.UID}, []any{op.Kind, op.Cluster, op.UID})
	write(5)
	take(op)
	end := write(5)
	await(t, "the changes behind it are stored", func() bool { _, r := reach(); return r.Revision == end })
	first.stop(t)

	// Nobody records, and history is compacted: that is a gap.
	lost := write(5)
	_, err := etcd.Compact(t.Context(), lost)
	require.NoError(t, err)
	second := s.record(region)
	await(t, "another backup is asked for", func() bool { return len(wanted()) == 2 })
	list := func() fleet.BackupsReply {
		t.Helper()
		var reply fleet.BackupsReply
		_, err := as(t, func(ctx context.Context) (err error) {
			reply, err = (&Backups{s.ready()}).ListBackups(ctx, fleet.BackupsRequest{Clusters: []fleet.BackupsOf{{Cluster: s.op.Cluster}}})
			return err
		})
		require.NoError(t, err)
		return reply
	}
	behind := write(3)
	await(t, "what is behind the gap is stored", func() bool {
		segments, err := vault.Segments(t.Context(), s.op.Cluster, s.op.UID)
		require.NoError(t, err)
		return segments[len(segments)-1].Segment.Last == behind
	})
	told := list()
	require.Len(t, told.Gaps, 1)
	require.Equal(t, []any{end + 1, lost, false}, []any{told.Gaps[0].First, told.Gaps[0].Last, told.Gaps[0].Healed})
	require.Equal(t, end, told.Backups[0].Reach.Revision)

	// The new backup heals it, and what led on from the old one is removed with that.
	op = wanted()[1]
	op.ID, op.Asked = "healing", time.Now().UTC() // it may be the same ten minutes still
	take(op)
	end = write(3)
	await(t, "the changes behind the new backup are stored", func() bool { _, r := reach(); return r.Revision == end })
	second.stop(t)
	told = list()
	require.Len(t, told.Backups, 1)
	require.Empty(t, told.Gaps)
	require.Equal(t, end, told.Backups[0].Reach.Revision)
	m, r := reach()
	done, err := vault.Replay(t.Context(), m, r, backup.Target{}, filepath.Join(t.TempDir(), "snapshot.db"), nil)
	require.NoError(t, err)
	require.Equal(t, end, done.Revision)
}
