// Package devenv is what a development environment (flotilla dev) says about
// itself: the file dev.json in its data directory, and how a client finds it.
//
// It knows the record only. Starting and stopping is in starter/dev.
package devenv

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

const (
	// DirName is the data directory's name in a clone.
	DirName  = ".flotilla"
	fileName = "dev.json"
)

// Record is what is in dev.json. It stays when the environment ends, so that the
// next start may take the same ports.
type Record struct {
	// DataDir is the absolute path of the data directory.
	DataDir string `json:"dataDir"`
	// Supervisor is the process ID of flotilla dev; 0 when it does not run.
	Supervisor int       `json:"supervisor,omitempty"`
	Ready      bool      `json:"ready"`
	Started    time.Time `json:"started,omitzero"`

	Address   string `json:"address"` // Temporal's frontend, host:port
	Namespace string `json:"namespace"`
	UI        string `json:"ui,omitempty"` // URL of Temporal's web UI
	Port      int    `json:"port"`
	UIPort    int    `json:"uiPort"`

	Region      string   `json:"region"`
	Zones       []string `json:"zones"`
	ObjectStore string   `json:"objectStore"`
	FleetKey    string   `json:"fleetKey"`  // path
	LocalRoot   string   `json:"localRoot"` // of the local provider
	// NodeBinary is the host side that the local provider's hosts run.
	NodeBinary string `json:"nodeBinary,omitempty"`

	// Processes are the supervised programs by name: temporal, worker, s3.
	Processes map[string]Process `json:"processes,omitempty"`
	// HostsStopped says that flotilla dev down stopped the hosts, so that the next
	// start starts them again.
	HostsStopped bool `json:"hostsStopped,omitempty"`
}

// Process is one supervised program.
type Process struct {
	PID      int       `json:"pid"`
	Log      string    `json:"log"` // path
	Started  time.Time `json:"started"`
	Restarts int       `json:"restarts"`
	// Health and Metrics are URLs, where the program has them.
	Health  string `json:"health,omitempty"`
	Metrics string `json:"metrics,omitempty"`
	// Program is the path of the executable, to recognise a process left over.
	Program string `json:"program"`
}

// Path gives the path of dev.json in a data directory.
func Path(dataDir string) string { return filepath.Join(dataDir, fileName) }

// Read reads the record of a data directory. The error is of kind fleet.NotFound
// when there is none and fleet.Lost when it cannot be understood.
func Read(dataDir string) (Record, error) {
	path := Path(dataDir)
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Record{}, fleet.Errorf(fleet.NotFound, dataDir, "there is no development environment here: %w", err).
			WithRemedy("start one with flotilla dev")
	case err != nil:
		return Record{}, fleet.Errorf(fleet.Denied, path, "cannot be read: %w", err)
	}
	var record Record
	if err := json.Unmarshal(data, &record); err != nil {
		return Record{}, fleet.Errorf(fleet.Lost, path, "is not a record of flotilla dev: %w", err).
			WithRemedy("remove the file and start flotilla dev again")
	}
	return record, nil
}

// Write puts the record into its data directory at once or not at all: a reader
// never sees half of it.
func (r Record) Write() error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("dev.json: %w", err)
	}
	path := Path(r.DataDir)
	f, err := os.CreateTemp(r.DataDir, fileName+".*")
	if err != nil {
		return fleet.Errorf(fleet.Denied, path, "cannot be written: %w", err)
	}
	defer os.Remove(f.Name()) // no effect once it is renamed
	_, err = f.Write(append(data, '\n'))
	if err := errors.Join(err, f.Close()); err != nil {
		return fleet.Errorf(fleet.Denied, path, "cannot be written: %w", err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fleet.Errorf(fleet.Denied, path, "cannot be written: %w", err)
	}
	return nil
}

// Find looks for a data directory named .flotilla with a record of a running
// environment, in dir and then in its parents. It gives false when there is none.
func Find(dir string) (Record, bool) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Record{}, false
	}
	for {
		if record, err := Read(filepath.Join(dir, DirName)); err == nil && record.Ready && record.Address != "" {
			return record, true
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return Record{}, false
		}
		dir = parent
	}
}
