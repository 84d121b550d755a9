package datadir_test

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/etcdadmin/etcdtest"
	"github.com/flotilla-etcd/flotilla/node/datadir"
)

// What Restore makes of a snapshot is compared with what etcdutl makes of it: each key of each
// bucket of the store, and the log and the raft snapshot byte for byte. What it is then examined
// to have held is compared with the snapshot.
func TestRestore(t *testing.T) {
	for _, version := range etcdtest.Versions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			c := etcdtest.Start(t, version, 1)
			client := c.Client(t)
			snapshots := map[string]string{"empty": save(t, client)}
			lease, err := client.Grant(t.Context(), 3600)
			require.NoError(t, err)
			write := func() (at int64) {
				for i := range 200 {
					put, err := client.Put(t.Context(), fmt.Sprintf("k/%03d", i%70), strings.Repeat("v", i), clientv3.WithLease(lease.ID))
					require.NoError(t, err)
					_, err = client.Delete(t.Context(), fmt.Sprintf("k/%03d", (i+30)%170))
					require.NoError(t, err)
					at = put.Header.Revision
				}
				return at
			}
			at := write()
			snapshots["written"] = save(t, client)
			_, err = client.Compact(t.Context(), at-50, clientv3.WithCompactPhysical())
			require.NoError(t, err)
			snapshots["compacted"] = save(t, client)
			_, err = client.UserAdd(t.Context(), "root", "secret")
			require.NoError(t, err)
			write()
			snapshots["all of it"] = save(t, client)
			alone := "m1=https://127.0.0.1:2380"
			for name, file := range snapshots {
				members := []string{alone}
				if name == "all of it" { // what a snapshot holds and who the members are do not meet
					members = append(members, "m2=https://127.0.0.2:2380,"+alone+",m3=https://127.0.0.3:2380")
				}
				for _, bump := range []int64{0, 1_000_000_000} {
					for _, initial := range members {
						t.Run(fmt.Sprintf("%s, moved by %d, of %d", name, bump, strings.Count(initial, "=")), func(t *testing.T) {
							asEtcdutl(t, file, datadir.NewCluster{Member: "m1", URL: "https://127.0.0.1:2380", Initial: initial, Token: "t", Bump: bump})
						})
					}
				}
			}
			// What was restored once, and moved on, is restored again.
			again := asEtcdutl(t, snapshots["all of it"], datadir.NewCluster{Member: "m1", URL: "https://127.0.0.1:2380", Initial: alone, Token: "t", Bump: 1000})
			restoredFrom(t, datadir.StorePath(again), datadir.NewCluster{Member: "m1", URL: "https://127.0.0.1:2380", Initial: alone, Token: "u", Bump: 1000})
		})
	}
}

// save saves a snapshot as etcdctl does.
func save(t *testing.T, client *clientv3.Client) string {
	t.Helper()
	stream, err := client.Snapshot(t.Context())
	require.NoError(t, err)
	defer stream.Close()
	file, err := os.Create(filepath.Join(t.TempDir(), "snapshot.db"))
	require.NoError(t, err)
	_, err = io.Copy(file, stream)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	return file.Name()
}

// asEtcdutl restores a snapshot with the sum behind it.
func asEtcdutl(t *testing.T, file string, c datadir.NewCluster) string {
	t.Helper()
	theirs := filepath.Join(t.TempDir(), "data")
	require.NoError(t, snapshot.NewV3(zap.NewNop()).Restore(snapshot.RestoreConfig{
		SnapshotPath: file, OutputDataDir: theirs, Name: c.Member, PeerURLs: []string{c.URL}, InitialCluster: c.Initial, InitialClusterToken: c.Token,
		RevisionBump: uint64(c.Bump), MarkCompacted: c.Bump > 0,
	}))
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	plain := filepath.Join(t.TempDir(), "plain.db")
	require.NoError(t, os.WriteFile(plain, content[:len(content)-32], 0o600))
	ours := restoredFrom(t, plain, c)
	require.Equal(t, buckets(t, datadir.StorePath(theirs)), buckets(t, datadir.StorePath(ours)))
	was, is := otherFiles(t, theirs), otherFiles(t, ours)
	if strings.Count(c.Initial, "=") > 1 { // etcd writes members into it in any order
		raftSnapshot := "member/snap/0000000000000001-0000000000000003.snap"
		require.NotEmpty(t, is[raftSnapshot])
		was[raftSnapshot], is[raftSnapshot] = "", ""
	}
	require.Equal(t, was, is)
	return ours
}

