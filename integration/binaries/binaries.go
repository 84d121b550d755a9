// Package binaries builds the programs of ours that tests start. It does not start any.
package binaries

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"syscall"
)

// Build builds programs as they are now, by the paths of their packages from the root of
// the project ("./node/flotilla-node"), and gives a directory that has them under their
// own names, and what removes it.
//
// Linking all of them takes a core ten seconds, and many packages need the same ones, some
// at the same time. So they are built below bin, one package after another, where the go
// command leaves alone what is up to date. Each package has links of its own: a later build
// puts a new file in the place of the old one, and does not write into it.
func Build(packages ...string) (string, func(), error) {
	shared := filepath.Join(Root(), "bin", "test")
	if err := os.MkdirAll(shared, 0o700); err != nil {
		return "", nil, err
	}
	lock, err := os.OpenFile(filepath.Join(shared, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", nil, err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", nil, fmt.Errorf("%s: %w", lock.Name(), err)
	}
	build := exec.Command("go", append([]string{"build", "-trimpath", "-ldflags", "-s -w", "-o", shared + "/"}, packages...)...)
	build.Dir = Root()
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", nil, fmt.Errorf("building our programs: %w\n%s", err, out)
	}
	own, err := os.MkdirTemp(shared, "run-")
	if err != nil {
		return "", nil, err
	}
	for _, p := range packages {
		err = errors.Join(err, os.Link(filepath.Join(shared, path.Base(p)), filepath.Join(own, path.Base(p))))
	}
	done := func() { _ = os.RemoveAll(own) }
	if err != nil {
		done()
		return "", nil, err
	}
	return own, done, nil
}

// Root is the root of the project: where the go.mod above the test's own directory is.
func Root() string {
	dir, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}
