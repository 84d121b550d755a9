package aliyun

import (
	"context"
	"encoding/base64"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	sdkerrors "github.com/aliyun/alibaba-cloud-sdk-go/sdk/errors"
	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

func answered(status int, code, message string) error {
	return sdkerrors.NewServerError(status, `{"RequestId":"R-1","HostId":"ecs.aliyuncs.com","Code":"`+code+`","Message":"`+message+`"}`, "")
}

// The codes and statuses are those of the API reference: "Common error codes",
// RunInstances, StartInstance, StopInstance, DeleteInstance, ModifyInstanceSpec,
// CreateDisk, AttachDisk, DetachDisk, ResizeDisk, DeleteDisk, TagResources, InvokeCommand.
func TestTranslate(t *testing.T) {
	for _, c := range []struct {
		status int
		code   string
		kind   fleet.Kind
	}{
		{400, "Throttling", fleet.Throttled},
		{400, "Throttling.User", fleet.Throttled},
		{400, "Throttling.Api", fleet.Throttled},
		{429, "SomethingNew", fleet.Throttled},
		{503, "ServiceUnavailable", fleet.Unavailable},
		{500, "InternalError", fleet.Unavailable},
		{500, "InternalError.Dispatch", fleet.Unavailable},
		{400, "LastTokenProcessing", fleet.Unavailable},
		{400, "Idempotence.Processing", fleet.Unavailable},
		{502, "ANewServerError", fleet.Unavailable},
		{403, "OperationDenied.NoStock", fleet.OutOfCapacity},
		{400, "Zone.NotOnSale", fleet.OutOfCapacity},
		{403, "InvalidInstanceType.ZoneNotSupported", fleet.OutOfCapacity},
		{403, "InvalidResourceType.NotSupported", fleet.OutOfCapacity},
		{400, "QuotaExceeded.PrivateIpAddress", fleet.OutOfCapacity},
		{403, "QuotaExceed.DeploymentSetInstanceQuotaFull", fleet.OutOfCapacity},
		{403, "IncorrectInstanceStatus", fleet.Conflict},
		{403, "IncorrectInstanceStatus.Initializing", fleet.Conflict},
		{403, "IncorrectDiskStatus", fleet.Conflict},
		{403, "DiskError", fleet.Conflict},
		{403, "OperationConflict", fleet.Conflict},
		{403, "Operation.Conflict", fleet.Conflict},
		{403, "DiskStillAttached", fleet.Conflict},
		{403, "DiskCreatingSnapshot", fleet.Conflict},
		{403, "IncorrectDiskStatus.CreatingSnapshot", fleet.Conflict},
		{403, "IncorrectDiskStatus.NeverAttached", fleet.Conflict},
		{403, "InvalidSnapshot.NotReady", fleet.Conflict},
		{403, "SnapshotCreatedImage", fleet.Conflict},
		{403, "QuotaExceed.Snapshot", fleet.Denied},
		{403, "InvalidDiskSize.TooSmall", fleet.Invalid},
		{404, "InvalidSnapshotId.NotFound", fleet.NotFound},
		{404, "InvalidDisk.InUse", fleet.Conflict},
		{400, "IdempotentParameterMismatch", fleet.Invalid},
		{400, "IdempotenceParamNotMatch", fleet.Invalid},
		{403, "ResourcesNotInSameZone", fleet.Invalid},
		{400, "InvalidInstanceType.ValueNotSupported", fleet.Invalid},
		{404, "InvalidVSwitchId.NotFound", fleet.Invalid},
		{404, "InvalidImageId.NotFound", fleet.Invalid},
		{404, "InvalidZoneId.NotFound", fleet.Invalid},
		{403, "InvalidDiskSize.TooSmall", fleet.Invalid},
		{403, "CmdContent.ExceedLimit", fleet.Invalid},
		{400, "MissingParameter", fleet.Invalid},
		{400, "ANewClientError", fleet.Invalid},
		{404, "InvalidInstanceId.NotFound", fleet.NotFound},
		{404, "InvalidInstance.NotFound", fleet.NotFound},
		{404, "InvalidDiskId.NotFound", fleet.NotFound},
		{404, "InvalidResourceId.NotFound", fleet.NotFound},
		{403, "InstanceLockedForSecurity", fleet.Denied},
		{403, "InsufficientBalance", fleet.Denied},
		{403, "InvalidAccountStatus.NotEnoughBalance", fleet.Denied},
		{400, "Account.Arrearage", fleet.Denied},
		{400, "QuotaExceed.AfterpayInstance", fleet.Denied},
		{403, "QuotaExceed.ElasticQuota", fleet.Denied},
		{403, "Forbidden.RAM", fleet.Denied},
		{403, "InvalidOperation.DeletionProtection", fleet.Denied},
		{400, "SignatureDoesNotMatch", fleet.Denied},
		{404, "InvalidAccessKeyId.NotFound", fleet.Denied},
	} {
		err := translate("host m1", answered(c.status, c.code, "Words."))
		require.Equal(t, c.kind, fleet.KindOf(err), c.code)
		require.ErrorContains(t, err, "("+c.code+")")
		var r *Refusal
		require.ErrorAs(t, err, &r)
		require.Equal(t, Refusal{c.code, c.status, "R-1"}, *r)
	}
	require.NoError(t, translate("host m1", nil))
	for _, cause := range []error{context.Canceled, context.DeadlineExceeded} {
		err := translate("host m1", &url.Error{Op: "Post", URL: "https://ecs/?Signature=x", Err: cause})
		require.Equal(t, fleet.Unavailable, fleet.KindOf(err))
		require.ErrorIs(t, err, cause)
		require.NotContains(t, err.Error(), "Signature")
	}
	err := translate("host m1", &url.Error{Op: "Post", URL: "https://ecs/?Signature=x", Err: errors.New("connection refused")})
	require.Equal(t, fleet.Unavailable, fleet.KindOf(err))
	require.Equal(t, "host m1: Alibaba Cloud gave no answer: connection refused", err.Error())
}

func TestTranslateWords(t *testing.T) {
	require.Equal(t, "host m1: The requested resource is sold out in the specified zone (OperationDenied.NoStock); choose another zone or machine type",
		translate("host m1", answered(403, "OperationDenied.NoStock", "The requested resource is sold out in the specified zone.")).Error())
	throttled := answered(400, "Throttling", "").(*sdkerrors.ServerError) //nolint:errorlint,forcetypeassert // made here
	throttled.RespHeaders = map[string][]string{"Retry-After": {"7"}}
	var e *fleet.Error
	require.ErrorAs(t, translate("x", throttled), &e)
	require.Equal(t, 7*time.Second, e.RetryAfter)
}

// The statuses are those of InvocationStatus in DescribeInvocationResults.
func TestCommandStates(t *testing.T) {
	for _, c := range []struct {
		status, code string
		state        iaas.CommandState
	}{
		{"Pending", "", iaas.CommandRunning},
		{"Scheduled", "", iaas.CommandRunning},
		{"Running", "", iaas.CommandRunning},
		{"Stopping", "", iaas.CommandRunning},
		{"Success", "", iaas.CommandSucceeded},
		{"Failed", "ExitCodeNonzero", iaas.CommandFailed},
		{"Failed", "", iaas.CommandFailed},
		{"Failed", "InstanceReleased", iaas.CommandLost},
		{"Timeout", "ExecutionTimeout", iaas.CommandTimedOut},
		{"Timeout", "DeliveryTimeout", iaas.CommandLost},
		{"Aborted", "ClientNotRunning", iaas.CommandLost},
		{"Invalid", "InstanceNotRunning", iaas.CommandLost},
		{"Error", "ExecutionException", iaas.CommandLost},
		{"Cancelled", "", iaas.CommandLost},
		{"Terminated", "", iaas.CommandLost},
		{"SomethingNew", "", iaas.CommandLost},
	} {
		require.Equal(t, c.state, stateOf(c.status, c.code), "%s, %s", c.status, c.code)
	}
}

// The longest script fits into what RunCommand takes, and what it prints fits into what
// Cloud Assistant keeps, also if that is counted in base64.
func TestLimitsOfCommands(t *testing.T) {
	content := base64.StdEncoding.EncodeToString([]byte(wrapped(strings.Repeat("x", iaas.MaxScript))))
	require.LessOrEqual(t, len(content), maxContent)
	require.LessOrEqual(t, base64.StdEncoding.EncodedLen(len(mark)+10+shownStdout+shownStderr), 24<<10)
	for text, want := range map[string][2]string{
		mark + " 3\nout":          {"out", ""},
		mark + " 3\nouterr":       {"out", "err"},
		mark + " 0\nerr":          {"", "err"},
		mark + " 9\nout":          {"out", ""}, // cut on the way
		mark + " 6\na\nb\n\nc\nd": {"a\nb\n\nc", "\nd"},
		mark + " -1\nx":           {mark + " -1\nx", ""},
		"killed":                  {"killed", ""},
		"":                        {"", ""},
	} {
		out, err := split(text)
		require.Equal(t, want, [2]string{out, err}, "%q", text)
	}
}

func TestCategories(t *testing.T) {
	for text, want := range map[string][2]string{
		"cloud_essd": {"cloud_essd", "PL1"}, "cloud_essd:PL0": {"cloud_essd", "PL0"}, "cloud_essd:PL3": {"cloud_essd", "PL3"},
		"cloud_efficiency": {"cloud_efficiency", ""}, "cloud_auto": {"cloud_auto", ""},
	} {
		category, level, err := parseCategory(text)
		require.NoError(t, err)
		require.Equal(t, want, [2]string{category, level})
		require.Equal(t, text, categoryOf(category, level), "and back")
	}
	for _, text := range []string{"", "gp3", "cloud_essd:PL1", "cloud_essd:PL4", "cloud_ssd:PL0", "cloud_essd:"} {
		_, _, err := parseCategory(text)
		require.Equal(t, fleet.Invalid, fleet.KindOf(err), text)
	}
}

func TestShownNames(t *testing.T) {
	for name, want := range map[string]string{
		"orders-1": "orders-1", "7f-m1": "flotilla-7f-m1", "": "flotilla-", "x": "flotilla-x", "a b/c": "a-b-c",
		strings.Repeat("x", 200): strings.Repeat("x", 128),
	} {
		require.Equal(t, want, shown(name))
	}
}

func TestConfigRefused(t *testing.T) {
	whole := Config{
		Region: "cn-hangzhou", VSwitches: map[string]string{"a": "vsw-1"}, Image: "m-1", SecurityGroups: []string{"sg-1"},
	}
	p, err := Open(whole)
	require.NoError(t, err)
	require.Equal(t, "https ecs.cn-hangzhou.aliyuncs.com", p.scheme+" "+p.host)
	for _, endpoint := range []string{"https://ecs-vpc.cn-hangzhou.aliyuncs.com", "http://127.0.0.1:8080", "http://[::1]:8080/"} {
		require.Empty(t, checkEndpoint(endpoint), endpoint)
	}
	for name, change := range map[string]func(*Config){
		"region":          func(c *Config) { c.Region = "x/y" },
		"vSwitches":       func(c *Config) { c.VSwitches = nil },
		"is not the ID":   func(c *Config) { c.VSwitches = map[string]string{"a": "x"} },
		"image":           func(c *Config) { c.Image = "" },
		"securityGroups":  func(c *Config) { c.SecurityGroups = nil },
		"categories":      func(c *Config) { c.Categories = []string{"gp3"} },
		"must be https":   func(c *Config) { c.Endpoint = "http://ecs.cn-hangzhou.aliyuncs.com" },
		"must be https (": func(c *Config) { c.Endpoint = "http://localhost:80" },
		"like https":      func(c *Config) { c.Endpoint = "ecs.cn-hangzhou.aliyuncs.com" },
		"like https:":     func(c *Config) { c.Endpoint = "https://user:secret@ecs" },
	} {
		c := whole
		change(&c)
		_, err := Open(c)
		require.Equal(t, fleet.Invalid, fleet.KindOf(err), name)
		require.ErrorContains(t, err, name)
		require.NotContains(t, err.Error(), "secret")
	}
}
