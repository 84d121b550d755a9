package workers

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas/aliyun"
	"github.com/flotilla-etcd/flotilla/iaas/aws"
)

// fill reads a configuration as the program does.
func fill(t *testing.T, file string, env map[string]string, args ...string) (Config, error) {
	t.Helper()
	path := ""
	if file != "" {
		path = filepath.Join(t.TempDir(), "worker.yaml")
		require.NoError(t, os.WriteFile(path, []byte(file), 0o600))
	}
	var c Config
	flags := c.Flags()
	flags.String("config", "", "")
	flags.Bool("version", false, "")
	require.NoError(t, flags.Parse(args))
	err := Fill(flags, path, func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	})
	return c, err
}

func TestPrecedence(t *testing.T) {
	file := "region: from-file\nreleases: from-file\nmax-steps: 3\nzones: [x, y]\n" +
		"drain-timeout: 3s\nnode-env: ['A=1,2', 'B=3']\nmetrics-address: ''\n"
	env := map[string]string{"FLOTILLA_REGION": "from-env", "FLOTILLA_MAX_STEPS": "4", "FLOTILLA_OBJECT_STORE": "from-env"}
	c, err := fill(t, file, env, "--region", "from-flag")
	require.NoError(t, err)
	require.Equal(t, "from-flag", c.Region, "a flag wins over all")
	require.Equal(t, 4, c.MaxSteps, "the environment wins over the file")
	require.Equal(t, "from-env", c.ObjectStore)
	require.Equal(t, "from-file", c.Releases)
	require.Equal(t, []string{"x", "y"}, c.Zones)
	require.Equal(t, []string{"A=1,2", "B=3"}, c.NodeEnv, "a comma in an item parts nothing")
	require.Equal(t, 3*time.Second, c.DrainTimeout)
	require.Empty(t, c.MetricsAddress, "empty says nowhere; it is not left out")
	require.Equal(t, "127.0.0.1:9465", c.HealthAddress)
}

// An image may have FLOTILLA_VERSION in its environment, for people to see.
func TestWhatIsNoSetting(t *testing.T) {
	_, err := fill(t, "", map[string]string{"FLOTILLA_VERSION": "v1.2.3", "FLOTILLA_CONFIG": "x", "FLOTILLA_HELP": "?"})
	require.NoError(t, err)
	_, err = fill(t, "config: other.yaml\n", nil)
	require.ErrorContains(t, err, `there is no setting "config"`)
}

func TestWrongSettings(t *testing.T) {
	for name, test := range map[string]struct {
		file string
		env  map[string]string
		says string
	}{
		"unknown key":      {"regoin: a\n", nil, `there is no setting "regoin"`},
		"not YAML":         {"a: [\n", nil, "is not YAML"},
		"twice":            {"region: a\nregion: b\n", nil, "already defined"},
		"wrong type":       {"max-steps: many\n", nil, `max-steps in`},
		"list for one":     {"region: [a, b]\n", nil, "one value is expected, not a list"},
		"fields for one":   {"region: {a: b}\n", nil, "one value is expected, not fields"},
		"wrong in the env": {"", map[string]string{"FLOTILLA_DRAIN_TIMEOUT": "soon"}, `FLOTILLA_DRAIN_TIMEOUT: "soon" does not fit`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := fill(t, test.file, test.env)
			require.ErrorContains(t, err, test.says)
			require.Equal(t, fleet.Invalid, fleet.KindOf(err))
		})
	}
	require.ErrorContains(t, Fill(new(Config).Flags(), "/does/not/exist", os.LookupEnv), "cannot be read")
}

func TestEverythingMissingIsNamedAtOnce(t *testing.T) {
	c, err := fill(t, "", nil, "--serve", "workflows,activities,dishes", "--max-steps", "0", "--copy-every", "0s", "--log-format", "xml")
	require.NoError(t, err)
	err = c.check()
	require.Equal(t, fleet.Invalid, fleet.KindOf(err))
	for _, name := range []string{"--object-store", "--fleet-key", "--releases", "--data", "--node-binary", "dishes", "--max-steps", "--copy-every", "--log-format"} {
		require.ErrorContains(t, err, name)
	}
	c, err = fill(t, "", nil, "--serve", "workflows")
	require.NoError(t, err)
	require.NoError(t, c.check(), "who only remembers needs no hosts")
	c, err = fill(t, "", nil, "--serve", "workflows", "--provider", "azure", "--deployment", "flotilla", "--build-id", "")
	require.NoError(t, err)
	err = c.check()
	require.ErrorContains(t, err, `"azure" is not one of: local, aws, aliyun`)
	require.ErrorContains(t, err, "--build-id")
}

