package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// begun numbers the activities of each kind of an operation in the order in which they
// first began. A worker that takes over reads from a file what those before it began, so
// that it goes on counting, and a second attempt has the number of the first.
type begun struct {
	activities map[string][]string // IDs, by operation and kind
	file       *os.File            // lines "<operation and kind> <ID>"; nil if nobody takes over
}

func openBegun(path string) (*begun, error) {
	b := &begun{activities: map[string][]string{}}
	if path == "" {
		return b, nil
	}
	text, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		of, id, _ := strings.Cut(strings.TrimSpace(line), " ")
		b.activities[of] = append(b.activities[of], id)
	}
	b.file, err = os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	return b, err
}

// number gives the number of an activity, from 1.
func (b *begun) number(of, id string) (int, error) {
	if i := slices.Index(b.activities[of], id); i >= 0 {
		return i + 1, nil
	}
	b.activities[of] = append(b.activities[of], id)
	if b.file != nil {
		if _, err := fmt.Fprintln(b.file, of, id); err != nil {
			return 0, err
		}
	}
	return len(b.activities[of]), nil
}
