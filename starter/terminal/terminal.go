// Package terminal is how the CLI puts things in front of a person: colour and
// motion on a terminal only, tables, and times as a person says them. It knows
// nothing about clusters.
package terminal

import (
	"io"
	"os"

	"golang.org/x/term"
)

// defaultWidth is the width of what is no terminal, and of one that does not say.
const defaultWidth = 100

// Output is where text goes, and what may be done there.
type Output struct {
	io.Writer
	// Live says that what was written may be written over: it is a terminal.
	Live bool
	// Colour says that colours are wanted.
	Colour bool
	fd     int
}

// For gives the Output of a file. NO_COLOR (https://no-color.org) and TERM=dumb
// turn colour off, and TERM=dumb motion too.
func For(f *os.File) Output {
	fd := int(f.Fd())
	live := term.IsTerminal(fd) && os.Getenv("TERM") != "dumb"
	return Output{Writer: f, Live: live, Colour: live && os.Getenv("NO_COLOR") == "", fd: fd}
}

// Plain gives an Output without colour and motion.
func Plain(w io.Writer) Output { return Output{Writer: w, fd: -1} }

// Size gives the columns and rows of the output.
func (o Output) Size() (width, height int) {
	if o.Live {
		if w, h, err := term.GetSize(o.fd); err == nil && w > 0 && h > 0 {
			return w, h
		}
	}
	return defaultWidth, 40
}

// IsTerminal says whether a person can answer at f.
func IsTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// Colour is an SGR code of ECMA-48.
type Colour string

// The colours in use; the terminal's own palette decides what they look like.
const (
	Bold   Colour = "1"
	Dim    Colour = "2"
	Red    Colour = "31"
	Green  Colour = "32"
	Yellow Colour = "33"
	Blue   Colour = "34"
)

// Paint gives text in a colour where colours are wanted.
func (o Output) Paint(c Colour, text string) string {
	if !o.Colour || text == "" {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}
