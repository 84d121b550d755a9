package boot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/flotilla-etcd/flotilla/fleet"
)

var update = flag.Bool("update", false, "write the golden file anew")

func example() Config {
	return Config{Programs: map[string]Program{
		"arm64": {"https://objects.example.com/fleet/flotilla-node-arm64?X-Amz-Expires=604800&X-Amz-Signature=0a1b", strings.Repeat("a1", 32)},
		"amd64": {"https://objects.example.com/fleet/flotilla-node-amd64", strings.Repeat("b2", 32)},
	}}
}

func TestUserData(t *testing.T) {
	data, err := render(example())
	require.NoError(t, err)
	const golden = "testdata/user-data.yaml"
	if *update {
		require.NoError(t, os.WriteFile(golden, data, 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), string(data), "run go test ./iaas/boot -update and look at the difference")
	require.LessOrEqual(t, len(data), Limit/3, "there is room for long signatures")
	again, err := render(example())
	require.NoError(t, err)
	require.Equal(t, data, again, "a purchase that is asked for again must be the same one")
}

// schemaErrors says what cloud-init's schema has against user data; nil: nothing.
func schemaErrors(t *testing.T, data []byte) error {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile("testdata/cloud-init/schema.json")
	require.NoError(t, err)
	var document any
	require.NoError(t, yaml.Unmarshal(data, &document))
	return schema.Validate(document)
}

// The schema of cloud-init that is beside the tests takes what is written, on any machine.
func TestSchema(t *testing.T) {
	data, err := render(example())
	require.NoError(t, err)
	require.NoError(t, schemaErrors(t, data))
	for name, broken := range map[string]string{
		"no list":         "write_files: 3",
		"no path":         "write_files: [{content: x}]",
		"number for mode": "write_files: [{path: /a, permissions: 0600}]",
		"unknown field":   "write_files: [{path: /a, mode: '0600'}]",
		"unknown module":  "write_file: [{path: /a}]",
		"no commands":     "runcmd: reboot",
	} {
		require.Error(t, schemaErrors(t, []byte(broken)), name)
	}
}

// cloud-init itself says whether it understands what is written, where it is installed.
func TestCloudInitUnderstandsIt(t *testing.T) {
	program, err := exec.LookPath("cloud-init")
	if err != nil {
		t.Skip("cloud-init is not on this machine")
	}
	out, err := exec.Command(program, "schema", "--config-file", "testdata/user-data.yaml").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "Valid")
	broken := filepath.Join(t.TempDir(), "broken.yaml")
	require.NoError(t, os.WriteFile(broken, []byte("#cloud-config\nwrite_files: 3\n"), 0o644))
	out, err = exec.Command(program, "schema", "--config-file", broken).CombinedOutput()
	require.Error(t, err, "it says so of what it does not understand: %s", out)
}

// systemd itself says whether it understands the unit.
func TestSystemdUnderstandsTheUnit(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not on this machine")
	}
	path := filepath.Join(t.TempDir(), unitName)
	there := strings.ReplaceAll(unit, fetchPath, "/bin/sh") // it looks whether the program is there
	require.NoError(t, os.WriteFile(path, []byte(there), 0o644))
	out, err := exec.Command(analyze, "verify", "--man=no", path).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NotContains(t, string(out), unitName)
}

func TestConfigurationsThatCannotWork(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no program":     func(c *Config) { c.Programs = nil },
		"architecture":   func(c *Config) { c.Programs["sparc"] = c.Programs["amd64"] },
		"no URL":         func(c *Config) { c.Programs["amd64"] = Program{"", strings.Repeat("b2", 32)} },
		"another scheme": func(c *Config) { c.Programs["amd64"] = Program{"file:///etc/passwd", strings.Repeat("b2", 32)} },
		"quote in URL":   func(c *Config) { c.Programs["amd64"] = Program{"https://a/'$(reboot)'", strings.Repeat("b2", 32)} },
		"short hash":     func(c *Config) { c.Programs["amd64"] = Program{"https://a/b", "b2"} },
		"longer than clouds": func(c *Config) {
			c.Programs["amd64"] = Program{"https://a/" + strings.Repeat("x", Limit), strings.Repeat("b2", 32)}
		},
	} {
		c := example()
		change(&c)
		_, err := render(c)
		require.Equal(t, fleet.Invalid, fleet.KindOf(err), "%s: %v", name, err)
	}
}

