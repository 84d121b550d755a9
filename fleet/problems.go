package fleet

import (
	"fmt"
	"strings"
)

// Problem is one thing that is wrong with a document.
type Problem struct {
	// Path is the field, as in machine.disk.size.
	Path string `json:"path"`
	// Line is where it stands, from 1; 0 where that is not known.
	Line int `json:"line,omitempty"`
	// Message says why, and what would be right.
	Message string `json:"message"`
}

// String gives "machine.disk.size: 20 needs a unit, as in 20GiB".
func (p Problem) String() string {
	if p.Path == "" {
		return p.Message
	}
	return p.Path + ": " + p.Message
}

// Problems are all the things that are wrong, at once, in the order of the document.
type Problems []Problem

// Error gives every problem, one a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Err gives the problems as an Error of kind Invalid about a resource, or nil if
// there are none.
func (ps Problems) Err(resource string) error {
	switch len(ps) {
	case 0:
		return nil
	case 1:
		return &Error{Kind: Invalid, Resource: resource, Message: ps[0].String(), Err: ps}
	}
	return &Error{Kind: Invalid, Resource: resource, Message: fmt.Sprintf("%d problems:\n  %s", len(ps),
		strings.ReplaceAll(ps.Error(), "\n", "\n  ")), Err: ps}
}

func (ps *Problems) add(path, format string, args ...any) {
	*ps = append(*ps, Problem{Path: path, Message: fmt.Sprintf(format, args...)})
}
