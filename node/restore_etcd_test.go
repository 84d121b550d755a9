package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/flotilla-etcd/flotilla/backup"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
	"github.com/flotilla-etcd/flotilla/pki"
)

// stored is a backup of a member that runs, in a directory that is served over HTTP.
type stored struct {
	vault  backup.Vault
	m      backup.Manifest
	server *httptest.Server
}

func (c *testCluster) backup(h *testHost, member string) stored {
	c.t.Helper()
	dir := c.t.TempDir()
	store, err := objectstore.Open(c.t.Context(), dir, objectstore.Options{})
	require.NoError(c.t, err)
	key, err := pki.GenerateFleetKey()
	require.NoError(c.t, err)
	stream, err := c.client(h).SnapshotWithVersion(c.t.Context())
	require.NoError(c.t, err)
	defer stream.Snapshot.Close()
	s := stored{vault: backup.Vault{Store: store, Key: key}, server: httptest.NewServer(http.FileServer(http.Dir(dir)))}
	c.t.Cleanup(s.server.Close)
	s.m, err = s.vault.Save(c.t.Context(), backup.Manifest{
		Cluster: clusterName, UID: clusterUID, ID: "b1", History: "1", Taken: time.Now(), Member: member, Etcd: c.rel.Version,
	}, stream.Snapshot, c.t.TempDir(), nil)
	require.NoError(c.t, err)
	return s
}

// from lends the backup to a host.
func (s stored) from(h *testHost, member string) RestoreFrom {
	h.t.Helper()
	to := must[BorrowResult](h, VerbBorrow, MemberRequest{Member: member})
	key, err := s.vault.Lend(h.t.Context(), s.m, to.Recipient)
	require.NoError(h.t, err)
	f := RestoreFrom{Name: s.m.String(), Key: key, Etcd: s.m.Etcd, Expect: &SnapshotFacts{
		Size: s.m.Size, SHA256: s.m.SHA256, Revision: s.m.Revision, Hash: s.m.Hash, Keys: s.m.Keys,
	}}
	for _, o := range s.m.Objects {
		f.Objects = append(f.Objects, RestoreObject{URL: s.server.URL + "/" + o.Key, Size: o.Size, SHA256: o.SHA256})
	}
	return f
}

const bump = 1_000_000_000

