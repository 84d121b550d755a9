package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// maxParallel keeps a build from taking a small machine over.
const maxParallel = 2

// builder fills the cache and says what it does.
type builder struct {
	cache   *cache
	screen  *screen
	verbose bool
}

// all builds one target after the other and stops at the first that fails.
func (b *builder) all(ctx context.Context, list []target) error {
	for _, t := range list {
		e, err := b.cache.entry(t)
		if err != nil {
			return err
		}
		if !e.cached() {
			err = b.one(ctx, e)
		} else if b.verbose {
			b.screen.say("%s: cached", e.label())
		}
		if err != nil {
			return b.report(ctx, e, err)
		}
	}
	return nil
}

// one builds a target under its lock, so that two clones never build it twice at once.
func (b *builder) one(ctx context.Context, e entry) error {
	unlock, err := lock(ctx, b.cache.lockPath(e.target), func(holder string) {
		b.screen.say("%s: process %s is building it, waiting", e.label(), holder)
	})
	if err != nil {
		return err
	}
	defer unlock()
	if e.cached() { // by the one that we waited for
		return nil
	}
	if err := b.removeLeftovers(e.target); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(b.cache.root, tempPrefix(e.target))
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(temp) }()

	begin := time.Now()
	b.screen.say("%s: building, first time only, about %s", e.label(), minutes(e.minutes))
	if err := b.compile(ctx, e, filepath.Join(temp, "bin")); err != nil {
		return err
	}
	if e.release {
		b.screen.progress(e.label(), "packing the release")
		if err := b.pack(e, temp); err != nil {
			return err
		}
	}
	if err := os.Chmod(temp, 0o755); err != nil {
		return err
	}
	if err := os.Rename(temp, e.dir); err != nil {
		return err
	}
	b.screen.say("%s: ready after %s", e.label(), time.Since(begin).Round(time.Second))
	return nil
}

// removeLeftovers removes what killed builds of the target left. The caller has its lock.
func (b *builder) removeLeftovers(t target) error {
	old, err := filepath.Glob(filepath.Join(b.cache.root, tempPrefix(t)+"*"))
	for _, dir := range old {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return err
}

func (b *builder) compile(ctx context.Context, e entry, bin string) error {
	if err := os.Mkdir(bin, 0o755); err != nil {
		return err
	}
	flags := []string{"-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags=-s -w"}
	var packages []string
	for _, p := range e.programs {
		packages = append(packages, p.pkg)
	}
	p := &progress{screen: b.screen, label: e.label()}
	stop := p.show()
	defer stop()

	p.set("fetching the sources")
	total, err := countStale(ctx, e.source, flags, packages)
	if err != nil {
		return err
	}
	p.begin(total)
	parallel := strconv.Itoa(min(maxParallel, runtime.NumCPU()))
	args := append([]string{"build", "-v", "-p", parallel, "-o", bin + string(filepath.Separator)}, flags...)
	if err := goCommand(ctx, e.source, p.line, append(args, packages...)...); err != nil {
		return err
	}
	for _, program := range e.programs {
		if program.made == program.name {
			continue
		}
		if err := os.Rename(filepath.Join(bin, program.made), filepath.Join(bin, program.name)); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) pack(e entry, temp string) error {
	var names []string
	for _, p := range e.programs {
		names = append(names, p.name)
	}
	name := releaseName(e.version, b.cache.platform)
	return packRelease(filepath.Join(temp, name+".tar.gz"), name, filepath.Join(temp, "bin"), names)
}

// report says what failed and what a person can do.
func (b *builder) report(ctx context.Context, e entry, err error) error {
	if ctx.Err() != nil {
		b.screen.say("%s: stopped; what is compiled so far is kept for the next time", e.label())
		return errReported
	}
	var failed *commandError
	if !errors.As(err, &failed) {
		return fmt.Errorf("%s: %w", e.label(), err)
	}
	b.screen.say("%s: FAILED: %v. The end of its output:\n", e.label(), failed)
	for _, line := range failed.tail {
		b.screen.say("    %s", line)
	}
	b.screen.say("\n%s", advice(e, failed.tail, b.cache.goVersion))
	return errReported
}

// advice guesses the cause from the output.
func advice(e entry, tail []string, goVersion string) string {
	text := strings.Join(tail, "\n")
	again := fmt.Sprintf("Then run it again with the target %s; what is compiled is kept.", e.name)
	switch {
	case strings.Contains(text, "no space left"):
		return "The disk is full: make room (`go -C tools run ./toolbox clean`, `go clean -cache`). " + again
	case strings.Contains(text, "dial tcp"), strings.Contains(text, "proxyconnect"),
		strings.Contains(text, "i/o timeout"), strings.Contains(text, "no such host"):
		return "The module proxy cannot be reached: check the network and `go env GOPROXY`. " + again
	case strings.Contains(text, "requires go >="):
		return fmt.Sprintf("This is %s, which is too old: install the version that go.mod names. ", goVersion) + again
	case strings.Contains(text, "signal: killed"):
		return "The compiler was killed, most often for want of memory: 4 GB are enough. " + again
	}
	return fmt.Sprintf("If tools/%s was edited, check its go.mod against the one in git. ", e.dir) + again
}

func minutes(n int) string {
	if n == 1 {
		return "1 minute"
	}
	return strconv.Itoa(n) + " minutes"
}
