package terminal

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// None is what a table shows where there is nothing.
const None = "–"

// Width gives how many columns a text takes, without its colours.
func Width(text string) int {
	n, escape := 0, false
	for _, r := range text {
		switch {
		case r == '\x1b':
			escape = true
		case escape:
			escape = r != 'm'
		default:
			n++
		}
	}
	return n
}

// Clip cuts a text that is wider than width and ends it with "…". Colours do not
// count, and do not leak.
func Clip(text string, width int) string {
	if Width(text) <= width || width < 1 {
		return text
	}
	var b strings.Builder
	n, escape, coloured := 0, false, false
	for _, r := range text {
		switch {
		case r == '\x1b':
			escape, coloured = true, true
		case escape:
			escape = r != 'm'
		case n == width-1:
			b.WriteRune('…')
			if coloured {
				b.WriteString("\x1b[0m")
			}
			return b.String()
		default:
			n++
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Pad fills a text with spaces up to width.
func Pad(text string, width int) string {
	if n := Width(text); n < width {
		return text + strings.Repeat(" ", width-n)
	}
	return text
}

// Bar draws a progress bar of width characters.
func Bar(done, all, width int) string {
	if all < 1 {
		all = 1
	}
	full := min(width, width*done/all)
	return strings.Repeat("█", full) + strings.Repeat("░", width-full)
}

// Table lays rows out in columns, two spaces apart, under a header. Empty cells
// show as a dash; the last column is not padded.
func Table(header []string, rows [][]string) string {
	widths := make([]int, len(header))
	for _, row := range append([][]string{header}, rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], Width(cell), utf8.RuneCountInString(None))
		}
	}
	var b strings.Builder
	for _, row := range append([][]string{header}, rows...) {
		var line strings.Builder
		for i, cell := range row {
			if cell == "" {
				cell = None
			}
			line.WriteString(Pad(cell, widths[i]))
			line.WriteString("  ")
		}
		b.WriteString(strings.TrimRight(line.String(), " "))
		b.WriteByte('\n')
	}
	return b.String()
}

// Elapsed gives how long something took: 0.8s, 12s, 3m05s, 2h10m.
func Elapsed(d time.Duration) string {
	switch {
	case d < 0:
		return "0.0s"
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Truncate(100*time.Millisecond).Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0fs", d.Truncate(time.Second).Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
}

// Age gives how old something is, as a person says it: 45s, 2m, 3h, 12d.
func Age(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", max(0, int(d.Seconds())))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// Clock says when things happened.
type Clock struct {
	// UTC gives RFC 3339 instead of "2m ago".
	UTC bool
	Now time.Time
}

// Ago gives "3h ago", or the time in RFC 3339; nothing for the zero time.
func (c Clock) Ago(t time.Time) string {
	switch {
	case t.IsZero():
		return ""
	case c.UTC:
		return t.UTC().Format(time.RFC3339)
	case c.Now.Sub(t) < time.Second:
		return "just now"
	}
	return Age(c.Now.Sub(t)) + " ago"
}

// Age gives "3h", or the time in RFC 3339; nothing for the zero time.
func (c Clock) Age(t time.Time) string {
	switch {
	case t.IsZero():
		return ""
	case c.UTC:
		return t.UTC().Format(time.RFC3339)
	}
	return Age(c.Now.Sub(t))
}

// Count gives "1 host" or "3 hosts".
func Count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
