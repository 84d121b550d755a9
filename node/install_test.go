package node

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/fleet"
)

func testNode(t *testing.T) *Node {
	t.Helper()
	n, err := New(t.TempDir(), "test", zap.NewNop())
	require.NoError(t, err)
	return n
}

// entry is a file in an archive.
type entry struct {
	name string
	body string
	kind byte // a plain file if 0
	link string
}

const fakeEtcd = "#!/bin/sh\necho etcd Version: 3.7.3\n"

func officialLayout() []entry {
	const top = "etcd-v3.7.3-linux-amd64"
	return []entry{
		{name: top + "/", kind: tar.TypeDir},
		{name: top + "/README.md", body: "hello"},
		{name: top + "/Documentation/etcd", body: "not this one"},
		{name: top + "/etcd", body: fakeEtcd},
		{name: top + "/etcdctl", body: "ctl"},
		{name: top + "/etcdutl", body: "utl"},
	}
}

func with(e ...entry) []entry { return append(officialLayout(), e...) }

func pack(t *testing.T, entries []entry) []byte {
	t.Helper()
	var buf bytes.Buffer
	zipped := gzip.NewWriter(&buf)
	archive := tar.NewWriter(zipped)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Linkname: e.link, Mode: 0o755, Size: int64(len(e.body))}
		if e.kind == 0 {
			h.Typeflag = tar.TypeReg
		}
		require.NoError(t, archive.WriteHeader(h))
		_, err := archive.Write([]byte(e.body))
		require.NoError(t, err)
	}
	require.NoError(t, archive.Close())
	require.NoError(t, zipped.Close())
	return buf.Bytes()
}

func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func saved(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "etcd.tar.gz")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	return path
}

func requireNothingLeft(t *testing.T, n *Node) {
	t.Helper()
	entries, err := os.ReadDir(n.releasesDir())
	if err != nil {
		require.ErrorIs(t, err, os.ErrNotExist)
	}
	require.Empty(t, entries)
}

func TestInstall(t *testing.T) {
	data := pack(t, officialLayout())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) }))
	defer server.Close()
	for name, url := range map[string]string{
		"http": server.URL + "/etcd.tar.gz?signature=s3cr3t",
		"file": "file://" + saved(t, data),
		"path": saved(t, data),
	} {
		t.Run(name, func(t *testing.T) {
			n := testNode(t)
			req := InstallRequest{Version: "3.7.3", URL: url, SHA256: hashOf(data)}
			result, err := n.Install(t.Context(), req)
			require.NoError(t, err)
			require.Equal(t, &InstallResult{Version: "3.7.3", Installed: true}, result)
			got, err := os.ReadFile(n.program("3.7.3", "etcd"))
			require.NoError(t, err)
			require.Equal(t, fakeEtcd, string(got))
			entries, err := os.ReadDir(n.releaseDir("3.7.3"))
			require.NoError(t, err)
			require.Len(t, entries, 4, "three programs and the manifest")
			require.Equal(t, []string{"3.7.3"}, n.releases())

			result, err = n.Install(t.Context(), req)
			require.NoError(t, err)
			require.False(t, result.Installed)
			require.NoError(t, os.WriteFile(n.program("3.7.3", "etcdctl"), []byte("CTL"), 0o755))
			result, err = n.Install(t.Context(), req)
			require.NoError(t, err)
			require.True(t, result.Installed, "it was damaged")
			require.NoError(t, os.Remove(filepath.Join(n.releaseDir("3.7.3"), manifestFile)))
			result, err = n.Install(t.Context(), req)
			require.NoError(t, err)
			require.True(t, result.Installed, "it had lost its manifest")
		})
	}
}

