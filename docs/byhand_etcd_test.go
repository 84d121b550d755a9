package docs_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/flotilla-etcd/flotilla/etcdadmin/etcdtest"
)

// shown gives the command of a page that begins so, on one line.
func shown(t *testing.T, from, begins string) string {
	t.Helper()
	text := strings.Join(strings.Fields(page(t, from)), " ")
	found := regexp.MustCompile("(?:`|^| )(" + regexp.QuoteMeta(begins) + "[^`]*)`").FindStringSubmatch(text)
	require.NotNil(t, found, "%s has no command %q", from, begins)
	return strings.TrimSpace(found[1])
}

// elsewhere has a command listen at free ports of this machine, where others run at once.
func elsewhere(t *testing.T, line string) (moved, client string) {
	t.Helper()
	for _, port := range []string{"12379", "12380"} {
		require.Contains(t, line, "127.0.0.1:"+port)
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		address := l.Addr().String()
		require.NoError(t, l.Close())
		line = strings.ReplaceAll(line, "127.0.0.1:"+port, address)
		if port == "12379" {
			client = address
		}
	}
	return line, client
}

// serve runs a command of etcd's in a directory until the test ends, and gives a client.
func serve(t *testing.T, etcd, dir, line string) *clientv3.Client {
	t.Helper()
	line, address := elsewhere(t, line)
	path := t.TempDir() // where it has the name that it has on a page
	require.NoError(t, os.Symlink(etcd, filepath.Join(path, "etcd")))
	var log bytes.Buffer
	process := exec.CommandContext(t.Context(), "sh", "-c", "exec "+line)
	process.Dir, process.Stdout, process.Stderr = dir, &log, &log
	process.Env = append(os.Environ(), "PATH="+path+":"+os.Getenv("PATH"))
	require.NoError(t, process.Start())
	t.Cleanup(func() {
		_ = process.Process.Kill()
		_ = process.Wait()
		if t.Failed() {
			t.Log(line, "\n", log.String())
		}
	})
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{"http://" + address}, Logger: zap.NewNop()})
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// reads expects that a value is read, linearizably, as soon as the member serves.
func reads(t *testing.T, client *clientv3.Client, key, want string) {
	t.Helper()
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		got, err := client.Get(ctx, key)
		return err == nil && len(got.Kvs) == 1 && string(got.Kvs[0].Value) == want
	}, 2*time.Minute, 100*time.Millisecond, "%s is not read", key)
}

// One member's data of a cluster of three, copied and served by the command of the page, in each
// minor: what was acknowledged is read there but for the end of the log, of which the page warns.
func TestDiskServedByHand(t *testing.T) {
	line := shown(t, "recovery.md", "etcd --data-dir copy")
	for _, version := range etcdtest.Versions {
		t.Run(version, func(t *testing.T) {
			c := etcdtest.Start(t, version, 3)
			for _, key := range []string{"only-there", "later"} { // the later entry says that the one before is committed
				_, err := c.Client(t).Put(t.Context(), key, "kept")
				require.NoError(t, err)
			}
			leader := c.Leader(t) // which has it on its disk
			for _, m := range c.Members {
				m.Kill()
			}
			dir := t.TempDir()
			require.NoError(t, os.CopyFS(filepath.Join(dir, "copy"), os.DirFS(leader.DataDir)))
			etcd, err := etcdtest.Binary(version)
			require.NoError(t, err)
			client := serve(t, etcd, dir, line)
			reads(t, client, "only-there", "kept")
			members, err := client.MemberList(t.Context())
			require.NoError(t, err)
			require.Len(t, members.Members, 1, "it is alone")
		})
	}
}
