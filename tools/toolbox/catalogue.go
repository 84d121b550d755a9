package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// release is one etcd that hosts can install.
type release struct {
	version, platform, tarball, sha256 string
}

// writeCatalogue tells the rest of the project what is in the cache: all of it, not
// only this run's targets, so that another run with more targets adds to the files.
func (c *cache) writeCatalogue(dir string) error {
	var cached []entry
	for _, t := range targets {
		e, err := c.entry(t)
		if err != nil {
			return err
		}
		if e.cached() {
			cached = append(cached, e)
		}
	}
	var releases []release
	for _, e := range cached {
		if !e.release {
			continue
		}
		sum, err := readChecksum(e.tarball(c.platform))
		if err != nil {
			return fmt.Errorf("%s: %w: remove %s and build it again", e.label(), err, e.dir)
		}
		releases = append(releases, release{
			version: e.version, platform: c.os + "/" + c.arch, tarball: e.tarball(c.platform), sha256: sum,
		})
	}
	programs, err := json.MarshalIndent(programPaths(cached), "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := writeWhole(filepath.Join(dir, "tools.json"), append(programs, '\n')); err != nil {
		return err
	}
	return writeWhole(filepath.Join(dir, "releases.yaml"), releasesYAML(releases))
}

// programPaths maps the names in tools.json to files. Of the etcds it names the newest.
func programPaths(cached []entry) map[string]string {
	paths := map[string]string{}
	newest := ""
	for _, e := range cached {
		for _, p := range e.programs {
			if p.key != "" {
				paths[p.key] = filepath.Join(e.bin(), p.name)
			}
		}
		if e.release && (newest == "" || compareVersions(e.version, newest) > 0) {
			newest = e.version
			for _, p := range e.programs {
				paths[p.name] = filepath.Join(e.bin(), p.name)
			}
		}
	}
	return paths
}

// releasesYAML is the catalogue, oldest release first.
func releasesYAML(releases []release) []byte {
	slices.SortFunc(releases, func(a, b release) int { return compareVersions(a.version, b.version) })
	var out bytes.Buffer
	out.WriteString("# Written by tools/toolbox; what flotilla-node installs.\n")
	if len(releases) == 0 {
		out.WriteString("releases: []\n")
		return out.Bytes()
	}
	out.WriteString("releases:\n")
	for _, r := range releases {
		address := url.URL{Scheme: "file", Path: filepath.ToSlash(r.tarball)}
		fmt.Fprintf(&out, "  - version: %s\n    artifacts:\n      %s:\n        url: %s\n        sha256: %s\n",
			strconv.Quote(r.version), r.platform, strconv.Quote(address.String()), strconv.Quote(r.sha256))
	}
	return out.Bytes()
}

// compareVersions orders dotted numbers: 3.5.9 before 3.5.35.
func compareVersions(a, b string) int {
	return slices.CompareFunc(strings.Split(a, "."), strings.Split(b, "."), func(x, y string) int {
		m, errX := strconv.Atoi(x)
		n, errY := strconv.Atoi(y)
		if errX != nil || errY != nil {
			return cmp.Compare(x, y)
		}
		return cmp.Compare(m, n)
	})
}

// writeWhole replaces a file in one step, so that a reader sees the old or the new one,
// and leaves it alone when nothing changes.
func writeWhole(path string, content []byte) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, content) {
		return nil
	}
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp.Name()) }()
	_, err = temp.Write(content)
	if err == nil {
		err = temp.Chmod(0o644)
	}
	if closeErr := temp.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}