// A cluster of three is made from a backup of a cluster of one, in place and elsewhere,
// while the command is killed half way: with the keys, values and leases of the backup, at
// a revision that nobody has seen, and watches from before end as compacted.
func TestRestore(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("three members on the same ports need three loopback addresses")
	}
	for _, minor := range []string{"3.5", "3.6", "3.7"} {
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			c := newTestCluster(t, minor)
			hosts := []*testHost{newTestHost(t), newTestHost(t), newTestHost(t)}
			c.running(hosts[0], nameOf(0))
			client := c.client(hosts[0])
			lease, err := client.Grant(t.Context(), 3600)
			require.NoError(t, err)
			for i := range 50 {
				_, err := client.Put(t.Context(), fmt.Sprintf("k/%d", i%40), fmt.Sprint(i), clientv3.WithLease(lease.ID))
				require.NoError(t, err)
			}
			_, err = client.Delete(t.Context(), "k/39")
			require.NoError(t, err)
			want := contents(t, client)
			s := c.backup(hosts[0], nameOf(0))
			require.Equal(t, 39, s.m.Keys)
			late, err := client.Put(t.Context(), "late", "lost")
			require.NoError(t, err)

			var initial []Peer
			for i, h := range hosts {
				if i > 0 {
					c.ready(h, nameOf(i))
				}
				initial = append(initial, peerOf(h, nameOf(i)))
			}
			request := func(h *testHost, i int) RestoreRequest {
				r := RestoreRequest{Token: "op-1/restore", Start: c.startRequest(h, nameOf(i), initial...), From: s.from(h, nameOf(i)), Bump: bump}
				r.Start.Token = "u1/op-1"
				return r
			}
			first := request(hosts[0], 0)
			_, err = do[RestoreResult](hosts[0], VerbRestore, first)
			require.Equal(t, fleet.Conflict, fleet.KindOf(err), "it runs: %v", err)
			must[fleet.MemberReport](hosts[0], VerbStop, MemberRequest{Member: nameOf(0)})
			_, err = do[RestoreResult](hosts[0], VerbRestore, first)
			require.Equal(t, fleet.Conflict, fleet.KindOf(err), "it has data: %v", err)
			first.SetAside = true
			for i, h := range hosts {
				req := request(h, i)
				req.SetAside = i == 0
				killed := h.shell(VerbRestore, req)
				require.NoError(t, killed.Start())
				time.Sleep(time.Duration(20+80*i) * time.Millisecond)
				_ = killed.Process.Kill() // it may have ended
				_ = killed.Wait()
				req.From = s.from(h, nameOf(i))
				r := must[RestoreResult](h, VerbRestore, req)
				require.Equal(t, s.m.Revision, r.Before.Revision)
				require.Equal(t, s.m.Revision+bump, r.After.Revision)
				require.Equal(t, s.m.Keys, r.After.Keys)
				require.Len(t, r.After.Voters(), 3)
				require.Equal(t, i == 0, r.Kept != "")
				require.Equal(t, r, must[RestoreResult](h, VerbRestore, req), "the same token is the same restore")
				report := h.report(nameOf(i))
				require.Equal(t, &fleet.Restored{Token: req.Token, From: s.m.String(), Members: []string{nameOf(0), nameOf(1), nameOf(2)}, Revision: r.After.Revision},
					report.Restored)
				require.Equal(t, i == 0, report.SetAside > 0)
				require.NoFileExists(t, filepath.Join(h.root, "var/lib/flotilla/members", nameOf(i), "pki/restore.key"))
			}
			for i, h := range hosts {
				start := c.startRequest(h, nameOf(i), initial...)
				start.Token = "u1/op-1"
				must[fleet.MemberReport](h, VerbStart, start)
			}
			for i, h := range hosts {
				h.awaitReady(nameOf(i))
			}
			client = c.client(hosts...)
			require.Equal(t, want, contents(t, client))
			ttl, err := client.TimeToLive(t.Context(), lease.ID, clientv3.WithAttachedKeys())
			require.NoError(t, err)
			require.Len(t, ttl.Keys, 39)
			put, err := client.Put(t.Context(), "after", "1")
			require.NoError(t, err)
			require.Greater(t, put.Header.Revision, late.Header.Revision+bump/2)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			seen := <-client.Watch(ctx, "k/", clientv3.WithPrefix(), clientv3.WithRev(late.Header.Revision))
			require.True(t, seen.Canceled)
			require.Positive(t, seen.CompactRevision, "a watch from before is told that it has missed something")
			// What was restored once is restored again, by another token.
			must[fleet.MemberReport](hosts[1], VerbStop, MemberRequest{Member: nameOf(1)})
			again := request(hosts[1], 1)
			again.Token, again.SetAside = "op-2/restore", true
			require.NotEmpty(t, must[RestoreResult](hosts[1], VerbRestore, again).Kept)
			gone := must[LetGoResult](hosts[0], VerbLetGo, MemberRequest{Member: nameOf(0)})
			require.Len(t, gone.Deleted, 1)
			require.Zero(t, hosts[0].report(nameOf(0)).SetAside)
		})
	}
}

// contents gives keys, values and leases.
func contents(t *testing.T, client *clientv3.Client) map[string]string {
	t.Helper()
	all, err := client.Get(t.Context(), "k/", clientv3.WithPrefix())
	require.NoError(t, err)
	found := map[string]string{}
	for _, kv := range all.Kvs {
		found[string(kv.Key)] = fmt.Sprintf("%s %x v%d", kv.Value, kv.Lease, kv.Version)
	}
	return found
}

