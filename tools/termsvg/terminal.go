package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// The colours of the picture.
const (
	background = "#14181f"
	plain      = "#c5cdd8"
)

var colours = map[int]string{31: "#ef6b73", 32: "#8cc570", 33: "#e6c07b", 34: "#6cb0ef", 36: "#67bfc8"}

// look is how a character looks.
type look struct {
	bold, dim bool
	colour    int // as in SGR; 0 is the terminal's own
}

func (l look) attributes() string {
	var b strings.Builder
	if c, ok := colours[l.colour]; ok {
		fmt.Fprintf(&b, ` fill="%s"`, c)
	}
	if l.bold {
		b.WriteString(` font-weight="bold"`)
	}
	if l.dim {
		b.WriteString(` fill-opacity="0.7"`)
	}
	return b.String()
}

type cell struct {
	r rune
	look
}

type line []cell

func (l line) text() string {
	var b strings.Builder
	for _, c := range l {
		b.WriteRune(c.r)
	}
	return b.String()
}

var (
	escape = regexp.MustCompile(`^\x1b\[([0-9;?]*)([A-Za-z])`)
	// other are escape sequences that draw nothing: titles, character sets, modes.
	other = regexp.MustCompile(`^\x1b(?:\][^\a]*\a|[()][A-Z0-9]|[=>78])`)
)

// screen is a terminal that never scrolls anything away.
type screen struct {
	lines    []line
	row, col int
	look     look
}

// render gives the lines that are there after all of the output.
func render(output string) []line {
	s := &screen{lines: []line{nil}}
	for output != "" {
		if m := escape.FindStringSubmatch(output); m != nil {
			s.control(m[1], m[2])
			output = output[len(m[0]):]
			continue
		}
		if m := other.FindString(output); m != "" {
			output = output[len(m):]
			continue
		}
		for _, r := range output { // the first one
			s.put(r)
			output = output[len(string(r)):]
			break
		}
	}
	return s.lines
}

func (s *screen) put(r rune) {
	switch {
	case r == '\r':
		s.col = 0
	case r == '\n': // also without \r, as in what was piped
		s.row, s.col = s.row+1, 0
		for s.row >= len(s.lines) {
			s.lines = append(s.lines, nil)
		}
	case r == '\t':
		s.col += 8 - s.col%8
	case r >= ' ':
		l := s.lines[s.row]
		for len(l) <= s.col {
			l = append(l, cell{r: ' '})
		}
		l[s.col] = cell{r: r, look: s.look}
		s.lines[s.row] = l
		s.col++
	}
}

// control does what Flotilla's output asks a terminal for: colours, moving up, and
// erasing to the end of a line or of the screen.
func (s *screen) control(arguments, what string) {
	n, _ := strconv.Atoi(arguments)
	switch what {
	case "m":
		for _, a := range strings.Split(arguments, ";") {
			s.paint(a)
		}
	case "A":
		s.row = max(0, s.row-max(1, n))
	case "K":
		s.lines[s.row] = s.lines[s.row][:min(s.col, len(s.lines[s.row]))]
	case "J":
		s.lines[s.row] = s.lines[s.row][:min(s.col, len(s.lines[s.row]))]
		s.lines = s.lines[:s.row+1]
	}
}

func (s *screen) paint(argument string) {
	switch n, _ := strconv.Atoi(argument); n {
	case 0:
		s.look = look{}
	case 1:
		s.look.bold = true
	case 2:
		s.look.dim = true
	case 22:
		s.look.bold, s.look.dim = false, false
	case 39:
		s.look.colour = 0
	default:
		s.look.colour = n
	}
}