// restoredFrom restores a store, and examines what came of it.
func restoredFrom(t *testing.T, plain string, c datadir.NewCluster) string {
	t.Helper()
	held, err := datadir.ExamineStore(t.Context(), plain)
	require.NoError(t, err)
	require.Empty(t, held.Damage)
	dir := filepath.Join(t.TempDir(), "data")
	require.NoError(t, os.MkdirAll(filepath.Dir(datadir.StorePath(dir)), 0o700))
	content, err := os.ReadFile(plain)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(datadir.StorePath(dir), content, 0o600))
	was, err := datadir.Restore(dir, c)
	require.NoError(t, err)
	after, was, err := datadir.ExamineFrom(t.Context(), dir, was)
	require.NoError(t, err)
	require.Empty(t, after.Damage)
	require.Equal(t, datadir.State{Revision: held.Revision, Compacted: held.Compacted, Hash: held.Hash, Keys: held.Keys}, was)
	require.Equal(t, held.Keys, after.Keys)
	require.Len(t, after.Voters(), strings.Count(c.Initial, "="))
	if c.Bump == 0 {
		require.Equal(t, []any{held.Revision, held.Compacted, held.Hash}, []any{after.Revision, after.Compacted, after.Hash})
	} else {
		require.GreaterOrEqual(t, after.Revision, held.Revision-1+c.Bump) // of a store that is empty, nothing has the revision
		require.Equal(t, after.Revision, after.Compacted)
	}
	alters(t, dir, was)
	return dir
}

// alters flips a bit of what was written before the restore: it does not go unseen.
func alters(t *testing.T, dir string, was datadir.State) {
	t.Helper()
	altered, store := copied(t, dir, "snap/db")
	db, err := bolt.Open(store, 0, nil)
	require.NoError(t, err)
	done := false
	require.NoError(t, db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte("key"))
		last := b.Cursor()
		at, value := last.Last()
		if len(value) == 0 { // what the restore added
			at, value = last.Prev()
		}
		if len(value) == 0 {
			return nil
		}
		value = bytes.Clone(value)
		value[len(value)-1] ^= 1
		done = true
		return b.Put(at, value)
	}))
	require.NoError(t, db.Close())
	if !done {
		return
	}
	_, now, err := datadir.ExamineFrom(t.Context(), altered, was)
	require.NoError(t, err)
	require.NotEqual(t, was.Hash, now.Hash)
}

// buckets gives all that is in a store.
func buckets(t *testing.T, path string) map[string]string {
	t.Helper()
	db, err := bolt.Open(path, 0, &bolt.Options{ReadOnly: true})
	require.NoError(t, err)
	defer db.Close()
	all := map[string]string{}
	require.NoError(t, db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
			all[string(name)] = ""
			return b.ForEach(func(k, v []byte) error {
				all[fmt.Sprintf("%s %q", name, k)] = string(v)
				return nil
			})
		})
	}))
	return all
}

// otherFiles gives all of a data directory but the store.
func otherFiles(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil || path == datadir.StorePath(dir) {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		all[name] = info.Mode().String()
		if e.IsDir() {
			return nil
		}
		content, size := used(t, path)
		all[name] += fmt.Sprint(size, " ", string(content))
		return nil
	}))
	return all
}

// What etcd cannot open is damage, and no panic.
func TestRestoreOfNoStore(t *testing.T) {
	c := datadir.NewCluster{Member: "m1", URL: "https://127.0.0.1:2380", Initial: "m1=https://127.0.0.1:2380", Token: "t"}
	for name, content := range map[string]string{"text": strings.Repeat("no store ", 10_000), "zeros": strings.Repeat("\x00", 1<<20)} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.MkdirAll(filepath.Dir(datadir.StorePath(dir)), 0o700))
			require.NoError(t, os.WriteFile(datadir.StorePath(dir), []byte(content), 0o600))
			_, err := datadir.Restore(dir, c)
			require.ErrorIs(t, err, datadir.ErrDamaged)
		})
	}
	_, err := datadir.Restore(t.TempDir(), datadir.NewCluster{Member: "m1", URL: c.URL, Initial: "m2=https://127.0.0.2:2380", Token: "t"})
	require.Error(t, err)
	require.NotErrorIs(t, err, datadir.ErrDamaged, "the request is wrong, and not the store")
}
