package workers

import (
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// Config is everything that a worker is told. Each field has a flag, an
// environment variable FLOTILLA_<FLAG> and a field of the same name in the file
// given with --config; a flag wins over the environment, and that over the file.
// How Temporal is reached comes from Temporal's own configuration (TEMPORAL_*,
// its TOML profiles), mutual TLS and API keys included.
type Config struct {
	Address   string // Temporal frontend; empty means as Temporal's own configuration says
	Namespace string // likewise
	Profile   string // profile in Temporal's configuration file

	Provider   string
	Region     string
	Zones      []string // only for provider local
	Data       string   // only for provider local: the directory of its hosts and disks
	NodeBinary string   // only for provider local: the flotilla-node that hosts run
	NodeEnv    []string // only for provider local: added to the environment of hosts

	ObjectStore string
	FleetKey    string
	Releases    string
	Scratch     string

	MetricsAddress string
	HealthAddress  string
	LogFormat      string
	LogLevel       string

	Deployment   string // worker deployment; empty turns versioning off
	BuildID      string
	Serve        []string // workflows, activities
	MaxSteps     int
	DrainTimeout time.Duration
}

// What Config.Serve may hold.
const (
	ServeWorkflows  = "workflows"
	ServeActivities = "activities"
)

// Flags gives the flags that fill c, with their defaults.
func (c *Config) Flags() *pflag.FlagSet {
	f := pflag.NewFlagSet("flotilla-worker", pflag.ContinueOnError)
	f.StringVar(&c.Address, "address", "", "host:port of Temporal's frontend (default: as TEMPORAL_ADDRESS or Temporal's profile says)")
	f.StringVar(&c.Namespace, "namespace", "", "Temporal namespace (default: likewise)")
	f.StringVar(&c.Profile, "profile", "", "profile in Temporal's configuration file")
	f.StringVar(&c.Provider, "provider", "local", "whose hosts this worker manages: local")
	f.StringVar(&c.Region, "region", "local-1", "region of the provider; its activities have a task queue of their own")
	f.StringSliceVar(&c.Zones, "zones", []string{"a", "b", "c"}, "provider local: the zones on offer")
	f.StringVar(&c.Data, "data", "", "provider local: directory of its hosts and disks")
	f.StringVar(&c.NodeBinary, "node-binary", "", "provider local: the flotilla-node that hosts run")
	f.StringArrayVar(&c.NodeEnv, "node-env", nil, "provider local: KEY=value for everything on hosts; may be repeated")
	f.StringVar(&c.ObjectStore, "object-store", "", "file:///directory or s3://bucket/prefix?endpoint=https://host&region=…")
	f.StringVar(&c.FleetKey, "fleet-key", "", "age identity file that seals authorities and snapshots (mode 0600)")
	f.StringVar(&c.Releases, "releases", "", "catalogue of etcd releases (YAML)")
	f.StringVar(&c.Scratch, "scratch", os.TempDir(), "directory for snapshots that are being verified")
	f.StringVar(&c.MetricsAddress, "metrics-address", "127.0.0.1:9464", "where Prometheus reads /metrics; empty for nowhere")
	f.StringVar(&c.HealthAddress, "health-address", "127.0.0.1:9465", "where /healthz and /readyz are served; empty for nowhere")
	f.StringVar(&c.LogFormat, "log-format", "json", "json or console")
	f.StringVar(&c.LogLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&c.Deployment, "deployment", "", "worker deployment, as in flotilla; turns worker versioning on")
	f.StringVar(&c.BuildID, "build-id", BuildID(), "build of this worker within its deployment")
	f.StringSliceVar(&c.Serve, "serve", []string{ServeWorkflows, ServeActivities}, "what this worker runs")
	f.IntVar(&c.MaxSteps, "max-steps", 64, "how many steps run at a time")
	f.DurationVar(&c.DrainTimeout, "drain-timeout", 20*time.Second, "how long steps in hand may go on after SIGTERM")
	return f
}

// BuildID is the version of this program, from its own build information.
func BuildID() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return s.Value[:12]
		}
	}
	return strings.Trim(info.Main.Version, "()")
}

// Fill gives every flag that was not set on the command line its value from the
// environment, or else from the file, and checks the whole.
func Fill(flags *pflag.FlagSet, file string, lookup func(string) (string, bool)) error {
	values, err := readFile(file)
	if err != nil {
		return err
	}
	for name := range values {
		if flags.Lookup(name) == nil {
			return fleet.Errorf(fleet.Invalid, "configuration file "+file, "there is no setting %q", name).
				WithRemedy("flotilla-worker --help lists them")
		}
	}
	var problem error
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed || problem != nil {
			return
		}
		env := "FLOTILLA_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, from := "", ""
		if v, ok := lookup(env); ok {
			value, from = v, env
		} else if v, ok := values[f.Name]; ok {
			value, from = v, f.Name+" in "+file
		}
		if from == "" {
			return
		}
		if err := flags.Set(f.Name, value); err != nil {
			problem = fleet.Errorf(fleet.Invalid, from, "%q does not fit: %w", value, err)
		}
	})
	return problem
}

func readFile(file string) (map[string]string, error) {
	values := map[string]string{}
	if file == "" {
		return values, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "configuration file "+file, "cannot be read: %w", err)
	}
	raw := map[string]any{}
	if err := yaml.Unmarshal(data, &raw); err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "configuration file "+file, "is not YAML: %w", err)
	}
	for name, value := range raw {
		if list, ok := value.([]any); ok {
			items := make([]string, len(list))
			for i, item := range list {
				items[i] = fmt.Sprint(item)
			}
			value = strings.Join(items, ",")
		}
		values[name] = fmt.Sprint(value)
	}
	return values, nil
}

// check names everything that is missing or wrong, at once.
func (c *Config) check() error {
	var ps fleet.Problems
	need := func(flag, value, why string) {
		if value == "" {
			ps = append(ps, fleet.Problem{Path: "--" + flag, Message: "is missing: " + why})
		}
	}
	if c.serves(ServeActivities) {
		need("object-store", c.ObjectStore, "authorities and snapshots are kept there")
		need("fleet-key", c.FleetKey, "it seals them")
		need("releases", c.Releases, "it says which etcd may be installed")
		if c.Provider == "local" {
			need("data", c.Data, "the local provider keeps its hosts there")
			need("node-binary", c.NodeBinary, "it runs on the local provider's hosts")
		}
	}
	if c.Provider != "local" {
		ps = append(ps, fleet.Problem{Path: "--provider", Message: fmt.Sprintf("%q is not one of: local", c.Provider)})
	}
	if len(c.Serve) == 0 || !c.serves(ServeWorkflows) && !c.serves(ServeActivities) {
		ps = append(ps, fleet.Problem{Path: "--serve", Message: "must name workflows, activities or both"})
	}
	if c.LogFormat != "json" && c.LogFormat != "console" {
		ps = append(ps, fleet.Problem{Path: "--log-format", Message: fmt.Sprintf("%q is not json or console", c.LogFormat)})
	}
	return ps.Err("worker configuration")
}

func (c *Config) serves(what string) bool {
	for _, s := range c.Serve {
		if s == what {
			return true
		}
	}
	return false
}
