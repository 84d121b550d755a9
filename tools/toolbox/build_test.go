package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// smallTarget is a program of its own that builds in a moment, in a clone of its own.
func smallTarget(t *testing.T, source string) (*builder, target, *bytes.Buffer) {
	t.Helper()
	clone := t.TempDir()
	writeFiles(t, clone, map[string]string{
		"toolbox/targets.go": "",
		"small/go.mod":       "module example.org/small\n\ngo 1.26.0\n\nrequire example.org/pin v1.0.0\n",
		"small/go.sum":       "",
		"small/main.go":      source,
	})
	t.Setenv("FLOTILLA_CACHE", t.TempDir())
	c, err := openCache(clone)
	if err != nil {
		t.Fatal(err)
	}
	said := new(bytes.Buffer)
	small := target{
		name: "small", title: "small", dir: "small", pin: "example.org/pin", minutes: 1, release: true,
		programs: []program{{pkg: ".", made: "small", name: "etcd"}},
	}
	return &builder{cache: c, screen: newScreen(said)}, small, said
}

func builds(t *testing.T, b *builder) []string {
	t.Helper()
	entries, err := filepath.Glob(filepath.Join(b.cache.root, "*"))
	hidden, err2 := filepath.Glob(filepath.Join(b.cache.root, ".*"))
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	var dirs []string
	for _, path := range append(entries, hidden...) {
		if !strings.HasSuffix(path, ".lock") {
			dirs = append(dirs, filepath.Base(path))
		}
	}
	return dirs
}

func TestBuildOnce(t *testing.T) {
	b, small, said := smallTarget(t, "package main\n\nfunc main() {}\n")
	leftover := filepath.Join(b.cache.root, tempPrefix(small)+"1")
	writeFiles(t, leftover, map[string]string{"bin/etcd": "half"})
	if err := b.all(t.Context(), []target{small}); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	e, err := b.cache.entry(small)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(e.bin(), "etcd"), e.tarball(b.cache.platform), e.tarball(b.cache.platform) + ".sha256"} {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("after the build: %v", err)
		}
	}
	if dirs := builds(t, b); len(dirs) != 1 {
		t.Errorf("the cache holds %v, want the build alone", dirs)
	}
	if !strings.Contains(said.String(), "small 1.0.0: building, first time only, about 1 minute\n") {
		t.Errorf("it said:\n%s", said)
	}
	said.Reset()
	if err := b.all(t.Context(), []target{small}); err != nil || said.Len() > 0 {
		t.Errorf("the second time: %v, it said %q", err, said)
	}
}

func TestFailedBuildLeavesNothingAndSaysWhy(t *testing.T) {
	b, small, said := smallTarget(t, "package main\n\nfunc main() { undefinedName() }\n")
	if err := b.all(t.Context(), []target{small}); !errors.Is(err, errReported) {
		t.Errorf("got %v, want %v", err, errReported)
	}
	for _, want := range []string{"small 1.0.0: FAILED: go build: exit status 1", "undefined: undefinedName", "run it again with the target small"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, said)
		}
	}
	if dirs := builds(t, b); len(dirs) != 0 {
		t.Errorf("the cache holds %v, want nothing", dirs)
	}
}

func TestStoppedBuildLeavesNothing(t *testing.T) {
	b, small, said := smallTarget(t, "package main\n\nfunc main() {}\n")
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := b.all(ctx, []target{small}); !errors.Is(err, errReported) || !strings.Contains(said.String(), "stopped") {
		t.Errorf("got %v and said %q", err, said)
	}
	if dirs := builds(t, b); len(dirs) != 0 {
		t.Errorf("the cache holds %v, want nothing", dirs)
	}
}

func TestAdvice(t *testing.T) {
	for tail, want := range map[string]string{
		"write /tmp/x: no space left on device":              "The disk is full",
		"dial tcp: lookup proxy: no such host":               "The module proxy cannot be reached",
		"go: go.mod requires go >= 1.27 (running go 1.26.8)": "too old",
		"compile: signal: killed":                            "want of memory",
		"./main.go:3: undefined: x":                          "check its go.mod",
	} {
		if got := advice(entry{target: targets[0]}, []string{"first", tail}, "go1.26.8"); !strings.Contains(got, want) {
			t.Errorf("%s: advice is %q, want %q", tail, got, want)
		}
	}
}

func TestProgressReachesTheEnd(t *testing.T) {
	p := &progress{label: "x"}
	p.set("fetching the sources")
	if got := p.String(); got != "fetching the sources" {
		t.Errorf("before the build: %q", got)
	}
	p.begin(2)
	for _, step := range []struct {
		line string
		kept bool
		want string
	}{
		{"go: downloading example.org/a v1.0.0", false, "0/2 packages"},
		{"internal/goarch", false, "1/2 packages"},
		{"# example.org/a", true, "1/2 packages"},
		{"a.go:3:5: undefined: b", true, "1/2 packages"},
		{"example.org/a-b_c/v2.1/x~y", false, "2/2 packages, linking"},
		{"example.org/one/more", false, "2/2 packages, linking"},
	} {
		if kept := p.line(step.line); kept != step.kept || p.String() != step.want {
			t.Errorf("%s: kept %v, now %q; want %v, %q", step.line, kept, p.String(), step.kept, step.want)
		}
	}
}
