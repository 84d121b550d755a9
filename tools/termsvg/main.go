// Command termsvg draws what a terminal showed as an SVG picture, for the README:
//
//	script -qec 'stty cols 100 rows 50; make demo' demo.typescript
//	go -C tools run ./termsvg -width 120 -from '── What would' -to '── Taken down' <demo.typescript >docs/demo.svg
//
// It keeps what stood there at the end: lines that were drawn over, as a live
// display does, show as they were last.
package main

import (
	"flag"
	"fmt"
	"html"
	"io"
	"os"
	"strings"
)

func main() {
	from := flag.String("from", "", "begin with the line that begins like this")
	to := flag.String("to", "", "end before the line that begins like this")
	width := flag.Int("width", 100, "characters in a line; longer ones are cut")
	flag.Parse()
	if err := run(os.Stdin, os.Stdout, *from, *to, *width); err != nil {
		fmt.Fprintln(os.Stderr, "termsvg:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer, from, to string, width int) error {
	data, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	lines := choose(render(string(data)), from, to)
	if len(lines) == 0 {
		return fmt.Errorf("no line begins with %q", from)
	}
	_, err = io.WriteString(out, draw(lines, width))
	return err
}

// choose gives the lines from one that begins with from to one that begins with to,
// without blank ones at either end.
func choose(lines []line, from, to string) []line {
	first, last := -1, len(lines)
	for i, l := range lines {
		switch text := l.text(); {
		case first < 0 && strings.HasPrefix(text, from):
			first = i
		case first >= 0 && to != "" && strings.HasPrefix(text, to):
			last = i
		}
		if last < len(lines) {
			break
		}
	}
	if first < 0 {
		return nil
	}
	lines = lines[first:last]
	for len(lines) > 0 && strings.TrimSpace(lines[len(lines)-1].text()) == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

const (
	fontSize   = 13
	lineHeight = 18
	charWidth  = 7.83 // of the font at this size
	margin     = 16
)

func draw(lines []line, width int) string {
	var b strings.Builder
	w, h := int(float64(width)*charWidth)+2*margin, len(lines)*lineHeight+2*margin
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">`+"\n", w, h, w, h)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" rx="8" fill="%s"/>`+"\n", background)
	fmt.Fprintf(&b, `<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="%d" fill="%s">`+"\n",
		fontSize, plain)
	for i, l := range lines {
		if len(l) > width {
			l = append(l[:width-1:width-1], cell{r: '…'})
		}
		if strings.TrimSpace(l.text()) != "" {
			fmt.Fprintf(&b, `<text x="%d" y="%d" xml:space="preserve">%s</text>`+"\n", margin, margin+(i+1)*lineHeight-5, spans(l))
		}
	}
	b.WriteString("</g>\n</svg>\n")
	return b.String()
}

// spans gives the runs of a line that look alike.
func spans(l line) string {
	var b strings.Builder
	for len(l) > 0 {
		n := 1
		for n < len(l) && l[n].look == l[0].look {
			n++
		}
		text := html.EscapeString(l[:n].text())
		if attributes := l[0].look.attributes(); attributes != "" {
			text = "<tspan" + attributes + ">" + text + "</tspan>"
		}
		b.WriteString(text)
		l = l[n:]
	}
	return b.String()
}
