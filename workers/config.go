package workers

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/flotilla-etcd/flotilla/activities"
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
	HostNode   []string // only for clouds: flotilla-node that their hosts fetch, by architecture
	AWS        AWS      // only for provider aws
	Aliyun     Aliyun   // only for provider aliyun
	Reach      []string // configuration files of workers of other regions

	ObjectStore string
	ObjectLock  string // how backups are locked; empty: not
	SecondStore string // backups are copied into it; empty: there is none
	FleetKey    string
	Releases    string
	Policy      string
	Publish     string
	Scratch     string

	MetricsAddress string
	HealthAddress  string
	LogFormat      string
	LogLevel       string

	Deployment   string // worker deployment; empty turns versioning off
	BuildID      string
	Serve        []string // workflows, activities
	MaxSteps     int
	Backups      int           // scheduled backups of the region at a time
	CopyEvery    time.Duration // between two looks at what the second store lacks
	DrainTimeout time.Duration
}

// What Config.Serve may hold.
const (
	ServeWorkflows  = "workflows"
	ServeActivities = "activities"
)

// Flags gives the flags that fill c, with their defaults. A BuildID that c has
// already, as the program that was built knows it, is the default for that flag.
func (c *Config) Flags() *pflag.FlagSet {
	f := pflag.NewFlagSet("flotilla-worker", pflag.ContinueOnError)
	f.StringVar(&c.Address, "address", "", "host:port of Temporal's frontend (default: as TEMPORAL_ADDRESS or Temporal's profile says)")
	f.StringVar(&c.Namespace, "namespace", "", "Temporal namespace (default: likewise)")
	f.StringVar(&c.Profile, "profile", "", "profile in Temporal's configuration file")
	f.StringVar(&c.Provider, "provider", "local", "whose hosts this worker manages: local, aws or aliyun")
	f.StringVar(&c.Region, "region", "local-1", "region of the provider; its activities have a task queue of their own")
	f.StringSliceVar(&c.Zones, "zones", []string{"a", "b", "c"}, "provider local: the zones on offer")
	f.StringVar(&c.Data, "data", "", "provider local: directory of its hosts and disks")
	f.StringVar(&c.NodeBinary, "node-binary", "", "provider local: the flotilla-node that hosts run")
	f.StringArrayVar(&c.NodeEnv, "node-env", nil, "provider local: KEY=value for everything on hosts; may be repeated")
	f.StringArrayVar(&c.HostNode, "host-node", nil, "clouds: flotilla-node that hosts fetch at their first boot, `ARCH=URL#sha256=HASH`, as in arm64=store:node/flotilla-node-arm64#sha256=…; store: is the object store; may be repeated")
	c.AWS.flags(f)
	c.Aliyun.flags(f)
	f.StringSliceVar(&c.Reach, "reach", nil, "configuration `file` of a worker of another region, which clusters may move from or to, or have their standby in; may be repeated")
	f.StringVar(&c.ObjectStore, "object-store", "", "file:///directory or s3://bucket/prefix?endpoint=https://host&region=…")
	f.StringVar(&c.ObjectLock, "object-lock", "", "lock backups and changes in the object store: `MODE[:DURATION]`, as in governance:720h or compliance; without a duration for as long as backup.keep.last of the spec keeps them")
	f.StringVar(&c.SecondStore, "second-store", "", "another store, best in another region, into which backups are copied: as --object-store; credentials: SECOND_AWS_ACCESS_KEY_ID and so on, else those of --object-store")
	f.StringVar(&c.FleetKey, "fleet-key", "", "age identity file that seals authorities and snapshots (mode 0600)")
	f.StringVar(&c.Releases, "releases", "", "catalogue of etcd releases (YAML)")
	f.StringVar(&c.Policy, "policy", "", "policy of operations on clusters whose spec leaves it open (YAML, as a spec's policy); read anew each time")
	f.StringVar(&c.Publish, "publish", "", "where clients.record of specs is published: route53://ZONE-ID, alidns://example.com, file:///directory or exec:///program")
	f.StringVar(&c.Scratch, "scratch", os.TempDir(), "directory for snapshots that are being verified")
	f.StringVar(&c.MetricsAddress, "metrics-address", "127.0.0.1:9464", "where Prometheus reads /metrics; empty for nowhere")
	f.StringVar(&c.HealthAddress, "health-address", "127.0.0.1:9465", "where /healthz and /readyz are served; empty for nowhere")
	f.StringVar(&c.LogFormat, "log-format", "json", "json or console")
	f.StringVar(&c.LogLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&c.Deployment, "deployment", "", "worker deployment, as in flotilla; turns worker versioning on")
	f.StringVar(&c.BuildID, "build-id", cmp.Or(c.BuildID, BuildID()), "build of this worker within its deployment")
	f.StringSliceVar(&c.Serve, "serve", []string{ServeWorkflows, ServeActivities}, "what this worker runs")
	f.IntVar(&c.MaxSteps, "max-steps", 64, "how many steps run at a time")
	f.IntVar(&c.Backups, "backups", 4, "how many scheduled backups of the region run at a time")
	f.DurationVar(&c.CopyEvery, "copy-every", activities.DefaultCopyEvery, "how long after a look at what the second store lacks of a cluster the next one follows")
	f.DurationVar(&c.DrainTimeout, "drain-timeout", 20*time.Second, "how long steps in hand may go on after SIGTERM")
	return f
}

