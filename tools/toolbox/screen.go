package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// How often progress is told: on a terminal as often as the eye wants, in a log file
// often enough to show that it lives.
const (
	terminalEvery = 200 * time.Millisecond
	logEvery      = 20 * time.Second
)

// screen is where a person watches: lines that stay, and on a terminal one last line
// that changes.
type screen struct {
	mu       sync.Mutex
	w        io.Writer
	terminal bool
	last     time.Time
}

func newScreen(w io.Writer) *screen {
	s := &screen{w: w}
	if f, ok := w.(*os.File); ok && os.Getenv("TERM") != "dumb" {
		info, err := f.Stat()
		s.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return s
}

// say prints a line that stays.
func (s *screen) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	_, _ = fmt.Fprintf(s.w, format+"\n", args...)
	s.last = time.Now()
}

// progress shows how far it is, unless it was shown just now.
func (s *screen) progress(label, state string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	every := logEvery
	if s.terminal {
		every = terminalEvery
	}
	if time.Since(s.last) < every {
		return
	}
	s.last = time.Now()
	if s.terminal {
		_, _ = fmt.Fprintf(s.w, "\r\x1b[K%s: %s", label, state)
		return
	}
	_, _ = fmt.Fprintf(s.w, "%s: %s\n", label, state)
}

func (s *screen) erase() {
	if s.terminal {
		_, _ = fmt.Fprint(s.w, "\r\x1b[K")
	}
}
