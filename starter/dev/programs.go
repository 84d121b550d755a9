package dev

import (
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// Programs are the paths of what a development environment runs.
type Programs struct {
	Worker   string
	Node     string
	Releases string // the catalogue of etcd releases
	// Tools are the programs from tools.json by name: temporal-server, versitygw, etcdctl.
	Tools map[string]string
}

// FindPrograms looks for the programs in a directory; empty is that of this program.
func FindPrograms(dir string) (Programs, error) {
	if dir == "" {
		self, err := os.Executable()
		if err != nil {
			return Programs{}, fleet.Errorf(fleet.Invalid, "programs", "this program does not know where it is: %w", err)
		}
		if real, err := filepath.EvalSymlinks(self); err == nil {
			self = real
		}
		dir = filepath.Dir(self)
	}
	p := Programs{
		Worker: filepath.Join(dir, "flotilla-worker"), Node: filepath.Join(dir, "flotilla-node"),
		Releases: filepath.Join(dir, "releases.yaml"),
	}
	list := filepath.Join(dir, "tools.json")
	for _, path := range []string{p.Worker, p.Node, p.Releases, list} {
		if _, err := os.Stat(path); err != nil {
			return p, notBuilt(path, err)
		}
	}
	data, err := os.ReadFile(list)
	if err != nil {
		return p, notBuilt(list, err)
	}
	if p.Tools, err = readTools(data, dir); err != nil {
		return p, fleet.Errorf(fleet.Lost, list, "is not a list of programs: %w", err).WithRemedy("make it again: make build")
	}
	return p, nil
}

// readTools reads tools.json: of its entries, those that are paths of programs.
// Relative ones are relative to the repository, whose bin it is in.
func readTools(data []byte, dir string) (map[string]string, error) {
	var entries map[string]json.RawMessage
	if err := json.Unmarshal(data, &entries); err != nil {
		return nil, err
	}
	tools := map[string]string{}
	for name, entry := range entries {
		var path string
		if json.Unmarshal(entry, &path) != nil {
			continue
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(dir), path)
		}
		tools[name] = path
	}
	return tools, nil
}

// Tool gives the path of a program that runs beside the product.
func (p Programs) Tool(name string) (string, error) {
	path, ok := p.Tools[name]
	if !ok {
		return "", fleet.Errorf(fleet.NotFound, name, "is not in tools.json").WithRemedy("build it: make build")
	}
	if _, err := os.Stat(path); err != nil {
		return "", notBuilt(path, err)
	}
	return path, nil
}

func notBuilt(path string, err error) error {
	return fleet.Errorf(fleet.NotFound, path, "is missing: %w", err).WithRemedy("build everything: make build")
}
