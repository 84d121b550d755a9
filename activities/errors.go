package activities

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// final are the kinds that trying the same again cannot mend. The planner is
// told of them and says what follows: another zone, or the end.
var final = map[fleet.Kind]bool{
	fleet.Invalid: true, fleet.Denied: true, fleet.Blocked: true,
	fleet.Lost: true, fleet.OutOfCapacity: true,
}

// expected are the kinds that a healthy fleet sees every day: they stay out of
// error logs and metrics.
var expected = map[fleet.Kind]bool{
	fleet.Throttled: true, fleet.Conflict: true, fleet.NotFound: true,
	fleet.OutOfCapacity: true, fleet.Unavailable: true,
}

// decide maps an error to Temporal's terms: its type is the kind, its message
// the sentence for a person, and the kind says whether it is worth another try.
func decide(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err // a cancelled activity must say so as it is
	}
	kind := fleet.KindOf(err)
	if kind == "" {
		kind = fleet.Unavailable
	}
	options := temporal.ApplicationErrorOptions{NonRetryable: final[kind]}
	if expected[kind] {
		options.Category = temporal.ApplicationErrorCategoryBenign
	}
	options.NextRetryDelay = retryAfter(err)
	return temporal.NewApplicationErrorWithOptions(err.Error(), string(kind), options)
}

// reply gives an activity's results with its error decided.
func reply[T any](value T, err error) (T, error) { return value, decide(err) }

// answer is reply for what a person waits to be told: that something is not there is the
// answer, and another try would say the same.
func answer[T any](value T, err error) (T, error) {
	err = decide(err)
	var said *temporal.ApplicationError
	if errors.As(err, &said) && said.Type() == string(fleet.NotFound) {
		err = temporal.NewApplicationErrorWithOptions(said.Message(), said.Type(), temporal.ApplicationErrorOptions{
			NonRetryable: true, Category: said.Category(),
		})
	}
	return value, err
}

// note gives a step's reply with its error decided.
func note(text string, err error) (fleet.StepReply, error) {
	return reply(fleet.StepReply{Note: text}, err)
}

// retryAfter is how long the other side asked to wait, or zero.
func retryAfter(err error) time.Duration {
	var e *fleet.Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}
