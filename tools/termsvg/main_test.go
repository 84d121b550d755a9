package main

import (
	"strings"
	"testing"
)

func TestWhatWasDrawnOverShowsAsItWasLast(t *testing.T) {
	lines := render("a\r\n\x1b[32m●\x1b[0m 1/3\x1b[K\r\nmore\r\n\x1b[2A\x1b[32m✓\x1b[0m 3/3\x1b[K\r\n\x1b[Jend\r\n")
	var texts []string
	for _, l := range lines {
		texts = append(texts, l.text())
	}
	if got, want := strings.Join(texts, "|"), "a|✓ 3/3|end|"; got != want {
		t.Errorf("the screen shows %q, expected was %q", got, want)
	}
	if lines[1][0].colour != 32 || lines[1][1].colour != 0 {
		t.Errorf("the mark alone was expected to be green: %+v", lines[1])
	}
}

func TestOnlyTheChosenLinesAreDrawn(t *testing.T) {
	var b strings.Builder
	in := "before\n\x1b[1m── one <&>\x1b[0m\n" + strings.Repeat("x", 30) + "\n\n── two\n"
	if err := run(strings.NewReader(in), &b, "── one", "── two", 20); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`<tspan font-weight="bold">── one &lt;&amp;&gt;</tspan>`, strings.Repeat("x", 19) + "…<"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the picture was expected to hold %q:\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "before") || strings.Contains(b.String(), "two") {
		t.Errorf("the picture holds lines that were not chosen:\n%s", b.String())
	}
	if err := run(strings.NewReader(in), &b, "── three", "", 20); err == nil {
		t.Error("a beginning that is nowhere was expected to be an error")
	}
}
