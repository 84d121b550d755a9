package workflows

import (
	"errors"
	"fmt"

	"go.temporal.io/sdk/temporal"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// asError gives the fleet.Error that an activity or child failed with.
func asError(err error) *fleet.Error {
	var application *temporal.ApplicationError
	if errors.As(err, &application) {
		return &fleet.Error{Kind: kindOf(application), Message: application.Message()}
	}
	var timeout *temporal.TimeoutError
	if errors.As(err, &timeout) {
		message := fmt.Sprintf("no end within its time (%s)", timeout.TimeoutType())
		if cause := timeout.Unwrap(); cause != nil {
			message += "; the last try: " + asError(cause).Error()
		}
		return &fleet.Error{Kind: fleet.Unavailable, Message: message}
	}
	var terminated *temporal.TerminatedError
	var twin *temporal.ChildWorkflowExecutionAlreadyStartedError
	var own *fleet.Error
	switch {
	case errors.As(err, &terminated):
		return &fleet.Error{Kind: fleet.Unavailable, Message: "its workflow was terminated from outside"}
	case errors.As(err, &twin):
		return &fleet.Error{Kind: fleet.Conflict, Message: "a workflow of that ID runs already; when it has ended, ask again"}
	case errors.As(err, &own):
		return own
	}
	return &fleet.Error{Kind: fleet.Unavailable, Message: err.Error()}
}

// kindOf gives the kind of an error that crossed Temporal. What is not ours (a
// panic, a result that cannot be read) tells nothing about the world.
func kindOf(err *temporal.ApplicationError) fleet.Kind {
	switch kind := fleet.Kind(err.Type()); kind {
	case fleet.Invalid, fleet.NotFound, fleet.Conflict, fleet.Throttled, fleet.OutOfCapacity,
		fleet.Unavailable, fleet.Lost, fleet.Denied, fleet.Blocked:
		return kind
	}
	return fleet.Unavailable
}

func orBlocked(kind fleet.Kind) fleet.Kind {
	if kind == "" {
		return fleet.Blocked
	}
	return kind
}
