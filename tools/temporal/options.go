package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.temporal.io/server/common/headers"
)

const (
	defaultNamespace = "default"

	// minRetention is what the server itself asks of a local namespace.
	minRetention = time.Hour
)

// options is what the command line asked for, with every port filled in by choosePorts.
type options struct {
	ip          string
	port        int  // 0 until choosePorts: any free port
	anyPort     bool // the frontend's port is as replaceable as an internal one
	uiPort      int  // 0: no Web UI
	metricsPort int  // 0: no metrics
	db          string

	namespaces []string
	retention  time.Duration

	logLevel      string
	logFormat     string
	dynamicConfig map[string]string
	version       bool

	internal internalPorts
}

var namespaceName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{1,254}$`)

func parseOptions(args []string, usage io.Writer) (*options, error) {
	opts := &options{namespaces: []string{defaultNamespace}, dynamicConfig: map[string]string{}}
	fs := flag.NewFlagSet("flotilla-temporal", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // the caller prints the error, once and without the usage
	fs.StringVar(&opts.ip, "ip", "127.0.0.1", "loopback `address` to listen on")
	fs.IntVar(&opts.port, "port", 7233, "`port` of the frontend (gRPC); 0 takes any free one")
	fs.IntVar(&opts.uiPort, "ui-port", 8233, "`port` of the Web UI; 0 for none")
	fs.IntVar(&opts.metricsPort, "metrics-port", 0, "`port` of the Prometheus metrics; 0 for none")
	fs.StringVar(&opts.db, "db", "temporal.db", "SQLite `file` that holds all state; made when missing")
	fs.DurationVar(&opts.retention, "retention", 72*time.Hour,
		"how long closed workflows are kept, for namespaces made by this start")
	fs.StringVar(&opts.logLevel, "log-level", "error", "debug, info, warn or error")
	fs.StringVar(&opts.logFormat, "log-format", "console", "console or json")
	fs.BoolVar(&opts.version, "version", false, "print versions and exit")
	fs.Func("namespace", "`name` of a namespace to have besides \"default\"; may repeat", func(name string) error {
		if !namespaceName.MatchString(name) || strings.HasPrefix(name, "temporal-") {
			return fmt.Errorf("want 2 to 255 letters, digits, '-', '_' or '.', not starting with \"temporal-\"")
		}
		if !slices.Contains(opts.namespaces, name) {
			opts.namespaces = append(opts.namespaces, name)
		}
		return nil
	})
	fs.Func("dynamic-config", "`key=value` of a server setting; may repeat", func(kv string) error {
		key, value, ok := strings.Cut(kv, "=")
		if !ok || key == "" {
			return fmt.Errorf("want key=value")
		}
		opts.dynamicConfig[key] = value
		return nil
	})
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			_, _ = fmt.Fprintln(usage, "Usage: flotilla-temporal [flags]\n\nThe Temporal service in one process, for development and tests.\n\nFlags:")
			fs.SetOutput(usage)
			fs.PrintDefaults()
		}
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q: every setting is a flag, see --help", fs.Arg(0))
	}
	return opts, opts.validate()
}

func (o *options) validate() error {
	ip, err := netip.ParseAddr(o.ip)
	if err != nil || !ip.IsLoopback() {
		return fmt.Errorf("--ip %q: want a loopback address such as 127.0.0.1, because this server has no authentication", o.ip)
	}
	for name, port := range map[string]int{"--port": o.port, "--ui-port": o.uiPort, "--metrics-port": o.metricsPort} {
		if port < 0 || port > 65535 {
			return fmt.Errorf("%s %d: want 0 to 65535", name, port)
		}
	}
	if o.retention < minRetention {
		return fmt.Errorf("--retention %s: want %s or more", o.retention, minRetention)
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, o.logLevel) {
		return fmt.Errorf("--log-level %q: want debug, info, warn or error", o.logLevel)
	}
	if !slices.Contains([]string{"console", "json"}, o.logFormat) {
		return fmt.Errorf("--log-format %q: want console or json", o.logFormat)
	}
	if o.db == "" {
		return fmt.Errorf("--db is empty: want the path of a file")
	}
	if o.db, err = filepath.Abs(o.db); err != nil {
		return fmt.Errorf("--db: %w", err)
	}
	return nil
}

func (o *options) frontendAddress() string { return o.address(o.port) }
func (o *options) uiAddress() string       { return o.address(o.uiPort) }
func (o *options) metricsAddress() string  { return o.address(o.metricsPort) }

func (o *options) address(port int) string {
	return net.JoinHostPort(o.ip, strconv.Itoa(port))
}

// versionLine names the versions that matter to a bug report.
func versionLine() string {
	ui := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			if dep.Path == "github.com/temporalio/ui-server/v2" {
				ui = strings.TrimPrefix(dep.Version, "v")
			}
		}
	}
	return fmt.Sprintf("flotilla-temporal server %s ui %s %s", headers.ServerVersion, ui, runtime.Version())
}
