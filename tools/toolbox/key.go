package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// platform is what a build depends on besides its sources.
type platform struct {
	os, arch, goVersion string
}

// here is this machine. `go run` compiled this program, so its Go is the one that
// will build the targets.
func here() platform {
	return platform{os: runtime.GOOS, arch: runtime.GOARCH, goVersion: runtime.Version()}
}

// cacheKey is the first 12 hex digits of a SHA-256 over everything in the target's
// folder that decides what comes out, and the platform.
func cacheKey(dir string, p platform) (string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return "", err
	}
	files = slices.DeleteFunc(files, func(f string) bool { return strings.HasSuffix(f, "_test.go") })
	files = append(files, filepath.Join(dir, "go.mod"), filepath.Join(dir, "go.sum"))
	slices.Sort(files)
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%s/%s %s\n", p.os, p.arch, p.goVersion)
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		// Name and length first, so that no two sets of files run together alike.
		_, _ = fmt.Fprintf(h, "%s %d\n", filepath.Base(file), len(content))
		h.Write(content)
	}
	return hex.EncodeToString(h.Sum(nil))[:12], nil
}

// pinnedVersion reads a module's version, without the v, from a go.mod file.
func pinnedVersion(gomod []byte, module string) (string, error) {
	lines := bufio.NewScanner(bytes.NewReader(gomod))
	for lines.Scan() {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(lines.Text()), "require "))
		if len(fields) >= 2 && fields[0] == module && strings.HasPrefix(fields[1], "v") {
			return strings.TrimPrefix(fields[1], "v"), nil
		}
	}
	return "", fmt.Errorf("go.mod does not require %s", module)
}

// sizeOf is the number of bytes of all files under dir.
func sizeOf(dir string) (int64, error) {
	var total int64
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	return total, err
}
