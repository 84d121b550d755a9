package endpoints

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// directory has a file for each name, which clients on this machine follow.
type directory struct {
	path string
	mu   sync.Mutex // two that write one name would take it for each other's
}

// file is what is in one. URLs are as etcdctl's --endpoints takes them.
type file struct {
	Cluster string   `json:"cluster"`
	URLs    []string `json:"urls"`
}

func newDirectory(path string) (*directory, error) {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "--publish file://"+path, "cannot be made: %w", err)
	}
	return &directory{path: path}, nil
}

// Publish replaces the file NAME.json in one step: whoever reads it reads the old one or
// the new one.
func (d *directory) Publish(_ context.Context, record fleet.Record) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	path := filepath.Join(d.path, record.Name+".json")
	resource := "endpoint file " + path
	content := file{Cluster: record.Cluster}
	for _, e := range record.Endpoints {
		content.URLs = append(content.URLs, e.ClientURL())
	}
	want, err := json.Marshal(content)
	if err != nil {
		return fleet.Errorf(fleet.Invalid, resource, "cannot be written: %w", err)
	}
	want = append(want, '\n')
	have, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		have = nil
	case err != nil:
		return fleet.Errorf(fleet.Unavailable, resource, "cannot be read: %w", err)
	default:
		var old file
		if err := json.Unmarshal(have, &old); err != nil || old.Cluster != record.Cluster {
			return taken(resource, record)
		}
	}
	switch {
	case len(record.Endpoints) > 0 && bytes.Equal(have, want), len(record.Endpoints) == 0 && have == nil:
		return nil
	case len(record.Endpoints) == 0:
		err = os.Remove(path)
	default:
		err = replace(path, want)
	}
	if err != nil {
		return fleet.Errorf(fleet.Unavailable, resource, "cannot be written: %w", err)
	}
	return nil
}

func replace(path string, content []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".partial-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// taken is the error of a name that is not the cluster's.
func taken(resource string, record fleet.Record) error {
	return fleet.Errorf(fleet.Conflict, resource, "it is there, and not %s's", record.Cluster).
		WithRemedy("remove it, or give %s another name (clients.record)", record.Cluster)
}
