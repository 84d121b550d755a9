package etcdadmin

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// explain gives an error of the client library its kind. etcd's own errors are
// in api/v3rpc/rpctypes; what they leave open is decided by gRPC's code.
func explain(resource string, err error) error {
	var known *fleet.Error
	if errors.As(err, &known) {
		return known
	}
	text := plain(err)
	of := func(kind fleet.Kind, words string) *fleet.Error {
		return &fleet.Error{Kind: kind, Resource: resource, Message: words + text, Err: err}
	}
	switch {
	case errors.Is(err, context.Canceled):
		return of(fleet.Unavailable, "stopped before it was done: ")
	case errors.Is(err, context.DeadlineExceeded):
		return of(fleet.Unavailable, "no answer in time: ")
	case refusedTLS(text):
		return of(fleet.Denied, "the two sides do not trust each other: ").
			WithRemedy("check that both certificates are of this cluster's authority and still valid, and this machine's clock")
	}
	switch {
	case says(err, rpctypes.ErrCorrupt):
		return of(fleet.Lost, "the member's data is corrupt: ").WithRemedy("replace the member")
	case says(err, rpctypes.ErrNoSpace):
		return of(fleet.Denied, "the store is over its quota: ").WithRemedy("compact, defragment and disarm the alarm, or raise the quota")
	case says(err, rpctypes.ErrUnhealthy):
		return of(fleet.Unavailable, "refused for now: ").WithRemedy("it is asked again: members must have been connected to each other for 5 s")
	case says(err, rpctypes.ErrMemberNotEnoughStarted):
		return of(fleet.Conflict, "refused for now: ").WithRemedy("start the members that do not run, or remove one of them first")
	case says(err, errLearner, rpctypes.ErrMemberLearnerNotReady, rpctypes.ErrMemberNotLearner):
		return of(fleet.Conflict, "")
	case says(err, rpctypes.ErrNotCapable):
		return of(fleet.Invalid, "its version cannot do this: ")
	}
	switch status.Code(toStatus(err)) {
	case codes.PermissionDenied, codes.Unauthenticated:
		return of(fleet.Denied, "not allowed: ").WithRemedy("give the control plane's user the role root")
	case codes.InvalidArgument, codes.OutOfRange, codes.Unimplemented:
		return of(fleet.Invalid, "refused: ")
	case codes.NotFound:
		return of(fleet.NotFound, "")
	case codes.FailedPrecondition, codes.AlreadyExists:
		return of(fleet.Conflict, "refused: ")
	case codes.ResourceExhausted:
		return of(fleet.Throttled, "asked too often: ")
	case codes.DataLoss:
		return of(fleet.Lost, "the member's data is corrupt: ").WithRemedy("replace the member")
	}
	return of(fleet.Unavailable, "no answer: ")
}

// errLearner is what a learner says to nearly everything. The library has only
// the server's form of it.
var errLearner = rpctypes.Error(rpctypes.ErrGRPCNotSupportedForLearner)

// says reports whether err is one of these errors of rpctypes, in the client's
// form or still in the server's.
func says(err error, known ...error) bool {
	var e rpctypes.EtcdError
	if !errors.As(rpctypes.Error(err), &e) {
		return false
	}
	for _, k := range known {
		if e.Error() == rpctypes.ErrorDesc(k) {
			return true
		}
	}
	return false
}

// toStatus gives an error that status.Code understands: the library turns what
// it knows into an EtcdError, which has a code but is no status.
func toStatus(err error) error {
	var e rpctypes.EtcdError
	if errors.As(err, &e) {
		return status.Error(e.Code(), e.Error())
	}
	return err
}

// refusedTLS says whether a connection failed because one side refused the
// other's certificate. gRPC has only text for it, and calls it unavailable.
func refusedTLS(text string) bool {
	for _, sign := range []string{"x509: ", "remote error: tls: ", "tls: failed to verify", "tls: first record does not look like a TLS handshake"} {
		if strings.Contains(text, sign) {
			return true
		}
	}
	return false
}

// plain gives an error's text without gRPC's own prefix.
func plain(err error) string {
	if s, ok := status.FromError(err); ok && s.Code() != codes.OK {
		return s.Message()
	}
	return err.Error()
}
