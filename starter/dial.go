package starter

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/user"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/log"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter/devenv"
)

const (
	// dialTimeout is how long a person waits for "not reachable".
	dialTimeout = 5 * time.Second
	// devTimeout is how long a development environment may take to accept a
	// connection; it is on this machine.
	devTimeout = 500 * time.Millisecond
)

// Options say which control plane to talk to. What is left empty comes from
// Temporal's own client configuration (the TEMPORAL_* variables and the TOML file
// with its profiles, with mTLS and API keys), then from a development environment
// in the working directory or above, then from Temporal's default.
type Options struct {
	Address   string // host:port
	Namespace string
	Profile   string // of Temporal's TOML configuration
	// Dir is where the search for a development environment begins; empty is the
	// working directory.
	Dir string
	// UI is the URL of Temporal's web UI, for links; empty where there is none.
	UI string
	// By is who asks, for the record of operations; empty is the user's name.
	By string
	// Logger gets what Temporal's SDK logs; nil drops it, errors are returned anyway.
	Logger *slog.Logger
}

// Dial connects to the control plane. The error is of kind fleet.Unavailable when
// it does not answer within five seconds, and fleet.Invalid when the configuration
// is wrong.
func Dial(ctx context.Context, o Options) (*Client, error) {
	options, origin, err := o.resolve(ctx)
	if err != nil {
		return nil, err
	}
	logger := o.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	options.Logger = log.NewStructuredLogger(logger)
	options.ConnectionOptions.GetSystemInfoTimeout = dialTimeout
	if options.DataConverter == nil {
		options.DataConverter = converter.GetDefaultDataConverter()
	}
	by := o.By
	if by == "" {
		by = userName()
	}
	options.Identity = "flotilla:" + by

	dialCtx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	temporal, err := client.DialContext(dialCtx, options)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, notReachable(origin, err)
	}
	return &Client{
		temporal: temporal, data: options.DataConverter, namespace: origin.Namespace, origin: origin, by: by,
	}, nil
}

// resolve finds out where the control plane is.
func (o Options) resolve(ctx context.Context) (client.Options, Origin, error) {
	profile, err := envconfig.LoadClientConfigProfile(envconfig.LoadClientConfigProfileOptions{ConfigFileProfile: o.Profile})
	if err != nil {
		return client.Options{}, Origin{}, fleet.Errorf(fleet.Invalid, "Temporal's client configuration", "%w", err).
			WithRemedy("see the TEMPORAL_* variables and %s", envconfig.DefaultConfigFilePath())
	}
	origin := Origin{Source: "Temporal's client configuration", UI: o.UI}
	// A profile that says how to connect but not where means Temporal's default address.
	configured := profile.Address != "" || profile.APIKey != "" || profile.TLS != nil || o.Profile != ""
	switch {
	case o.Address != "":
		profile.Address, origin.Source = o.Address, "--address"
	case configured:
		if profile.Address != "" && os.Getenv("TEMPORAL_ADDRESS") != "" {
			origin.Source = "TEMPORAL_ADDRESS"
		}
	default:
		origin.Source = "the default"
		if record, ok := findDev(ctx, o.Dir); ok {
			profile.Address, origin.Source, origin.DataDir = record.Address, devenv.Path(record.DataDir), record.DataDir
			if profile.Namespace == "" {
				profile.Namespace = record.Namespace
			}
			if origin.UI == "" {
				origin.UI = record.UI
			}
		}
	}
	if o.Namespace != "" {
		profile.Namespace = o.Namespace
	}
	if profile.Address == "" {
		profile.Address = client.DefaultHostPort
	}
	if profile.Namespace == "" {
		profile.Namespace = client.DefaultNamespace
	}
	origin.Address, origin.Namespace = profile.Address, profile.Namespace
	options, err := profile.ToClientOptions(envconfig.ToClientOptionsRequest{IncludeRemoteCodec: true})
	if err != nil {
		return client.Options{}, Origin{}, fleet.Errorf(fleet.Invalid, "Temporal's client configuration", "%w", err).
			WithRemedy("check the TLS and codec settings")
	}
	return options, origin, nil
}

// findDev gives the development environment of a directory, if it answers. One that
// was killed leaves its record behind; that one is not meant.
func findDev(ctx context.Context, dir string) (devenv.Record, bool) {
	if dir == "" {
		dir = "."
	}
	record, ok := devenv.Find(dir)
	if !ok {
		return devenv.Record{}, false
	}
	conn, err := (&net.Dialer{Timeout: devTimeout}).DialContext(ctx, "tcp", record.Address)
	if err != nil {
		return devenv.Record{}, false
	}
	return record, conn.Close() == nil
}

func notReachable(origin Origin, err error) error {
	var known *fleet.Error
	if errors.As(mapService(err, "Temporal at "+origin.Address), &known) && known.Kind == fleet.Denied {
		return known.WithRemedy("check the API key or client certificate of %s", origin.Source)
	}
	e := &fleet.Error{
		Kind: fleet.Unavailable, Resource: "Temporal at " + origin.Address, Err: err,
		Message: "is not reachable (address from " + origin.Source + ")",
	}
	if origin.Source == "the default" {
		return e.WithRemedy("start a control plane on this machine with flotilla dev, or name another with --address or TEMPORAL_ADDRESS")
	}
	return e.WithRemedy("check that it runs and that address and TLS settings are right")
}

func userName() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return "unknown"
}