// Nothing damaged is restored, and what a refusal leaves is what was there.
func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, "3.7")
	h := newTestHost(t)
	c.running(h, nameOf(0))
	client := c.client(h)
	_, err := client.Put(t.Context(), "k/1", "v")
	require.NoError(t, err)
	s := c.backup(h, nameOf(0))
	must[fleet.MemberReport](h, VerbStop, MemberRequest{Member: nameOf(0)})
	examined := must[fleet.DataReport](h, VerbExamine, MemberRequest{Member: nameOf(0)})
	request := func() RestoreRequest {
		return RestoreRequest{Token: "op-1", Start: c.startRequest(h, nameOf(0)), From: s.from(h, nameOf(0)), SetAside: true}
	}
	// A server that alters what it sends.
	object := filepath.Join(t.TempDir(), "object")
	plain, err := s.vault.Store.Get(t.Context(), s.m.Objects[0].Key)
	require.NoError(t, err)
	whole, err := io.ReadAll(plain)
	require.NoError(t, err)
	require.NoError(t, plain.Close())
	altered := func(change func([]byte) []byte) func(*RestoreRequest) {
		return func(r *RestoreRequest) {
			require.NoError(t, os.WriteFile(object, change(append([]byte(nil), whole...)), 0o600))
			r.From.Objects[0].URL = "file://" + object
		}
	}
	stored := s.sealAltered(t)
	for name, wrong := range map[string]struct {
		kind fleet.Kind
		do   func(*RestoreRequest)
	}{
		"another database": {fleet.Lost, func(r *RestoreRequest) {
			require.NoError(t, os.WriteFile(object, stored, 0o600))
			r.From.Objects[0] = RestoreObject{URL: "file://" + object, Size: fleet.Bytes(len(stored)), SHA256: fmt.Sprintf("%x", sha256.Sum256(stored))}
			r.From.Key, err = s.vault.Key.Lend(bytes.NewReader(stored), must[BorrowResult](h, VerbBorrow, MemberRequest{Member: nameOf(0)}).Recipient)
			require.NoError(t, err)
		}},
		"a flipped bit":       {fleet.Lost, altered(func(b []byte) []byte { b[len(b)/2] ^= 1; return b })},
		"a flipped last bit":  {fleet.Lost, altered(func(b []byte) []byte { b[len(b)-1] ^= 1; return b })},
		"a flipped first bit": {fleet.Lost, altered(func(b []byte) []byte { b[0] ^= 1; return b })},
		"cut off":             {fleet.Lost, altered(func(b []byte) []byte { return b[:len(b)-1] })},
		"more behind":         {fleet.Lost, altered(func(b []byte) []byte { return append(b, 0) })},
		"missing":             {fleet.Lost, func(r *RestoreRequest) { r.From.Objects[0].URL = s.server.URL + "/none" }},
		"another store":       {fleet.Lost, func(r *RestoreRequest) { r.From.Expect.SHA256 = hex.EncodeToString(make([]byte, sha256.Size)) }},
		"another hash":        {fleet.Lost, func(r *RestoreRequest) { r.From.Expect.Hash++ }},
		"no room":             {fleet.Denied, func(r *RestoreRequest) { r.From.Expect.Size = 1 << 60 }},
		"no server":           {fleet.Unavailable, func(r *RestoreRequest) { r.From.Objects[0].URL = "http://127.0.0.1:1/object" }},
		"a key of another":    {fleet.Lost, func(r *RestoreRequest) { r.From.Key[len(r.From.Key)-1] ^= 1 }},
		"an older release":    {fleet.Invalid, func(r *RestoreRequest) { r.From.Etcd = "3.8.0" }},
		"no source":           {fleet.Invalid, func(r *RestoreRequest) { r.From.Objects = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			req := request()
			wrong.do(&req)
			_, err := do[RestoreResult](h, VerbRestore, req)
			require.Equal(t, wrong.kind, fleet.KindOf(err), "%v", err)
			require.Equal(t, examined, must[fleet.DataReport](h, VerbExamine, MemberRequest{Member: nameOf(0)}))
			left, err := filepath.Glob(filepath.Join(h.root, "disks/disk-1", nameOf(0), restoring+"*"))
			require.NoError(t, err)
			require.Empty(t, left, "what is not whole takes no room")
		})
	}
	require.NoError(t, syscall.Access(object, 4))
}

