package terminal

import (
	"fmt"
	"strings"
	"sync"
)

// Live is a part of the terminal that is drawn over and over in place.
type Live struct {
	out   Output
	mu    sync.Mutex
	lines int
	last  string
}

// NewLive begins at the cursor. It draws only where out is a terminal.
func NewLive(out Output) *Live { return &Live{out: out} }

// Draw replaces what was drawn before. Lines are clipped to the terminal, since a
// wrapped line could not be drawn over.
func (l *Live) Draw(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.out.Live || text == l.last {
		return
	}
	l.last = text
	width, height := l.out.Size()
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if len(lines) > height-1 {
		lines = lines[:height-1]
	}
	var b strings.Builder
	b.WriteString(l.up())
	for _, line := range lines {
		b.WriteString(Clip(line, width-1))
		b.WriteString("\x1b[K\n")
	}
	b.WriteString("\x1b[J")
	l.lines = len(lines)
	_, _ = fmt.Fprint(l.out, b.String())
}

// up moves to the first line of what was drawn.
func (l *Live) up() string {
	if l.lines == 0 {
		return ""
	}
	return fmt.Sprintf("\x1b[%dA\r", l.lines)
}

// Done leaves what was drawn where it is; what follows is written below.
func (l *Live) Done() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines, l.last = 0, ""
}
