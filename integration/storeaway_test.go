package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/backup"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
	"github.com/flotilla-etcd/flotilla/objectstore"
)

// TestFirstStoreIsAway has the first store answer nothing while its connections stay open, and
// then kills it with -9. Meanwhile backups are listed and verified, keys are put back, the
// cluster is restored in place, to a point in time and to a backup that is named, and is
// recovered from a backup and changes when two of its three hosts are gone: each time with
// every key. What would take an older backup for the newest, or needs the first store, is
// refused. When that is back, it serves as before.
func TestFirstStoreIsAway(t *testing.T) {
	e, first, second := withSecondStore(t)
	worker := e.StartWorker("flotilla-worker")
	spec := harness.Spec("orders", 3, "3.7.3").WithDefaults()
	spec.Backup = fleet.BackupPolicy{Every: fleet.Duration(24 * time.Hour), Changes: fleet.Duration(time.Second)}
	e.Create(spec)
	written := putSome(t, e, spec.Name)
	require.Zero(t, e.CLI("backup", spec.Name).Code)
	uid := described(t, e, spec.Name).Summary.UID
	vault, err := e.Vault(t.Context())
	require.NoError(t, err)
	entries, err := vault.List(t.Context(), spec.Name, uid)
	require.NoError(t, err)
	m := entries[len(entries)-1].Manifest
	last := putLater(t, e, spec.Name)
	later := contentsOf(t, e, spec.Name)
	far, err := objectstore.Open(t.Context(), second.Location("far/fleet"), objectstore.Options{Environment: "SECOND_"})
	require.NoError(t, err)
	copied := backup.Vault{Store: far, Key: vault.Key}
	authority := "clusters/" + spec.Name + "/" + uid + "/authority.age"
	harness.Eventually(t, "the second store has everything", func(ctx context.Context) error {
		there, err := copied.Manifest(ctx, spec.Name, uid, m.ID)
		if err != nil {
			return err
		}
		segments, err := copied.Segments(ctx, spec.Name, uid)
		if reach := backup.ReachOf(there, segments); err == nil && reach.Revision < last {
			return fmt.Errorf("it leads to revision %d of %d", reach.Revision, last)
		}
		if err == nil {
			_, err = far.Stat(ctx, authority)
		}
		return err
	})
	a, err := e.Connect(t.Context(), spec.Name) // certificates are recorded in the first store
	require.NoError(t, err)
	defer a.Close()
	try := func(args ...string) harness.Answer {
		t.Helper()
		began := time.Now()
		answer := e.CLI(args...)
		t.Logf("%s: exit code %d after %s\n%s%s", strings.Join(args, " "), answer.Code, time.Since(began).Round(time.Second/10), answer.Out, answer.Err)
		return answer
	}
	holds := func(want map[string]string) {
		t.Helper()
		var urls []string
		for _, endpoint := range described(t, e, spec.Name).Endpoints {
			urls = append(urls, endpoint.ClientURL())
		}
		a.SetEndpoints(urls...)
		same(t, want, contentsAt(t, a, 0))
	}

	require.NoError(t, first.Pause())
	answer := try("backups", spec.Name)
	require.Zero(t, answer.Code)
	require.Contains(t, answer.Out, m.ID)
	require.Contains(t, answer.Out, "the object store cannot be asked")
	answer = try("verify", spec.Name)
	require.Equal(t, 1, answer.Code)
	require.Contains(t, answer.Out, m.ID+" is whole")
	require.Contains(t, answer.Out, "the changes behind it are whole")
	require.Contains(t, answer.Out, "the first store cannot be asked")
	answer = try("restore", spec.Name, "--in-place", "--yes", "--accept-loss")
	require.NotZero(t, answer.Code, "an older backup was taken for the newest")
	require.Contains(t, answer.Err, "the first store may have NEWER ones than "+m.ID)
	for _, makesNew := range [][]string{
		{"restore", spec.Name, "--to", "copy", "--backup", m.ID, "--yes"},
		{"create", "-f", document(t, e.Dir, "copy"), "--from-backup", spec.Name + "/" + m.ID},
		{"rehearse", spec.Name, "--backup", m.ID},
	} {
		answer = try(makesNew...)
		require.NotZero(t, answer.Code)
		require.Contains(t, answer.Err, "a new cluster needs the first store")
	}
	answer = try("restore", spec.Name, "--prefix", "k/", "--backup", m.ID, "--yes", "--accept-loss")
	require.Zero(t, answer.Code)
	require.Contains(t, answer.Out+answer.Err, "read from the SECOND store")
	got := contentsAt(t, a, 0)
	require.Contains(t, got, "late", "it is below no prefix")
	for key, value := range written {
		is, _, _ := strings.Cut(value, " v") // versions are new
		require.True(t, strings.HasPrefix(got[key], is+" v"), "key %s", key)
	}
	answer = try("restore", spec.Name, "--revision", fmt.Sprint(last), "--in-place", "--yes", "--accept-loss")
	require.Zero(t, answer.Code)
	require.Contains(t, answer.Out+answer.Err, "stored in the SECOND store alone")
	require.Contains(t, answer.Out+answer.Err, "read from the SECOND store")
	holds(later)

	first.Stop()
	worker.Kill()
	e.StartWorker("flotilla-worker") // it needs the first store no more than the others
	answer = try("restore", spec.Name, "--in-place", "--yes", "--accept-loss", "--backup", m.ID)
	require.Zero(t, answer.Code)
	holds(written)

	hosts, err := e.HostsOf(t.Context(), spec.Name)
	require.NoError(t, err)
	var gone []string
	for _, h := range hosts[:2] {
		gone = append(gone, h.Member())
		require.NoError(t, e.Provider.FailHost(t.Context(), h.ID))
	}
	answer = try("recover", spec.Name, "--from-backup", "--without", strings.Join(gone, ","), "--yes")
	require.Equal(t, 5, answer.Code, "it waits for approval")
	require.Contains(t, answer.Out+answer.Err, "may have NEWER backups and changes")
	require.Zero(t, e.CLI("approve", spec.Name).Code)
	answer = try("watch", spec.Name)
	require.Zero(t, answer.Code)
	holds(later)
	require.Contains(t, described(t, e, spec.Name).Operations[0].Lost, "NEWER")

	first.Restart(t)
	require.NoError(t, e.Stands(t.Context(), spec.Name))
	same(t, later, contentsOf(t, e, spec.Name))
	require.Equal(t, textOf(t, far, authority), textOf(t, vault.Store, authority))
}

// document writes the document of a new cluster, and gives its file.
func document(t *testing.T, dir, name string) string {
	t.Helper()
	file := filepath.Join(dir, name+".yaml")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, `{name: %s, provider: local, region: %s, zones: [a], voters: 1, etcd: {version: 3.7.3},
machine: {type: small, disk: {size: 20GiB, category: ssd}}}`, name, harness.Region), 0o600))
	return file
}