// sealAltered stores a database of which one bit in a value is another, with the sum behind it
// of what it was, as nobody would who cannot seal.
func (s stored) sealAltered(t *testing.T) []byte {
	t.Helper()
	r, err := s.vault.Open(t.Context(), s.m, nil)
	require.NoError(t, err)
	defer r.Close()
	plain, err := io.ReadAll(r)
	require.NoError(t, err)
	at := bytes.LastIndex(plain, []byte("k/1"))
	require.Positive(t, at)
	plain[at+2] ^= 2
	var b bytes.Buffer
	seal, err := s.vault.Key.Seal(&b)
	require.NoError(t, err)
	z, err := zstd.NewWriter(seal, zstd.WithWindowSize(1<<20))
	require.NoError(t, err)
	_, err = z.Write(plain)
	require.NoError(t, errors.Join(err, z.Close(), seal.Close()))
	return b.Bytes()
}

// A copy of a store that no process has open is restored as it is.
func TestRestoreFromFile(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, "3.7")
	from, to := newTestHost(t), newTestHost(t)
	c.running(from, nameOf(0))
	client := c.client(from)
	for i := range 10 {
		_, err := client.Put(t.Context(), fmt.Sprintf("k/%d", i), "v")
		require.NoError(t, err)
	}
	want := contents(t, client)
	summed := filepath.Join(t.TempDir(), "summed.db")
	stream, err := client.Snapshot(t.Context())
	require.NoError(t, err)
	file, err := os.Create(summed)
	require.NoError(t, err)
	_, err = io.Copy(file, stream)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	must[fleet.MemberReport](from, VerbStop, MemberRequest{Member: nameOf(0)})
	raw, err := os.ReadFile(filepath.Join(from.root, "disks/disk-1", nameOf(0), "data/member/snap/db"))
	require.NoError(t, err)
	c.ready(to, nameOf(1))
	text, err := os.ReadFile(summed)
	require.NoError(t, err)
	for name, content := range map[string][]byte{"raw.db": raw, "summed.db": text, "altered.db": append(append([]byte(nil), text[:len(text)-1]...), text[len(text)-1]^1)} {
		require.NoError(t, os.WriteFile(filepath.Join(to.root, name), content, 0o600))
	}
	request := RestoreRequest{Token: "altered", Start: c.startRequest(to, nameOf(1)), From: RestoreFrom{Name: "a copy", File: "/altered.db"}}
	_, err = do[RestoreResult](to, VerbRestore, request)
	require.Equal(t, fleet.Lost, fleet.KindOf(err), "%v", err)
	for _, name := range []string{"raw.db", "summed.db"} {
		request.Token, request.From.File = name, "/"+name
		r := must[RestoreResult](to, VerbRestore, request)
		require.Equal(t, r.Before.Hash, r.After.Hash)
		require.Equal(t, r.Before.Revision, r.After.Revision)
		must[fleet.MemberReport](to, VerbStart, c.startRequest(to, nameOf(1)))
		to.awaitReady(nameOf(1))
		require.Equal(t, want, contents(t, c.client(to)))
		must[fleet.MemberReport](to, VerbStop, MemberRequest{Member: nameOf(1)})
		request.SetAside = true
	}
	require.Len(t, must[LetGoResult](to, VerbLetGo, MemberRequest{Member: nameOf(1)}).Deleted, 1)
}
