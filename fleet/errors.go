package fleet

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kind says what an error means for whoever has to decide what happens next.
// Providers and etcdadmin map what they get to a Kind; activities map a Kind to
// a retry decision; faces map it to an exit code.
type Kind string

// The kinds of error. There are few on purpose: each stands for one decision.
const (
	// Invalid: the request can never succeed as it is. Stop and say so.
	Invalid Kind = "invalid"
	// NotFound: the resource does not exist, or does not exist yet: clouds are
	// eventually consistent, so right after a create it means "not yet".
	NotFound Kind = "not found"
	// Conflict: the resource is in a state that does not allow this now. Look again.
	Conflict Kind = "conflict"
	// Throttled: asked too often. Later, with the delay that was asked for.
	Throttled Kind = "throttled"
	// OutOfCapacity: none left of this type in this zone. Another zone or type,
	// with a new token.
	OutOfCapacity Kind = "out of capacity"
	// Unavailable: no answer, or a passing fault. The same again; never "dead".
	Unavailable Kind = "unavailable"
	// Lost: what was there is gone and will not come back by itself.
	Lost Kind = "lost"
	// Denied: not allowed, not paid for, over quota. Stop and tell a person.
	Denied Kind = "denied"
	// Blocked: refused because it would break a safety rule. Stop and say which.
	Blocked Kind = "blocked"
)

// Error is the one error type that crosses package borders. Its text is one
// sentence for a person: what failed, on which resource, and what they can do.
type Error struct {
	Kind Kind
	// Resource names what failed, as a person knows it: "host orders-2".
	Resource string
	// Message is the cause, without the resource and without a full stop.
	Message string
	// Remedy is what the user can do about it. May be empty.
	Remedy string
	// RetryAfter is how long the other side asked us to wait; zero if it did not.
	RetryAfter time.Duration
	// Err is what was underneath. May be nil.
	Err error
}

// Error gives "resource: message; remedy".
func (e *Error) Error() string {
	var b strings.Builder
	if e.Resource != "" {
		b.WriteString(e.Resource)
		b.WriteString(": ")
	}
	b.WriteString(e.Message)
	if e.Remedy != "" {
		b.WriteString("; ")
		b.WriteString(e.Remedy)
	}
	return b.String()
}

// Unwrap gives the error underneath, so that errors.Is and errors.As see it.
func (e *Error) Unwrap() error { return e.Err }

// WithRemedy returns a copy of e that tells the user what to do.
func (e *Error) WithRemedy(format string, args ...any) *Error {
	c := *e
	c.Remedy = fmt.Sprintf(format, args...)
	return &c
}

// WithRetryAfter returns a copy of e that asks to be retried no sooner than d from now.
func (e *Error) WithRetryAfter(d time.Duration) *Error {
	c := *e
	c.RetryAfter = d
	return &c
}

// Errorf makes an Error of a kind about a resource. What each %w in format stands for
// is kept underneath.
func Errorf(kind Kind, resource, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	e := &Error{Kind: kind, Resource: resource, Message: err.Error(), Err: errors.Unwrap(err)}
	if _, several := err.(interface{ Unwrap() []error }); several {
		e.Err = err
	}
	return e
}

// KindOf gives the kind of the first Error in err's chain, or "" if there is none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return ""
}

// Is reports whether err is an Error of this kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }
