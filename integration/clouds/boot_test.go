package clouds

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
	"github.com/flotilla-etcd/flotilla/integration/harness"
	"github.com/flotilla-etcd/flotilla/objectstore"
	"github.com/flotilla-etcd/flotilla/objectstore/objectstoretest"
)

// TestBoot keeps flotilla-node in a real S3 server, and does what the user data of an
// instance says that a worker bought: it fetches the program by the link that was signed,
// without credentials. The doctor has a host try its way to the object store.
func TestBoot(t *testing.T) {
	server := objectstoretest.Start(t)
	server.Setenv(t)
	server.Bucket(t, "flotilla")
	location := server.Location("flotilla/fleet")
	store, err := objectstore.Open(t.Context(), location, objectstore.Options{})
	require.NoError(t, err)
	program, err := os.ReadFile(harness.Binary("flotilla-node"))
	require.NoError(t, err)
	require.NoError(t, store.Put(t.Context(), "node/flotilla-node", strings.NewReader(string(program)), int64(len(program))))
	sum := sha256.Sum256(program)
	s := onAWS(t, setup{
		options: []harness.Option{harness.WithObjectStore(location)},
		keys:    map[string]string{server.AccessKey: server.SecretKey},
		flags:   []string{"--host-node", runtime.GOARCH + "=store:node/flotilla-node#sha256=" + hex.EncodeToString(sum[:])},
	})
	s.spec.Voters = 1
	s.create()
	a := s.CLI("doctor", "--provider", "aws", "--region", region)
	require.Zero(t, a.Code, "%s\n%s", a.Out, a.Err)
	require.Regexp(t, `(?m)^ok +object store, from hosts `, a.Out)

	instances, err := s.world.Instances(nil, func(i cloudsim.Instance) bool { return i.State == fleet.HostRunning })
	require.NoError(t, err)
	require.Len(t, instances, 1)
	require.NotContains(t, string(instances[0].UserData), server.SecretKey)
	var config struct {
		WriteFiles []struct{ Path, Content string } `yaml:"write_files"`
	}
	require.NoError(t, yaml.Unmarshal(instances[0].UserData, &config))
	dir := t.TempDir()
	script := filepath.Join(dir, "fetch")
	require.NoError(t, os.WriteFile(script, []byte(config.WriteFiles[0].Content), 0o700))
	cmd := exec.Command(script)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "FLOTILLA_BIN=" + dir}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	out, err = exec.Command(filepath.Join(dir, "flotilla-node"), "version").Output()
	require.NoError(t, err)
	require.Contains(t, string(out), "flotilla-node")
	s.decommission()
}
