package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCacheKey(t *testing.T) {
	linux := platform{os: "linux", arch: "amd64", goVersion: "go1.26.8"}
	base := map[string]string{"go.mod": "module x\n", "go.sum": "sum\n", "main.go": "package main\n"}
	with := func(changes map[string]string) map[string]string {
		files := map[string]string{}
		for _, m := range []map[string]string{base, changes} {
			for name, content := range m {
				files[name] = content
			}
		}
		return files
	}
	key := func(files map[string]string, p platform) string {
		dir := t.TempDir()
		writeFiles(t, dir, files)
		k, err := cacheKey(dir, p)
		if err != nil {
			t.Fatal(err)
		}
		if len(k) != 12 {
			t.Errorf("key %q has not 12 digits", k)
		}
		return k
	}
	want := key(base, linux)
	for name, tc := range map[string]struct {
		files map[string]string
		p     platform
		same  bool
	}{
		"the same again":       {base, linux, true},
		"a test was added":     {with(map[string]string{"main_test.go": "package main\n"}), linux, true},
		"a document was added": {with(map[string]string{"README.md": "words\n"}), linux, true},
		"a source was added":   {with(map[string]string{"more.go": "package main\n"}), linux, false},
		"a source changed":     {with(map[string]string{"main.go": "package main // new\n"}), linux, false},
		"go.mod changed":       {with(map[string]string{"go.mod": "module y\n"}), linux, false},
		"go.sum changed":       {with(map[string]string{"go.sum": "other\n"}), linux, false},
		"text moved between":   {with(map[string]string{"go.mod": "module x\nsum\n", "go.sum": ""}), linux, false},
		"another OS":           {base, platform{os: "darwin", arch: "amd64", goVersion: "go1.26.8"}, false},
		"another CPU":          {base, platform{os: "linux", arch: "arm64", goVersion: "go1.26.8"}, false},
		"another Go":           {base, platform{os: "linux", arch: "amd64", goVersion: "go1.26.9"}, false},
	} {
		if got := key(tc.files, tc.p); (got == want) != tc.same {
			t.Errorf("%s: key %s against %s, want same = %v", name, got, want, tc.same)
		}
	}
}

func TestPinnedVersion(t *testing.T) {
	const gomod = "module x\n\ntool example.org/a/cmd\n\nrequire (\n\texample.org/a v1.2.3 // indirect\n)\n\nrequire example.org/b v2.0.0\n"
	for module, want := range map[string]string{"example.org/a": "1.2.3", "example.org/b": "2.0.0"} {
		if got, err := pinnedVersion([]byte(gomod), module); err != nil || got != want {
			t.Errorf("%s: got %q, %v; want %q", module, got, err, want)
		}
	}
	if got, err := pinnedVersion([]byte(gomod), "example.org/c"); err == nil {
		t.Errorf("a module that is not required has version %q", got)
	}
}

// newCache is an empty cache for this clone's own pins.
func newCache(t *testing.T) *cache {
	t.Helper()
	t.Setenv("FLOTILLA_CACHE", t.TempDir())
	c, err := openCache("..")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// fill makes what a finished build of the target leaves.
func fill(t *testing.T, c *cache, name string) entry {
	t.Helper()
	known, err := lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	e, err := c.entry(known)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	var names []string
	for _, p := range e.programs {
		files[p.name] = name + " " + p.name
		names = append(names, p.name)
	}
	writeFiles(t, e.bin(), files)
	if e.release {
		if err := packRelease(e.tarball(c.platform), releaseName(e.version, c.platform), e.bin(), names); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

func TestEveryTargetHasItsPin(t *testing.T) {
	c := newCache(t)
	for _, known := range targets {
		e, err := c.entry(known)
		if err != nil {
			t.Errorf("%s: %v", known.name, err)
			continue
		}
		if match := entryName.FindStringSubmatch(filepath.Base(e.dir)); match == nil || match[1] != known.name {
			t.Errorf("%s: clean would not know its own directory %s", known.name, filepath.Base(e.dir))
		}
		minor, isEtcd := strings.CutPrefix(known.name, "etcd-")
		if isEtcd && !strings.HasPrefix(e.version, minor+".") {
			t.Errorf("%s pins %s", known.name, e.version)
		}
	}
}

func TestListAndPath(t *testing.T) {
	c := newCache(t)
	e := fill(t, c, "s3")
	var out strings.Builder
	if err := c.list(&out); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		fields := strings.Fields(line)
		want := "no"
		if fields[0] == "s3" {
			want = "yes"
		}
		if fields[0] != "TARGET" && fields[2] != want {
			t.Errorf("list says %q, want cached = %s", strings.TrimSpace(line), want)
		}
	}
	out.Reset()
	if err := c.path(&out, "s3"); err != nil || strings.TrimSpace(out.String()) != e.bin() {
		t.Errorf("path s3: %q, %v; want %s", out.String(), err, e.bin())
	}
	for name, want := range map[string]string{"lint": "is not built", "unknown": "no target"} {
		if err := c.path(&out, name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("path %s: %v, want %q", name, err, want)
		}
	}
}

func TestClean(t *testing.T) {
	c := newCache(t)
	current := fill(t, c, "s3")
	busy, err := lookup("lint")
	if err != nil {
		t.Fatal(err)
	}
	unlock, err := tryLock(c.lockPath(busy))
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	s3 := current.target
	writeFiles(t, c.root, map[string]string{
		"s3-1.7.0-0123456789ab/bin/versitygw": "old",
		tempPrefix(s3) + "123/bin/versitygw":  "half",
		"lint-2.0.0-0123456789ab/bin/x":       "old, but its target is being built",
		"etcd-3.7-notes/mine.txt":             "not ours",
		"somebody-else/file":                  "not ours",
	})
	if err := c.clean(&strings.Builder{}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{
		filepath.Base(current.dir):    true,
		"s3-1.7.0-0123456789ab":       false,
		tempPrefix(s3) + "123":        false,
		"lint-2.0.0-0123456789ab":     true,
		"etcd-3.7-notes":              true,
		"somebody-else":               true,
		filepath.Base(c.lockPath(s3)): true,
	} {
		if _, err := os.Stat(filepath.Join(c.root, path)); (err == nil) != want {
			t.Errorf("after clean %s is there: %v, want %v", path, err == nil, want)
		}
	}
}

func TestResolve(t *testing.T) {
	for args, want := range map[string]string{
		"run":               "etcd-3.7 temporal-server etcd-3.6 etcd-3.5",
		"test":              "etcd-3.7 temporal-server etcd-3.6 etcd-3.5 s3 temporal-cli",
		"all":               "etcd-3.7 temporal-server etcd-3.6 etcd-3.5 s3 temporal-cli lint",
		"s3 etcd-3.5 s3 s3": "etcd-3.5 s3",
		"lint run":          "etcd-3.7 temporal-server etcd-3.6 etcd-3.5 lint",
	} {
		list, err := resolve(strings.Fields(args))
		if err != nil {
			t.Errorf("%s: %v", args, err)
		}
		var names []string
		for _, known := range list {
			names = append(names, known.name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: got %s, want %s", args, got, want)
		}
	}
	if _, err := resolve([]string{"etcd-3.4"}); err == nil || !strings.Contains(err.Error(), "etcd-3.5") {
		t.Errorf("an unknown target: %v, want an error that names the known ones", err)
	}
}
