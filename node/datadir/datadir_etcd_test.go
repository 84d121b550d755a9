package datadir_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/client/pkg/v3/types"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/flotilla-etcd/flotilla/etcdadmin/etcdtest"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/node/datadir"
)

// everything describes a directory: what is in it, when it was changed, and how.
func everything(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		all[path] = fmt.Sprint(info.Mode(), info.ModTime())
		if e.Type().IsRegular() {
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			defer f.Close()
			sum := sha256.New()
			if _, err := io.Copy(sum, f); err != nil {
				return err
			}
			all[path] += fmt.Sprintf(" %x", sum.Sum(nil))
		}
		return nil
	}))
	return all
}

func examine(t *testing.T, dir string) *fleet.DataReport {
	t.Helper()
	before := everything(t, dir)
	r, err := datadir.Examine(t.Context(), dir)
	require.NoError(t, err)
	require.Equal(t, before, everything(t, dir), "looking at it changed something")
	return r
}

// used reads a file up to the zeros at its end, and gives the size of all of it: a log is
// 64 MB of almost nothing. It goes in pieces, since for each byte that a program touches the
// race detector keeps four.
func used(t *testing.T, path string) ([]byte, int) {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	var content []byte
	size, piece, zeros := 0, make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, err := io.ReadFull(f, piece)
		if n > 0 && !bytes.Equal(piece[:n], zeros[:n]) {
			content = append(append(content, make([]byte, size-len(content))...), piece[:n]...)
		}
		size += n
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return bytes.TrimRight(content, "\x00"), size
		}
		require.NoError(t, err)
	}
}

// copied gives a copy of a data directory, and a file in it by a pattern.
func copied(t *testing.T, dir, pattern string) (string, string) {
	t.Helper()
	to := t.TempDir()
	require.NoError(t, os.CopyFS(to, os.DirFS(dir)))
	found, err := filepath.Glob(filepath.Join(to, "member", pattern))
	require.NoError(t, err)
	require.NotEmpty(t, found)
	return to, found[len(found)-1]
}

// What a stopped member of each release holds is compared with what it said itself.
func TestExamine(t *testing.T) {
	for _, version := range etcdtest.Versions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			c := etcdtest.Start(t, version, 3, "--snapshot-count", "100")
			client := c.Client(t)
			lease, err := client.Grant(t.Context(), 3600)
			require.NoError(t, err)
			var at int64
			write := func(i int) {
				key := fmt.Sprintf("k/%03d", i%70)
				if i%9 == 8 {
					_, err = client.Delete(t.Context(), key)
				} else {
					var put *clientv3.PutResponse
					put, err = client.Put(t.Context(), key, strings.Repeat("v", i), clientv3.WithLease(lease.ID))
					if err == nil {
						at = put.Header.Revision
					}
				}
				require.NoError(t, err)
			}
			for i := range 260 {
				write(i)
			}
			_, err = client.Compact(t.Context(), at-100, clientv3.WithCompactPhysical())
			require.NoError(t, err)
			for i := range 30 {
				write(i)
			}
			list, err := client.MemberList(t.Context())
			require.NoError(t, err)
			stopped, leader := c.Follower(t), c.Leader(t)
			_, err = datadir.Examine(t.Context(), stopped.DataDir)
			require.ErrorIs(t, err, datadir.ErrInUse)

			now, err := client.Get(t.Context(), "", clientv3.WithPrefix(), clientv3.WithCountOnly())
			require.NoError(t, err)
			hash := awaitHash(t, client, stopped.ClientURL, now.Header.Revision)
			stopped.Stop()
			r := examine(t, stopped.DataDir)
			require.Empty(t, r.Damage)
			require.Empty(t, r.Torn)
			require.Equal(t, types.ID(list.Header.ClusterId).String(), r.ClusterID)
			require.Equal(t, types.ID(hash.Header.MemberId).String(), r.MemberID)
			require.Len(t, r.Voters(), 3)
			require.True(t, r.Votes())
			for _, m := range list.Members {
				require.Contains(t, r.Members, fleet.DataMember{ID: types.ID(m.ID).String(), Name: m.Name, Peers: m.PeerURLs})
			}
			require.Equal(t, now.Header.Revision, r.Revision)
			require.Equal(t, hash.CompactRevision, r.Compacted)
			require.Equal(t, hash.Hash, r.Hash, "the hash of the store is not what the member answered")
			require.Equal(t, int(now.Count), r.Keys)
			require.Equal(t, fleet.Minor(version)+".0", r.ClusterVersion)
			require.NotZero(t, r.RaftSnapshot.Index)
			require.GreaterOrEqual(t, r.Last.Index, r.Applied.Index)
			require.LessOrEqual(t, r.Unproven(), uint64(1))

			// Killed: the store is behind the log, and the log has what was acknowledged.
			for i := range 20 {
				write(i)
			}
			leader.Kill()
			l := examine(t, leader.DataDir)
			require.Empty(t, l.Damage)
			require.Equal(t, 1, l.Last.Compare(r.Last), "%+v is further than %+v", l.Last, r.Last)
			require.GreaterOrEqual(t, l.Last.Index, r.Last.Index+20)

			breaks(t, stopped.DataDir, r)
		})
	}
}