func TestParseProgram(t *testing.T) {
	var c Config
	sum := strings.Repeat("0f", 32)
	require.NoError(t, c.ParseProgram("arm64=https://a/b?x=y&z=1#sha256="+strings.ToUpper(sum)))
	require.Equal(t, Program{"https://a/b?x=y&z=1", sum}, c.Programs["arm64"])
	for _, bad := range []string{"", "arm64=https://a/b", "https://a/b#sha256=" + sum, "mips=https://a/b#sha256=" + sum} {
		require.Equal(t, fleet.Invalid, fleet.KindOf(new(Config).ParseProgram(bad)), bad)
	}
}

// The script is run as a host runs it.
func TestFetch(t *testing.T) {
	if machines[runtime.GOARCH] == "" {
		t.Skip("no host has the architecture " + runtime.GOARCH)
	}
	for _, program := range []string{"curl", "sha256sum"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(program + " is not on this machine")
		}
	}
	body := "#!/bin/sh\necho flotilla-node\n"
	sum := sha256.Sum256([]byte(body))
	var served atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served.Add(1)
		switch {
		case r.URL.Path == "/gone" || r.URL.RawQuery != "sign=a&b=%20":
			http.Error(w, "denied", http.StatusForbidden)
		case r.URL.Path == "/other":
			_, _ = w.Write([]byte("something else"))
		default:
			_, _ = w.Write([]byte(body))
		}
	}))
	defer server.Close()
	dir := filepath.Join(t.TempDir(), "bin")
	fetch := func(path string) (string, error) {
		data, err := render(Config{Programs: map[string]Program{
			runtime.GOARCH: {server.URL + path + "?sign=a&b=%20", hex.EncodeToString(sum[:])},
		}})
		require.NoError(t, err)
		var config cloudConfig
		require.NoError(t, yaml.Unmarshal(data, &config))
		require.Equal(t, fetchPath, config.WriteFiles[0].Path)
		script := filepath.Join(t.TempDir(), "fetch")
		require.NoError(t, os.WriteFile(script, []byte(config.WriteFiles[0].Content), 0o700))
		cmd := exec.Command(script)
		cmd.Env = append(os.Environ(), "FLOTILLA_BIN="+dir)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	node := filepath.Join(dir, "flotilla-node")
	out, err := fetch("/other")
	require.Error(t, err)
	require.Contains(t, out, "is not the flotilla-node with SHA-256")
	require.NoFileExists(t, node, "what has another hash never gets its name")
	_, err = fetch("/gone")
	require.Error(t, err)
	require.NoFileExists(t, node)

	out, err = fetch("/node")
	require.NoError(t, err, out)
	printed, err := exec.Command(node).Output()
	require.NoError(t, err)
	require.Equal(t, "flotilla-node\n", string(printed))
	count := served.Load()
	out, err = fetch("/gone")
	require.NoError(t, err, "it is there already, however long its URL was good for: %s", out)
	require.Equal(t, count, served.Load())
	require.NoError(t, os.WriteFile(node, []byte("damaged"), 0o755))
	out, err = fetch("/node")
	require.NoError(t, err, out)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing else is left: %v", entries)
}

// linker signs links that tell them apart.
type linker struct{ signed int }

func (l *linker) Link(_ context.Context, key string, validFor time.Duration) (string, error) {
	l.signed++
	return fmt.Sprintf("https://objects.example.com/%s?for=%s&n=%d", key, validFor, l.signed), nil
}

func TestLinksAreSignedAnew(t *testing.T) {
	c := example()
	c.Programs["arm64"] = Program{"store:node/flotilla-node-arm64", c.Programs["arm64"].SHA256}
	_, err := NewSource(c, nil)
	require.Equal(t, fleet.Invalid, fleet.KindOf(err), "%v", err)
	l, now := &linker{}, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s, err := NewSource(c, l)
	require.NoError(t, err)
	s.now = func() time.Time { return now }
	first, err := s.UserData(t.Context())
	require.NoError(t, err)
	require.Contains(t, string(first), "url='https://objects.example.com/node/flotilla-node-arm64?for=168h0m0s&n=1'")
	require.Contains(t, string(first), "url='"+c.Programs["amd64"].URL+"'")
	now = now.Add(signedAnew - time.Second)
	again, err := s.UserData(t.Context())
	require.NoError(t, err)
	require.Equal(t, first, again, "a purchase that is asked for again is the same one")
	now = now.Add(time.Second)
	later, err := s.UserData(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, first, later)
	require.Equal(t, 2, l.signed)
}