func TestCheckAWS(t *testing.T) {
	said := []string{"--object-store", "x", "--fleet-key", "x", "--releases", "x", "--provider", "aws", "--region", "us-east-1"}
	c, err := fill(t, "", nil, said...)
	require.NoError(t, err)
	err = c.check()
	for _, name := range []string{"--aws-subnets", "--aws-image", "--aws-instance-profile", "--aws-security-groups"} {
		require.ErrorContains(t, err, name)
	}
	c, err = fill(t, "aws-subnets: us-east-1a=subnet-1,us-east-1b=subnet-2\naws-launch-template: lt-1\n", nil, said...)
	require.NoError(t, err)
	require.NoError(t, c.check(), "a launch template has the rest")
	require.Equal(t, map[string]string{"us-east-1a": "subnet-1", "us-east-1b": "subnet-2"}, c.AWS.Subnets)
	provider, err := openProvider(t.Context(), c, nil, zap.NewNop())
	require.NoError(t, err)
	require.IsType(t, &aws.Provider{}, provider)
	c.HostNode = []string{"arm64=store:node#sha256=" + strings.Repeat("0f", 32)}
	require.NoError(t, c.check())
	_, err = openProvider(t.Context(), c, nil, zap.NewNop())
	require.ErrorContains(t, err, "keep objects in a bucket", "a directory gives no links")
	c.HostNode = []string{"arm64=https://host/node"}
	require.ErrorContains(t, c.check(), "--host-node")
}

func TestCheckAliyun(t *testing.T) {
	said := []string{"--object-store", "x", "--fleet-key", "x", "--releases", "x", "--provider", "aliyun", "--region", "cn-hangzhou"}
	c, err := fill(t, "", nil, said...)
	require.NoError(t, err)
	err = c.check()
	for _, name := range []string{"--aliyun-vswitches", "--aliyun-image", "--aliyun-security-groups"} {
		require.ErrorContains(t, err, name)
	}
	require.NotContains(t, err.Error(), "--aws")
	c, err = fill(t, "aliyun-vswitches: cn-hangzhou-g=vsw-1,cn-hangzhou-h=vsw-2\naliyun-image: m-1\naliyun-security-groups: sg-1\n", nil, said...)
	require.NoError(t, err)
	require.NoError(t, c.check())
	require.Equal(t, map[string]string{"cn-hangzhou-g": "vsw-1", "cn-hangzhou-h": "vsw-2"}, c.Aliyun.VSwitches)
	provider, err := openProvider(t.Context(), c, nil, zap.NewNop())
	require.NoError(t, err)
	require.IsType(t, &aliyun.Provider{}, provider)
	c.Aliyun.UserDataFile = "missing"
	_, err = openProvider(t.Context(), c, nil, zap.NewNop())
	require.ErrorContains(t, err, "user data of hosts")
	c.Aliyun.UserDataFile, c.Aliyun.Endpoint = "", "http://ecs.cn-hangzhou.aliyuncs.com"
	_, err = openProvider(t.Context(), c, nil, zap.NewNop())
	require.ErrorContains(t, err, "must be https")
}

func TestBuildID(t *testing.T) {
	require.NotEmpty(t, BuildID())
	c := Config{BuildID: "v1.2.3"}
	require.NoError(t, c.Flags().Parse(nil))
	require.Equal(t, "v1.2.3", c.BuildID, "what the build knows is the default")
	require.NoError(t, c.Flags().Parse([]string{"--build-id", "mine"}))
	require.Equal(t, "mine", c.BuildID)
}

func TestEverySettingIsDescribed(t *testing.T) {
	new(Config).Flags().VisitAll(func(f *pflag.Flag) { require.NotEmpty(t, f.Usage, f.Name) })
}
