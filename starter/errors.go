package starter

import (
	"context"
	"errors"
	"slices"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/flotilla-etcd/flotilla/fleet"
)

var kinds = []fleet.Kind{
	fleet.Invalid, fleet.NotFound, fleet.Conflict, fleet.Throttled, fleet.OutOfCapacity,
	fleet.Unavailable, fleet.Lost, fleet.Denied, fleet.Blocked,
}

// explain turns what Temporal returns into a fleet.Error about a resource. What a
// workflow said keeps its own sentence; only errors of the service itself are worded
// here. A cancelled context stays what it is.
func (c *Client) explain(err error, resource string) error {
	var known *fleet.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	if said := saidByWorkflow(err); said != nil {
		return said
	}
	if errors.Is(err, context.Canceled) && status.Code(err) != codes.Unavailable {
		return err
	}
	return mapService(err, resource, c.origin.Address)
}

// saidByWorkflow gives the error that a workflow or activity of ours made: its type
// is the kind, its message the sentence. It gives nil if there is none.
func saidByWorkflow(err error) error {
	var app *temporal.ApplicationError
	if errors.As(err, &app) {
		e := &fleet.Error{Message: app.Message(), RetryAfter: app.NextRetryDelay(), Err: err}
		if kind := fleet.Kind(app.Type()); slices.Contains(kinds, kind) {
			e.Kind = kind
		}
		return e
	}
	var timeout *temporal.TimeoutError
	var terminated *temporal.TerminatedError
	var cancelled *temporal.CanceledError
	switch {
	case errors.As(err, &cancelled):
		return &fleet.Error{Kind: fleet.Conflict, Message: "it was cancelled", Err: err}
	case errors.As(err, &terminated):
		return &fleet.Error{Kind: fleet.Lost, Message: "its workflow was terminated from outside", Err: err}
	case errors.As(err, &timeout):
		return &fleet.Error{Kind: fleet.Unavailable, Message: "it ran out of time", Err: err}
	}
	return nil
}

// mapService maps an error of the Temporal service. where is its address.
func mapService(err error, resource string, where ...string) error {
	service := "Temporal"
	if len(where) > 0 {
		service += " at " + where[0]
	}
	var (
		noNamespace *serviceerror.NamespaceNotFound
		notFound    *serviceerror.NotFound
		denied      *serviceerror.PermissionDenied
		invalid     *serviceerror.InvalidArgument
		exhausted   *serviceerror.ResourceExhausted
		queryFailed *serviceerror.QueryFailed
		updateLost  *client.WorkflowUpdateServiceTimeoutOrCanceledError
	)
	switch {
	case errors.As(err, &noNamespace):
		return fleet.Errorf(fleet.Invalid, "namespace "+noNamespace.Namespace, "%s has no such namespace: %w", service, err).
			WithRemedy("name another with --namespace or TEMPORAL_NAMESPACE")
	case errors.As(err, &notFound):
		return &fleet.Error{Kind: fleet.NotFound, Message: resource + " does not exist", Err: err,
			Remedy: "flotilla get clusters shows what does"}
	case errors.As(err, &denied), status.Code(err) == codes.Unauthenticated:
		return fleet.Errorf(fleet.Denied, service, "did not let us in: %w", err).
			WithRemedy("check the API key or client certificate")
	case errors.As(err, &exhausted):
		return fleet.Errorf(fleet.Throttled, service, "is asked too often: %w", err).WithRemedy("try again in a moment")
	case errors.As(err, &queryFailed), errors.As(err, &invalid):
		return fleet.Errorf(fleet.Lost, resource, "%w", err).
			WithRemedy("client and workers may be of different versions: flotilla version shows this one's")
	case errors.As(err, &updateLost), errors.Is(err, context.DeadlineExceeded), isServiceError[*serviceerror.DeadlineExceeded](err):
		return fleet.Errorf(fleet.Unavailable, resource, "%s did not answer in time: %w", service, err).
			WithRemedy("check that a worker runs there, and try again: the same --request-id is never done twice")
	}
	return fleet.Errorf(fleet.Unavailable, resource, "%s failed to answer: %w", service, err).WithRemedy("try again in a moment")
}

func isServiceError[T error](err error) bool {
	var target T
	return errors.As(err, &target)
}
