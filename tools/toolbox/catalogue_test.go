package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTarballDependsOnContentOnly(t *testing.T) {
	pack := func(content string, modified time.Time, mode os.FileMode) []byte {
		dir := t.TempDir()
		path := filepath.Join(dir, "etcd")
		writeFiles(t, dir, map[string]string{"etcd": content})
		if err := errors.Join(os.Chmod(path, mode), os.Chtimes(path, modified, modified)); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := writeTarball(&out, "etcd-v3.7.3-linux-amd64", dir, []string{"etcd"}); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	first := pack("program", time.Now(), 0o755)
	if !bytes.Equal(first, pack("program", time.Now().Add(-time.Hour), 0o700)) {
		t.Error("the same program packed at another time, with another mode, differs")
	}
	if bytes.Equal(first, pack("another", time.Now(), 0o755)) {
		t.Error("another program packs to the same bytes")
	}

	zipped, err := gzip.NewReader(bytes.NewReader(first))
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewReader(zipped)
	var names []string
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, header.Name)
		if header.Mode != 0o755 {
			t.Errorf("%s has mode %o, want 755", header.Name, header.Mode)
		}
	}
	if got := strings.Join(names, " "); got != "etcd-v3.7.3-linux-amd64/ etcd-v3.7.3-linux-amd64/etcd" {
		t.Errorf("the tarball holds %s", got)
	}
}

func TestCatalogueGrowsWithTheCache(t *testing.T) {
	c := newCache(t)
	out := filepath.Join(t.TempDir(), "bin")
	read := func() (map[string]string, string) {
		t.Helper()
		if err := c.writeCatalogue(out); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(out, "tools.json"))
		if err != nil {
			t.Fatal(err)
		}
		programs := map[string]string{}
		if err := json.Unmarshal(text, &programs); err != nil {
			t.Fatal(err)
		}
		releases, err := os.ReadFile(filepath.Join(out, "releases.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		return programs, string(releases)
	}

	if programs, releases := read(); len(programs) != 0 || !strings.Contains(releases, "releases: []") {
		t.Errorf("an empty cache: %v, %s", programs, releases)
	}
	old := fill(t, c, "etcd-3.5")
	if programs, _ := read(); programs["etcdctl"] != filepath.Join(old.bin(), "etcdctl") {
		t.Errorf("with 3.5 alone etcdctl is %q", programs["etcdctl"])
	}
	newest := fill(t, c, "etcd-3.7")
	fill(t, c, "temporal-server")
	fill(t, c, "lint")
	programs, releases := read()
	if programs["etcdctl"] != filepath.Join(newest.bin(), "etcdctl") {
		t.Errorf("etcdctl is %q, want the newest", programs["etcdctl"])
	}
	for _, key := range []string{"temporal-server", "etcd", "etcdutl", "golangci-lint", "workflowcheck", "govulncheck"} {
		if _, err := os.Stat(programs[key]); err != nil {
			t.Errorf("tools.json: %s is %q: %v", key, programs[key], err)
		}
	}
	if _, ok := programs["versitygw"]; ok {
		t.Error("tools.json names versitygw, which is not built")
	}
	sum, err := readChecksum(newest.tarball(c.platform))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(releases, sum) || strings.Index(releases, old.version) > strings.Index(releases, newest.version) {
		t.Errorf("releases.yaml is not what is cached, oldest first:\n%s", releases)
	}
}

func TestReleasesYAML(t *testing.T) {
	got := string(releasesYAML([]release{
		{version: "3.6.16", platform: "linux/amd64", tarball: "/c/new.tar.gz", sha256: "bb"},
		{version: "3.6.9", platform: "linux/amd64", tarball: "/c a/old.tar.gz", sha256: "aa"},
	}))
	const want = `# Written by tools/toolbox; what flotilla-node installs.
releases:
  - version: "3.6.9"
    artifacts:
      linux/amd64:
        url: "file:///c%20a/old.tar.gz"
        sha256: "aa"
  - version: "3.6.16"
    artifacts:
      linux/amd64:
        url: "file:///c/new.tar.gz"
        sha256: "bb"
`
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}