// BuildID is what a build is called when the program was not told: the commit that
// it was built from, else its module's version.
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
	return cmp.Or(strings.Trim(info.Main.Version, "()"), "unknown")
}

// notSettings are the flags that say where settings are, or ask for something
// else than a worker: neither the environment nor a file may set them.
var notSettings = []string{"config", "help", "version"}

// Fill gives every flag that was not set on the command line its value from the
// environment, or else from the file.
func Fill(flags *pflag.FlagSet, file string, lookup func(string) (string, bool)) error {
	values, err := readFile(file)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if flags.Lookup(name) == nil || slices.Contains(notSettings, name) {
			return fleet.Errorf(fleet.Invalid, "configuration file "+file, "there is no setting %q", name).
				WithRemedy("flotilla-worker --help lists them")
		}
	}
	var problem error
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed || problem != nil || slices.Contains(notSettings, f.Name) {
			return
		}
		env := "FLOTILLA_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if value, ok := lookup(env); ok {
			problem = misfit(env, value, flags.Set(f.Name, value))
		} else if value, ok := values[f.Name]; ok {
			problem = misfit(f.Name+" in "+file, value, assign(flags, f, value))
		}
	})
	return problem
}

// assign gives a flag a value of the file. A list goes in item by item, because
// an item may have commas in it.
func assign(flags *pflag.FlagSet, f *pflag.Flag, value any) error {
	switch value := value.(type) {
	case []any:
		list, ok := f.Value.(pflag.SliceValue)
		if !ok {
			return errors.New("one value is expected, not a list")
		}
		items := make([]string, len(value))
		for i, item := range value {
			items[i] = fmt.Sprint(item)
		}
		f.Changed = true
		return list.Replace(items)
	case map[string]any:
		return errors.New("one value is expected, not fields")
	case nil:
		return flags.Set(f.Name, "")
	}
	return flags.Set(f.Name, fmt.Sprint(value))
}

func misfit(from string, value any, err error) error {
	if err == nil {
		return nil
	}
	return fleet.Errorf(fleet.Invalid, from, "%q does not fit: %w", fmt.Sprint(value), err)
}

func readFile(file string) (map[string]any, error) {
	if file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "configuration file "+file, "cannot be read: %w", err)
	}
	values := map[string]any{}
	if err := yaml.Unmarshal(data, &values); err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "configuration file "+file, "is not YAML: %w", err)
	}
	return values, nil
}

// check names everything that is missing or wrong, at once.
func (c *Config) check() error {
	var ps fleet.Problems
	if c.serves(ServeActivities) {
		need(&ps, "object-store", c.ObjectStore, "authorities and snapshots are kept there")
		need(&ps, "fleet-key", c.FleetKey, "it seals them")
		need(&ps, "releases", c.Releases, "it says which etcd may be installed")
	}
	ps = append(ps, c.checkProvider()...)
	if len(c.Serve) == 0 || !c.serves(ServeWorkflows) && !c.serves(ServeActivities) {
		ps = append(ps, fleet.Problem{Path: "--serve", Message: "must name workflows, activities or both"})
	}
	for _, what := range c.Serve {
		if what != ServeWorkflows && what != ServeActivities {
			ps = append(ps, fleet.Problem{Path: "--serve", Message: fmt.Sprintf("%q is not workflows or activities", what)})
		}
	}
	if c.MaxSteps < 1 {
		ps = append(ps, fleet.Problem{Path: "--max-steps", Message: fmt.Sprintf("%d is less than 1: nothing would run", c.MaxSteps)})
	}
	if c.Backups < 1 {
		ps = append(ps, fleet.Problem{Path: "--backups", Message: fmt.Sprintf("%d is less than 1: none would be taken", c.Backups)})
	}
	if c.CopyEvery < time.Second || c.CopyEvery > time.Hour {
		ps = append(ps, fleet.Problem{Path: "--copy-every", Message: fmt.Sprintf("%s is not between 1s and 1h", c.CopyEvery)})
	}
	if c.DrainTimeout < 0 {
		ps = append(ps, fleet.Problem{Path: "--drain-timeout", Message: fmt.Sprintf("%s is negative", c.DrainTimeout)})
	}
	if c.Deployment != "" && c.BuildID == "" {
		ps = append(ps, fleet.Problem{Path: "--build-id", Message: "is missing: a deployment tells its builds apart by it"})
	}
	if c.LogFormat != "json" && c.LogFormat != "console" {
		ps = append(ps, fleet.Problem{Path: "--log-format", Message: fmt.Sprintf("%q is not json or console", c.LogFormat)})
	}
	return ps.Err("worker configuration")
}

func need(ps *fleet.Problems, flag, value, why string) {
	if value == "" {
		*ps = append(*ps, fleet.Problem{Path: "--" + flag, Message: "is missing: " + why})
	}
}

func (c *Config) serves(what string) bool { return slices.Contains(c.Serve, what) }
