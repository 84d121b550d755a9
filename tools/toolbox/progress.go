package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// progress counts what a build has begun, from the package names that go build -v
// prints, against what Go's build cache does not have.
type progress struct {
	screen *screen
	label  string

	mu          sync.Mutex
	state       string // instead of a count
	done, total int
}

// show keeps the screen up to date until the returned function is called.
func (p *progress) show() (stop func()) {
	done := make(chan struct{})
	var ended sync.WaitGroup
	ended.Go(func() {
		tick := time.NewTicker(terminalEvery)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				p.screen.progress(p.label, p.String())
			}
		}
	})
	return func() {
		close(done)
		ended.Wait()
	}
}

func (p *progress) set(state string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state = state
}

func (p *progress) begin(total int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state, p.total = "", total
}

// line takes one line of go build -v and reports whether it is more than a package name.
func (p *progress) line(text string) bool {
	if isDownload(text) {
		return false
	}
	if !isPackage(text) {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
	return false
}

// String never says more than all, and says what it does when the count stands still
// at the end.
func (p *progress) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.state != "":
		return p.state
	case p.total == 0:
		return "linking"
	case p.done >= p.total:
		return fmt.Sprintf("%d/%d packages, linking", p.total, p.total)
	}
	return fmt.Sprintf("%d/%d packages", p.done, p.total)
}

// isPackage tells an import path from a message: messages have spaces.
func isPackage(line string) bool {
	return line != "" && !strings.ContainsAny(line, " \t:") && !strings.HasPrefix(line, "#")
}

func isDownload(line string) bool { return strings.HasPrefix(line, "go: downloading ") }

// countStale is how many packages a build will compile: all it needs, less what the
// build cache has from earlier builds, of this target or of another.
func countStale(ctx context.Context, dir string, flags, packages []string) (int, error) {
	args := append([]string{"list", "-deps", "-f", "{{if .Stale}}{{.ImportPath}} {{.StaleReason}}{{end}}"}, flags...)
	out, err := goOutput(ctx, dir, func(line string) bool { return !isDownload(line) }, append(args, packages...)...)
	if err != nil {
		return 0, err
	}
	count := 0
	for line := range strings.Lines(string(out)) {
		name, reason, _ := strings.Cut(strings.TrimSpace(line), " ")
		// unsafe has no code; what the cache has is not compiled and not printed.
		if name == "" || name == "unsafe" || strings.Contains(reason, "available in build cache") {
			continue
		}
		count++
	}
	return count, nil
}
