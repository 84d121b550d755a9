package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"text/tabwriter"
)

// cache is the directory that holds finished builds, seen from one clone's pins.
type cache struct {
	root  string // <cache>/tools
	tools string // the clone's tools folder
	platform
}

// entry is where one target's build is, or will be.
type entry struct {
	target
	version string
	source  string // the folder with its go.mod
	dir     string // exists if, and only if, the build is whole
}

func openCache(tools string) (*cache, error) {
	tools, err := filepath.Abs(tools)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(tools, "toolbox", "targets.go")); err != nil {
		return nil, fmt.Errorf("%s is not the tools folder of a clone: run it as go -C tools run ./toolbox", tools)
	}
	base := os.Getenv("FLOTILLA_CACHE")
	if base == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("no cache directory (%w): set FLOTILLA_CACHE to one", err)
		}
		base = filepath.Join(user, "flotilla")
	}
	root, err := filepath.Abs(filepath.Join(base, "tools"))
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, fmt.Errorf("cache %s: %w: set FLOTILLA_CACHE to a directory that can be written", root, err)
	}
	return &cache{root: root, tools: tools, platform: here()}, nil
}

func (c *cache) entry(t target) (entry, error) {
	source := filepath.Join(c.tools, t.dir)
	gomod, err := os.ReadFile(filepath.Join(source, "go.mod"))
	if err != nil {
		return entry{}, fmt.Errorf("target %s: %w", t.name, err)
	}
	version, err := pinnedVersion(gomod, t.pin)
	if err != nil {
		return entry{}, fmt.Errorf("target %s: %w", t.name, err)
	}
	key, err := cacheKey(source, c.platform)
	if err != nil {
		return entry{}, fmt.Errorf("target %s: %w", t.name, err)
	}
	return entry{
		target: t, version: version, source: source,
		dir: filepath.Join(c.root, t.name+"-"+version+"-"+key),
	}, nil
}

func (e entry) cached() bool {
	info, err := os.Stat(e.dir)
	return err == nil && info.IsDir()
}

// label is how a person knows the target: "etcd 3.7.3".
func (e entry) label() string { return e.title + " " + e.version }

func (e entry) bin() string { return filepath.Join(e.dir, "bin") }

// tarball is the release that hosts install; its checksum stands beside it.
func (e entry) tarball(p platform) string {
	return filepath.Join(e.dir, releaseName(e.version, p)+".tar.gz")
}

func (c *cache) list(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "TARGET\tVERSION\tCACHED\tSIZE")
	for _, t := range targets {
		e, err := c.entry(t)
		if err != nil {
			return err
		}
		cached, size := "no", "-"
		if e.cached() {
			bytes, err := sizeOf(e.dir)
			if err != nil {
				return err
			}
			cached, size = "yes", fmt.Sprintf("%d MB", bytes/1e6)
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", t.name, e.version, cached, size)
	}
	return table.Flush()
}

func (c *cache) path(w io.Writer, name string) error {
	t, err := lookup(name)
	if err != nil {
		return err
	}
	e, err := c.entry(t)
	if err != nil {
		return err
	}
	if !e.cached() {
		return fmt.Errorf("%s is not built: run go -C tools run ./toolbox %s", e.label(), name)
	}
	_, err = fmt.Fprintln(w, e.bin())
	return err
}

// entryName is what this program names its directories; it removes nothing else.
var entryName = regexp.MustCompile(`^(.+)-[0-9][^-]*-[0-9a-f]{12}$`)

// clean removes builds that this clone does not pin, and what killed builds left. Another
// clone with other pins builds its own again. A target that is being built is left alone.
func (c *cache) clean(w io.Writer) error {
	for _, t := range targets {
		current, err := c.entry(t)
		if err != nil {
			return err
		}
		unlock, err := tryLock(c.lockPath(t))
		if errors.Is(err, errLocked) {
			_, _ = fmt.Fprintf(w, "%s: is being built, left alone\n", t.name)
			continue
		}
		if err != nil {
			return err
		}
		err = c.cleanTarget(w, current)
		unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *cache) cleanTarget(w io.Writer, current entry) error {
	entries, err := os.ReadDir(c.root)
	if err != nil {
		return err
	}
	for _, found := range entries {
		match := entryName.FindStringSubmatch(found.Name())
		old := match != nil && match[1] == current.name && found.Name() != filepath.Base(current.dir)
		if !old && !strings.HasPrefix(found.Name(), tempPrefix(current.target)) {
			continue
		}
		dir := filepath.Join(c.root, found.Name())
		size, err := sizeOf(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("cannot remove %s: %w", dir, err)
		}
		_, _ = fmt.Fprintf(w, "removed %s, %d MB\n", found.Name(), size/1e6)
	}
	return nil
}

func (c *cache) lockPath(t target) string { return filepath.Join(c.root, t.name+".lock") }

// tempPrefix starts with a dot, so that no half build is ever listed as a whole one.
func tempPrefix(t target) string { return "." + t.name + "-building-" }
