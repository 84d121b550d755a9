package aws_test

import (
	"bufio"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/iaas/aws"
	"github.com/flotilla-etcd/flotilla/iaas/iaastest"
)

// elsewhere is how environment variables name what an EC2 endpoint has.
const elsewhere = "FLOTILLA_TEST_EC2_"

// TestElsewhere holds the provider to the suite, but for commands, at any EC2 endpoint: an
// emulator, or AWS itself, which costs some cents. Credentials come through the SDK's own
// chain. docs/development.md says which variables there are.
func TestElsewhere(t *testing.T) {
	if os.Getenv(elsewhere+"ENDPOINT") == "" {
		t.Skip("no other endpoint is named by " + elsewhere + "ENDPOINT")
	}
	suiteElsewhere(t, os.Getenv, 5*time.Minute)
}

func suiteElsewhere(t *testing.T, env func(string) string, patience time.Duration) {
	c := aws.Config{
		Region: env("AWS_REGION"), Image: env(elsewhere + "IMAGE"), SecurityGroups: []string{env(elsewhere + "SECURITY_GROUP")},
		InstanceProfile: env(elsewhere + "INSTANCE_PROFILE"), Types: strings.Split(env(elsewhere+"TYPES"), ","),
		EC2Endpoint: env(elsewhere + "ENDPOINT"), Subnets: map[string]string{},
	}
	for pair := range strings.SplitSeq(env(elsewhere+"SUBNETS"), ",") {
		zone, subnet, _ := strings.Cut(pair, "=")
		c.Subnets[zone] = subnet
	}
	if id := env("AWS_ACCESS_KEY_ID"); id != "" {
		c.Credentials = staticCredentials(id, env("AWS_SECRET_ACCESS_KEY"))
	}
	var lacks []iaastest.Ability
	for name := range strings.SplitSeq(env(elsewhere+"LACKS"), ",") {
		if name == "" {
			continue
		}
		require.Contains(t, iaastest.Abilities(), iaastest.Ability(name), "%sLACKS names what the suite does not ask for", elsewhere)
		lacks = append(lacks, iaastest.Ability(name))
	}
	p := open(t, c)
	iaastest.Run(t, func(*testing.T) iaastest.Env {
		return iaastest.Env{
			Provider: p, Patience: patience, Poll: 200 * time.Millisecond, NoCommands: true, Lacks: lacks,
			AbsentHost: "i-0fffffffffffffff1", AbsentDisk: "vol-0fffffffffffffff1", AbsentSnapshot: "snap-0fffffffffffffff1",
		}
	})
}

// The same against our own region of AWS, started as a program.
func TestElsewhereIsAProgram(t *testing.T) {
	program := filepath.Join(t.TempDir(), "flotilla-cloudsim")
	build := exec.Command("go", "build", "-trimpath", "-o", program, "../../integration/cloudsim/flotilla-cloudsim")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	cmd := exec.Command(program, "--cloud", "aws", "--region", region)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		require.NoError(t, cmd.Wait())
	})
	said := map[string]string{}
	for lines := bufio.NewScanner(stdout); said["FLOTILLA_AWS_MACHINE_TYPES"] == "" && lines.Scan(); {
		name, value, ok := strings.Cut(strings.TrimPrefix(lines.Text(), "export "), "=")
		require.True(t, ok, lines.Text())
		said[name] = strings.Trim(value, "'")
	}
	require.Contains(t, said, elsewhere+"ENDPOINT", "%v", maps.Keys(said))
	suiteElsewhere(t, func(name string) string { return said[name] }, time.Minute)
}
