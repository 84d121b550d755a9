package changes

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
	"github.com/flotilla-etcd/flotilla/integration/judge"
)

// TestEveryMinor takes a quiet cluster with data from 3.5 to 3.7, minor by minor, and
// back to 3.6. Nobody writes meanwhile, so that no raft snapshot comes by itself.
func TestEveryMinor(t *testing.T) {
	abreast(t)
	e := harness.Start(t)
	e.StartWorker("flotilla-worker")
	spec := harness.Spec("orders", 3, "3.5.35") // with etcd's own snapshot count
	spec.Policy.Soak = soak
	e.Create(spec)
	filler := judge.Filler{Prefix: "filler/", Bytes: 16 << 20}
	a, err := e.Connect(t.Context(), spec.Name)
	require.NoError(t, err)
	defer a.Close()
	require.NoError(t, judge.Fill(t.Context(), a.Client, filler))
	before, err := a.Get(t.Context(), "revision")
	require.NoError(t, err)

	to := func(version string) harness.Change {
		return harness.Change{Kind: fleet.UpgradeCluster, To: func(s *fleet.Spec) { s.Etcd.Version = version }}
	}
	r, err := e.BeginChange(spec.Name, to("3.7.3"))
	require.NoError(t, err)
	_, err = r.Await()
	require.ErrorContains(t, err, "more than one minor away")

	for _, version := range []string{"3.6.16", "3.7.3", "3.6.16"} {
		r, err := e.BeginChange(spec.Name, to(version))
		require.NoError(t, err)
		_, err = r.Await()
		require.NoError(t, err, "to etcd %s", version)
		require.NoError(t, e.Stands(t.Context(), spec.Name), "at etcd %s", version)
		b, err := e.Connect(t.Context(), spec.Name)
		require.NoError(t, err)
		require.NoError(t, filler.Verify(t.Context(), b.Client), "data at etcd %s", version)
		require.NoError(t, b.Close())
	}
	after, err := a.Get(t.Context(), "revision")
	require.NoError(t, err)
	const written = 3 // by Stands, once at each release
	require.Equal(t, before.Header.Revision+written, after.Header.Revision, "upgrades write nothing into the store")
	e.Decommission(spec.Name, fleet.Options{})
	e.ExpectNothingLeft()
}

// TestBadReleaseIsRolledBack upgrades to releases that never become ready: one that
// hangs and one that ends at once. The first member that gets it is rolled back, and
// the others are never touched.
func TestBadReleaseIsRolledBack(t *testing.T) {
	abreast(t)
	for name, does := range map[string]string{"hangs": "exec sleep 1000", "ends": "echo 'it does not work' >&2; exit 1"} {
		t.Run(name, func(t *testing.T) {
			e := harness.Start(t)
			const bad = "3.7.4"
			e.Releases = withRelease(t, e, bad, does)
			e.StartWorker("flotilla-worker")
			spec := small("orders", 3, "3.7.3")
			spec.Policy.ReadyWithin = fleet.Duration(10e9)
			e.Create(spec)
			r, err := e.BeginChange(spec.Name, harness.Change{Kind: fleet.UpgradeCluster, To: func(s *fleet.Spec) { s.Etcd.Version = bad }})
			require.NoError(t, err)
			result, err := r.Await()
			var said *temporal.ApplicationError
			require.ErrorAs(t, err, &said)
			require.Contains(t, said.Message(), "was rolled back and serves as before (etcd 3.7.3)")
			if said.HasDetails() {
				require.NoError(t, said.Details(&result))
			}
			restarted, rolledBack := 0, 0
			for _, p := range result.Progress.Steps {
				switch p.Step.Kind {
				case fleet.RestartMember:
					restarted++
				case fleet.RollBackMember:
					rolledBack++
				}
			}
			require.Equal(t, []int{1, 1}, []int{restarted, rolledBack}, "members restarted and rolled back")
			require.NoError(t, e.Stands(t.Context(), spec.Name), "a cluster whose upgrade was rolled back")
			e.Decommission(spec.Name, fleet.Options{})
			e.ExpectNothingLeft()
		})
	}
}

// withRelease gives the catalogue with one more release, whose etcd says its version
// and otherwise does what it is told.
func withRelease(t *testing.T, e *harness.Env, version, does string) string {
	t.Helper()
	catalogue, err := os.ReadFile(e.Releases)
	require.NoError(t, err)
	archive := filepath.Join(e.Dir, "bad.tar.gz")
	out, err := os.Create(archive)
	require.NoError(t, err)
	sum := sha256.New()
	zipped := gzip.NewWriter(io.MultiWriter(out, sum))
	packed := tar.NewWriter(zipped)
	for _, program := range []string{"etcd", "etcdctl", "etcdutl"} {
		script := fmt.Sprintf("#!/bin/sh\ncase \"$1\" in --version|version) echo \"%s Version: %s\"; exit 0;; esac\n%s\n", program, version, does)
		require.NoError(t, packed.WriteHeader(&tar.Header{Name: "etcd-v" + version + "/" + program, Mode: 0o755, Size: int64(len(script))}))
		_, err = packed.Write([]byte(script))
		require.NoError(t, err)
	}
	require.NoError(t, packed.Close())
	require.NoError(t, zipped.Close())
	require.NoError(t, out.Close())
	entry := fmt.Sprintf("  - version: %s\n    artifacts:\n      %s/%s: {url: \"%s\", sha256: \"%x\"}\n",
		version, runtime.GOOS, runtime.GOARCH, archive, sum.Sum(nil))
	path := filepath.Join(e.Dir, "releases.yaml")
	require.NoError(t, os.WriteFile(path, []byte(strings.TrimRight(string(catalogue), "\n")+"\n"+entry), 0o600))
	return path
}
