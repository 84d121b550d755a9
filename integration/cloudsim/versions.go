package cloudsim

import "time"

// seen is a value as it is and as it is seen: each change shows a while after it
// happened, and in the order in which it happened.
type seen[T any] struct {
	now     T
	history []version[T] // the last that is visible, and those that are not yet
}

type version[T any] struct {
	value T
	from  time.Time
}

// set changes the value; the change is seen from a moment on.
func (s *seen[T]) set(value T, from time.Time) {
	s.now = value
	if n := len(s.history); n > 0 && s.history[n-1].from.After(from) {
		from = s.history[n-1].from
	}
	s.history = append(s.history, version[T]{value, from})
	s.visible(time.Now())
}

// visible gives the value as it is seen at a time; false: not at all yet.
func (s *seen[T]) visible(at time.Time) (T, bool) {
	last := -1
	for i, v := range s.history {
		if !v.from.After(at) {
			last = i
		}
	}
	if last < 0 {
		var zero T
		return zero, false
	}
	s.history = s.history[last:]
	return s.history[0].value, true
}