func awaitHash(t *testing.T, client *clientv3.Client, endpoint string, revision int64) *clientv3.HashKVResponse {
	t.Helper()
	var hash *clientv3.HashKVResponse
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		var err error
		hash, err = client.HashKV(ctx, endpoint, revision)
		return err == nil
	}, time.Minute, 20*time.Millisecond)
	return hash
}

// breaks damages copies of a whole directory, each in one way.
func breaks(t *testing.T, dir string, whole *fleet.DataReport) {
	flip := func(share float64) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			content, _ := used(t, path)
			at := int(float64(len(content)) * share)
			for content[at] == 0 { // what fills up records belongs to none
				at++
			}
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			require.NoError(t, err)
			_, err = f.WriteAt([]byte{content[at] ^ 0x10}, int64(at))
			require.NoError(t, err)
			require.NoError(t, f.Close())
		}
	}
	cut := func(share float64) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			content, _ := used(t, path)
			require.NoError(t, os.Truncate(path, int64(float64(len(content))*share)))
		}
	}
	remove := func(t *testing.T, path string) { require.NoError(t, os.Remove(path)) }
	for _, c := range []struct {
		what, file string
		how        func(*testing.T, string)
		says       string
	}{
		{"half of the log", "wal/*.wal", cut(0.5), "the end of the log is lost"},
		{"no log", "wal/*.wal", remove, "its log is damaged: it has no file"},
		{"no store", "snap/db", remove, "its store is damaged: there is none"},
		{"half of the store", "snap/db", cut(0.5), "its store"},
		{"the head of the store", "snap/db", func(t *testing.T, path string) {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			require.NoError(t, err)
			_, err = f.WriteAt(make([]byte, 16<<10), 0)
			require.NoError(t, err)
			require.NoError(t, f.Close())
		}, "its store is damaged"},
	} {
		t.Run(c.what, func(t *testing.T) {
			broken, path := copied(t, dir, c.file)
			c.how(t, path)
			r := examine(t, broken)
			require.NotEmpty(t, r.Damage)
			require.Contains(t, strings.Join(r.Damage, "\n"), c.says)
		})
	}
	t.Run("a bit of the log", func(t *testing.T) {
		broken, path := copied(t, dir, "wal/*.wal")
		content, _ := used(t, path)
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		require.NoError(t, err)
		defer f.Close()
		set := func(at int, b byte) {
			_, err := f.WriteAt([]byte{b}, int64(at))
			require.NoError(t, err)
		}
		found := 0
		const flips = 40
		for range flips {
			at, bit := rand.IntN(len(content)), byte(1)<<rand.IntN(8)
			set(at, content[at]^bit)
			r, err := datadir.Examine(t.Context(), broken)
			require.NoError(t, err)
			if len(r.Damage) > 0 {
				found++
			} else {
				// What fills up records, and three bits of their lengths, mean nothing.
				require.Equal(t, whole, r, "bit %08b of byte %d makes it look otherwise, and whole", bit, at)
			}
			set(at, content[at])
		}
		require.Greater(t, found, flips/2)
	})
	t.Run("the last record torn", func(t *testing.T) {
		broken, path := copied(t, dir, "wal/*.wal")
		content, _ := used(t, path)
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		require.NoError(t, err)
		// The length of a record, and nothing of it: as after a loss of power.
		_, err = f.WriteAt([]byte{200, 0, 0, 0, 0, 0, 0, 0}, int64(len(content)+7)/8*8)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		r := examine(t, broken)
		require.Empty(t, r.Damage)
		require.NotEmpty(t, r.Torn)
		require.Equal(t, whole.Last, r.Last)
	})
	t.Run("raft snapshots broken", func(t *testing.T) {
		broken, _ := copied(t, dir, "snap/*.snap")
		all, err := filepath.Glob(filepath.Join(broken, "member/snap/*.snap"))
		require.NoError(t, err)
		for _, path := range all {
			flip(0.5)(t, path)
		}
		r := examine(t, broken)
		if whole.StorageVersion == "3.7.0" {
			require.Equal(t, whole.RaftSnapshot, r.RaftSnapshot, "3.7 does not read them")
		} else {
			require.Zero(t, r.RaftSnapshot.Index, "it would start at the beginning of the log, which is there")
		}
		require.Empty(t, r.Damage)
	})
}

func TestNothingToExamine(t *testing.T) {
	_, err := datadir.Examine(t.Context(), t.TempDir())
	require.ErrorIs(t, err, fs.ErrNotExist)
}
