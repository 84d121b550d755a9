// Package dev runs a whole control plane on one machine for development and
// demonstration (flotilla dev): Temporal, an object store and one worker with the
// local provider, supervised as a production system would: what dies is started
// again, and nothing that clusters need dies with it.
//
// The programs are the ones that make build puts into bin; nothing here knows how
// they work. What runs is recorded in dev.json (package devenv).
package dev

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/pki"
	"github.com/flotilla-etcd/flotilla/starter/devenv"
)

// The defaults of a development environment.
const (
	DefaultRegion    = "local-1"
	defaultNamespace = "default"
	// The ports that Temporal's own development server has, where they are free.
	defaultPort   = 7233
	defaultUIPort = 8233
)

// DefaultZones are the zones of the local region.
var DefaultZones = []string{"a", "b", "c"}

// Config says what to run. DataDir is needed, the rest has defaults.
type Config struct {
	DataDir string
	// BinDir holds the programs; empty is the directory of this program.
	BinDir string
	// S3 runs an S3 server as the object store, instead of a directory.
	S3 bool
	// SecondStore is the location of a store into which backups are copied; empty: none.
	SecondStore string
	Region      string
	Zones       []string
	// Port and UIPort are Temporal's; 0 is what was used last, or the default, or
	// any free one.
	Port, UIPort int
	// LogLevel is Temporal's.
	LogLevel string
	// StopHosts stops the hosts too at the end. They keep running otherwise, as
	// machines do.
	StopHosts bool
	// Say tells a person what happens; nil drops it.
	Say func(format string, args ...any)
}

func (c Config) withDefaults() (Config, error) {
	if c.Region == "" {
		c.Region = DefaultRegion
	}
	if len(c.Zones) == 0 {
		c.Zones = DefaultZones
	}
	if c.LogLevel == "" {
		c.LogLevel = "error"
	}
	if c.Say == nil {
		c.Say = func(string, ...any) {}
	}
	dir, err := filepath.Abs(c.DataDir)
	if err != nil {
		return c, fleet.Errorf(fleet.Invalid, "data directory", "has no path: %w", err)
	}
	c.DataDir = dir
	return c, nil
}

// FindDataDir gives the data directory that a command means: the named one, else
// the nearest .flotilla with a record in it, from dir upwards, else dir/.flotilla.
func FindDataDir(named, dir string) (string, error) {
	if named != "" {
		return filepath.Abs(named)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(devenv.Path(filepath.Join(at, devenv.DirName))); err == nil {
			return filepath.Join(at, devenv.DirName), nil
		}
		if filepath.Dir(at) == at {
			return filepath.Join(dir, devenv.DirName), nil
		}
	}
}

// prepare makes the data directory and gives the record to begin with, with what is
// kept from the last time.
func prepare(c Config) (devenv.Record, error) {
	for _, dir := range []string{c.DataDir, filepath.Join(c.DataDir, "logs"), filepath.Join(c.DataDir, "objects")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return devenv.Record{}, fleet.Errorf(fleet.Denied, dir, "cannot be made: %w", err).WithRemedy("choose another with --data")
		}
	}
	before, err := devenv.Read(c.DataDir)
	if err != nil && !fleet.Is(err, fleet.NotFound) {
		return devenv.Record{}, err
	}
	r := devenv.Record{
		DataDir: c.DataDir, Namespace: defaultNamespace, Region: c.Region, Zones: c.Zones,
		Port: before.Port, UIPort: before.UIPort, HostsStopped: before.HostsStopped, Processes: before.Processes,
		FleetKey: filepath.Join(c.DataDir, "fleet.key"), LocalRoot: filepath.Join(c.DataDir, "local"),
	}
	if _, err := os.Stat(r.FleetKey); errors.Is(err, os.ErrNotExist) {
		key, err := pki.GenerateFleetKey()
		if err != nil {
			return r, err
		}
		if err := key.WriteFile(r.FleetKey); err != nil {
			return r, err
		}
	}
	return r, nil
}
