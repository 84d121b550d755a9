// Command termsvg draws what a terminal showed as an SVG picture, for the README:
//
//	make demo 2>&1 | go -C tools run ./termsvg -from '── A cluster' -to '── Taken down' > docs/demo.svg
//
// Commands (lines that begin with "$ ") and headings ("── ") stand out; nothing
// else is interpreted.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"html"
	"io"
	"os"
	"strings"
)

const (
	fontSize   = 13
	lineHeight = 18
	charWidth  = 7.85 // of the font at this size
	margin     = 16
)

func main() {
	from := flag.String("from", "", "begin with the line that begins like this")
	to := flag.String("to", "", "end before the line that begins like this")
	width := flag.Int("width", 118, "characters in a line; longer ones are cut")
	flag.Parse()
	lines, err := read(os.Stdin, *from, *to)
	if err == nil {
		_, err = io.WriteString(os.Stdout, draw(lines, *width))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "termsvg:", err)
		os.Exit(1)
	}
}

func read(r io.Reader, from, to string) ([]string, error) {
	var lines []string
	inside := from == ""
	scanner := bufio.NewScanner(r)
	for scanner.Scan() {
		line := scanner.Text()
		inside = inside || strings.HasPrefix(line, from)
		if to != "" && inside && strings.HasPrefix(line, to) {
			break
		}
		if inside {
			lines = append(lines, line)
		}
	}
	return lines, scanner.Err()
}

func draw(lines []string, width int) string {
	var b strings.Builder
	w, h := int(float64(width)*charWidth)+2*margin, len(lines)*lineHeight+2*margin
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">`+"\n", w, h, w, h)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" rx="8" fill="#14181f"/>`+"\n")
	fmt.Fprintf(&b, `<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="%d" xml:space="preserve">`+"\n", fontSize)
	for i, line := range lines {
		if runes := []rune(line); len(runes) > width {
			line = string(runes[:width-1]) + "…"
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" fill="%s">%s</text>`+"\n", margin, margin+(i+1)*lineHeight-5, colour(line), html.EscapeString(line))
	}
	b.WriteString("</g>\n</svg>\n")
	return b.String()
}

func colour(line string) string {
	switch {
	case strings.HasPrefix(line, "── "):
		return "#e6c07b"
	case strings.HasPrefix(line, "$ "):
		return "#ffffff"
	case strings.HasPrefix(line, "killed "):
		return "#ef6b73"
	}
	return "#a9b4c2"
}
