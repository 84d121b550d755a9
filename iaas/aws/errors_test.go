package aws

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	smithy "github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/stretchr/testify/require"

	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

// answered is an error as the SDK gives it: an operation's, a response's, an API's.
func answered(status int, code, message string, header http.Header) error {
	return &smithy.OperationError{ServiceID: "EC2", OperationName: "RunInstances", Err: &smithyhttp.ResponseError{
		Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status, Header: header}},
		Err:      &smithy.GenericAPIError{Code: code, Message: message},
	}}
}

// The codes and statuses are those of "Error codes for the Amazon EC2 API" and of SSM's
// API reference.
func TestTranslate(t *testing.T) {
	for _, c := range []struct {
		status int
		code   string
		kind   fleet.Kind
	}{
		{503, "RequestLimitExceeded", fleet.Throttled},
		{400, "ThrottlingException", fleet.Throttled},
		{429, "SomethingNew", fleet.Throttled},
		{500, "InsufficientInstanceCapacity", fleet.OutOfCapacity},
		{400, "Unsupported", fleet.OutOfCapacity},
		{400, "InsufficientFreeAddressesInSubnet", fleet.OutOfCapacity},
		{403, "UnauthorizedOperation", fleet.Denied},
		{401, "AuthFailure", fleet.Denied},
		{400, "AccessDeniedException", fleet.Denied},
		{400, "ExpiredTokenException", fleet.Denied},
		{400, "VcpuLimitExceeded", fleet.Denied},
		{400, "VolumeModificationRateExceeded", fleet.Denied},
		{400, "InvalidInstanceID.NotFound", fleet.NotFound},
		{400, "InvalidVolume.NotFound", fleet.NotFound},
		{400, "InvocationDoesNotExist", fleet.NotFound},
		{400, "InvalidSubnetID.NotFound", fleet.Invalid},
		{400, "InvalidAMIID.NotFound", fleet.Invalid},
		{400, "InvalidZone.NotFound", fleet.Invalid},
		{400, "IncorrectInstanceState", fleet.Conflict},
		{400, "IncorrectState", fleet.Conflict},
		{400, "VolumeInUse", fleet.Conflict},
		{400, "IncorrectModificationState", fleet.Conflict},
		{400, "InvalidSnapshot.NotFound", fleet.NotFound},
		{400, "InvalidSnapshot.InUse", fleet.Conflict},
		{400, "ConcurrentSnapshotLimitExceeded", fleet.Conflict},
		{400, "SnapshotCreationPerVolumeRateExceeded", fleet.Conflict},
		{400, "SnapshotLimitExceeded", fleet.Denied},
		{400, "PendingSnapshotLimitExceeded", fleet.Denied},
		{400, "IdempotentParameterMismatch", fleet.Invalid},
		{400, "InvalidParameterValue", fleet.Invalid},
		{400, "InvalidVolume.ZoneMismatch", fleet.Invalid},
		{400, "UnknownVolumeType", fleet.Invalid},
		{400, "ANewClientError", fleet.Invalid},
		{500, "InternalError", fleet.Unavailable},
		{503, "Unavailable", fleet.Unavailable},
		{502, "ANewServerError", fleet.Unavailable},
	} {
		err := translate("host m1", answered(c.status, c.code, "Words.", nil))
		require.Equal(t, c.kind, fleet.KindOf(err), c.code)
		require.Contains(t, err.Error(), "host m1: Words ("+c.code+")")
	}
	require.NoError(t, translate("host m1", nil))
	for _, cause := range []error{context.Canceled, context.DeadlineExceeded} {
		err := translate("host m1", &smithy.OperationError{Err: fmt.Errorf("request: %w", cause)})
		require.Equal(t, fleet.Unavailable, fleet.KindOf(err))
		require.ErrorIs(t, err, cause)
	}
	err := translate("host m1", &smithy.OperationError{Err: errors.New("connection refused")})
	require.Equal(t, fleet.Unavailable, fleet.KindOf(err))
}

func TestTranslateWords(t *testing.T) {
	err := translate("host m1", answered(403, "UnauthorizedOperation",
		"You are not authorized to perform this operation. Encoded authorization failure message: AbCdEf0123", nil))
	require.Equal(t, "host m1: You are not authorized to perform this operation (UnauthorizedOperation); "+
		"give the worker's role the permission (docs/providers/aws.md has the policy)", err.Error())
	var e *fleet.Error
	require.ErrorAs(t, translate("x", answered(503, "RequestLimitExceeded", "", http.Header{"Retry-After": {"7"}})), &e)
	require.Equal(t, 7*time.Second, e.RetryAfter)
}

// The statuses are those of "Understanding command statuses" in the SSM user guide.
func TestCommandStates(t *testing.T) {
	for _, c := range []struct {
		status  types.CommandInvocationStatus
		details string
		code    int32
		state   iaas.CommandState
	}{
		{types.CommandInvocationStatusPending, "Pending", -1, iaas.CommandRunning},
		{types.CommandInvocationStatusInProgress, "InProgress", -1, iaas.CommandRunning},
		{types.CommandInvocationStatusDelayed, "Delayed", -1, iaas.CommandRunning},
		{types.CommandInvocationStatusSuccess, "Success", 0, iaas.CommandSucceeded},
		{types.CommandInvocationStatusFailed, "Failed", 3, iaas.CommandFailed},
		{types.CommandInvocationStatusFailed, "Failed", -1, iaas.CommandLost},
		{types.CommandInvocationStatusTimedOut, "ExecutionTimedOut", -1, iaas.CommandTimedOut},
		{types.CommandInvocationStatusTimedOut, "Execution Timed Out", -1, iaas.CommandTimedOut},
		{types.CommandInvocationStatusTimedOut, "Delivery Timed Out", -1, iaas.CommandLost},
		{types.CommandInvocationStatusCancelled, "Cancelled", -1, iaas.CommandLost},
		{"SomethingNew", "", -1, iaas.CommandLost},
	} {
		require.Equal(t, c.state, stateOf(c.status, c.details, c.code), "%s, %s", c.status, c.details)
	}
}

func TestConfigRefused(t *testing.T) {
	whole := Config{
		Region: "r", Subnets: map[string]string{"a": "subnet-1"}, Image: "ami-1", SecurityGroups: []string{"sg-1"}, InstanceProfile: "p",
	}
	_, err := Open(t.Context(), whole)
	require.NoError(t, err)
	for name, change := range map[string]func(*Config){
		"region":          func(c *Config) { c.Region = "" },
		"subnets":         func(c *Config) { c.Subnets = nil },
		"is not the ID":   func(c *Config) { c.Subnets = map[string]string{"a": "x"} },
		"image":           func(c *Config) { c.Image = "" },
		"securityGroups":  func(c *Config) { c.SecurityGroups = nil },
		"instanceProfile": func(c *Config) { c.InstanceProfile = "" },
	} {
		c := whole
		change(&c)
		_, err := Open(t.Context(), c)
		require.Equal(t, fleet.Invalid, fleet.KindOf(err), name)
		require.ErrorContains(t, err, name)
	}
}
