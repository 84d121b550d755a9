package service

import "time"

// Moment is a point in time by a clock of this machine that nobody sets, so that
// two of them can be compared whatever happened to the time of day in between.
type Moment struct {
	// Boot tells the machine's boots apart; empty where the platform does not.
	Boot string `json:"boot,omitempty"`
	// After is how long after the boot.
	After time.Duration `json:"after"`
}

// IsZero says that the moment is not known.
func (m Moment) IsZero() bool { return m == Moment{} }

// Until is the time from m to a later moment of the same boot; zero if it is not
// later, or of another boot.
func (m Moment) Until(later Moment) time.Duration {
	if m.IsZero() || m.Boot != later.Boot {
		return 0
	}
	return max(0, later.After-m.After)
}

// began gives the moment at which a live process began; the zero moment when there
// is none.
func began(pid int) Moment {
	if pid <= 0 {
		return Moment{}
	}
	m, err := processBegan(pid)
	if err != nil {
		return Moment{}
	}
	return m
}