func TestInstallRefuses(t *testing.T) {
	good := pack(t, officialLayout())
	install := func(data []byte) InstallRequest {
		return InstallRequest{Version: "3.7.3", URL: saved(t, data), SHA256: hashOf(data)}
	}
	archive := func(entries ...entry) InstallRequest { return install(pack(t, entries)) }
	status := func(code int) InstallRequest {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }))
		t.Cleanup(server.Close)
		return InstallRequest{Version: "3.7.3", URL: server.URL + "?signature=s3cr3t", SHA256: hashOf(good)}
	}
	partial := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(good)))
		_, _ = w.Write(good[:len(good)/2])
	}))
	defer partial.Close()
	other := hashOf([]byte("other"))

	for name, c := range map[string]struct {
		req  InstallRequest
		kind fleet.Kind
		want string
	}{
		"wrong hash":      {InstallRequest{Version: "3.7.3", URL: saved(t, good), SHA256: other}, fleet.Invalid, hashOf(good) + ", expected was " + other},
		"no hash":         {InstallRequest{Version: "3.7.3", URL: saved(t, good)}, fleet.Invalid, "not a SHA-256"},
		"version as path": {InstallRequest{Version: "../3.7.3", URL: saved(t, good), SHA256: other}, fleet.Invalid, "not a version"},
		"no such file":    {InstallRequest{Version: "3.7.3", URL: "/does/not/exist", SHA256: other}, fleet.NotFound, "no file"},
		"ftp":             {InstallRequest{Version: "3.7.3", URL: "ftp://x/y", SHA256: other}, fleet.Invalid, "ftp URL"},
		"nobody there":    {InstallRequest{Version: "3.7.3", URL: "http://127.0.0.1:1/x?signature=s3cr3t", SHA256: other}, fleet.Unavailable, "connection refused"},
		"404":             {status(404), fleet.NotFound, "404"},
		"403":             {status(403), fleet.Denied, "403"},
		"429":             {status(429), fleet.Throttled, "429"},
		"503":             {status(503), fleet.Unavailable, "503"},
		"broken off":      {InstallRequest{Version: "3.7.3", URL: partial.URL, SHA256: hashOf(good)}, fleet.Unavailable, "broke off"},
		"not an archive":  {install([]byte("hello")), fleet.Invalid, "not a tar.gz"},
		"cut archive":     {install(good[:len(good)-30]), fleet.Invalid, "damaged"},
		"traversal":       {archive(with(entry{name: "x/../../etcd", body: "evil"})...), fleet.Invalid, "outside of itself"},
		"absolute":        {archive(with(entry{name: "/etcd", body: "evil"})...), fleet.Invalid, "outside of itself"},
		"symbolic link":   {archive(entry{name: "x/etcd", kind: tar.TypeSymlink, link: "/bin/sh"}), fleet.Invalid, "not a plain file"},
		"hard link":       {archive(entry{name: "x/etcd", kind: tar.TypeLink, link: "/bin/sh"}), fleet.Invalid, "not a plain file"},
		"twice":           {archive(with(entry{name: "y/etcd", body: "again"})...), fleet.Invalid, "etcd twice"},
		"no etcdutl":      {archive(officialLayout()[:5]...), fleet.Invalid, "no etcdutl"},
		"other version": {archive(entry{name: "x/etcd", body: "#!/bin/sh\necho etcd Version: 3.6.1\n"},
			entry{name: "x/etcdctl"}, entry{name: "x/etcdutl"}), fleet.Invalid, `version "3.6.1"`},
		"other platform": {archive(entry{name: "x/etcd", body: "\x7fELF for another machine"},
			entry{name: "x/etcdctl"}, entry{name: "x/etcdutl"}), fleet.Invalid, "does not run on this host"},
	} {
		t.Run(name, func(t *testing.T) {
			n := testNode(t)
			_, err := n.Install(t.Context(), c.req)
			require.ErrorContains(t, err, c.want)
			require.Equal(t, c.kind, fleet.KindOf(err), "%v", err)
			require.NotContains(t, err.Error(), "s3cr3t", "signatures of URLs are secrets")
			requireNothingLeft(t, n)
		})
	}
}

func TestInstallSweepsWhatKilledOnesLeft(t *testing.T) {
	n, data := testNode(t), pack(t, officialLayout())
	require.NoError(t, os.MkdirAll(filepath.Join(n.releasesDir(), workPrefix+"123/release"), 0o755))
	_, err := n.Install(t.Context(), InstallRequest{Version: "3.7.3", URL: saved(t, data), SHA256: hashOf(data)})
	require.NoError(t, err)
	left, err := filepath.Glob(filepath.Join(n.releasesDir(), workPrefix+"*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestInstallEndsWithItsContext(t *testing.T) {
	began := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("some"))
		w.(http.Flusher).Flush()
		close(began)
		<-r.Context().Done()
	}))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-began; cancel() }()
	n := testNode(t)
	_, err := n.Install(ctx, InstallRequest{Version: "3.7.3", URL: server.URL, SHA256: hashOf(nil)})
	require.Equal(t, fleet.Unavailable, fleet.KindOf(err), "%v", err)
	require.ErrorIs(t, err, context.Canceled)
	requireNothingLeft(t, n)
}

func TestVerbsWaitForEachOther(t *testing.T) {
	n := testNode(t)
	unlock, err := n.lock(t.Context())
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = n.Stop(ctx, MemberRequest{Member: "a"})
	require.Equal(t, fleet.Unavailable, fleet.KindOf(err))
	require.ErrorContains(t, err, "another flotilla-node command is still at work")
	_, err = n.Report(t.Context())
	require.NoError(t, err, "a report needs no lock")
	unlock()
	_, err = n.Stop(t.Context(), MemberRequest{Member: "a"})
	require.Equal(t, fleet.NotFound, fleet.KindOf(err))
}
