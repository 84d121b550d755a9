package fleet

import (
	"fmt"
	"time"
)

// PointInTime is when a backup is to be of, where that is not now: at a revision, or at a
// time. Such a one is made of an earlier backup and the changes recorded since.
type PointInTime struct {
	Revision int64     `json:"revision,omitempty"`
	Time     time.Time `json:"time,omitzero"`
}

// String says it for a person, as in "revision 4711".
func (p PointInTime) String() string {
	if p.Revision != 0 {
		return fmt.Sprintf("revision %d", p.Revision)
	}
	return p.Time.UTC().Format(time.RFC3339Nano)
}

// Check says what is wrong with it. Errors: Invalid.
func (p PointInTime) Check() error {
	switch {
	case (p.Revision == 0) == p.Time.IsZero():
		return Errorf(Invalid, "request", "options.at takes a revision or a time, one of them")
	case p.Revision < 0:
		return Errorf(Invalid, "request", "options.at: there is no revision %d", p.Revision)
	}
	return nil
}

func (p *PointInTime) equal(other *PointInTime) bool {
	if p == nil || other == nil {
		return p == other
	}
	return p.Revision == other.Revision && p.Time.Equal(other.Time)
}
