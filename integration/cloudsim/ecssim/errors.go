package ecssim

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
)

// fault is an error as ECS answers with one.
type fault struct {
	code       string
	status     int
	message    string
	retryAfter string
}

func (e *fault) Error() string { return e.code + ": " + e.message }

func faultf(status int, code, format string, args ...any) *fault {
	return &fault{code: code, status: status, message: fmt.Sprintf(format, args...)}
}

func (e *fault) reply() cloudsim.Reply {
	reply := render(e.status, map[string]any{
		"HostId": "ecs.aliyuncs.com", "Code": e.code, "Message": e.message,
		"Recommend": "https://api.aliyun.com/troubleshoot?q=" + e.code + "&product=Ecs",
	})
	if e.retryAfter != "" {
		reply.Header = map[string]string{"Retry-After": e.retryAfter}
	}
	return reply
}

func writeFault(rw http.ResponseWriter, e *fault) {
	reply := e.reply()
	rw.Header().Set("Content-Type", reply.ContentType)
	rw.WriteHeader(reply.Status)
	_, _ = rw.Write(reply.Body) // the caller is gone if this fails
}

type answer struct {
	status        int
	code, message string
}

// answers are what the reference's pages have for a refusal; those of an action go
// before those of all.
var answers = map[cloudsim.Code]answer{
	cloudsim.NoInstance:    {404, "InvalidInstanceId.NotFound", "The specified InstanceId does not exist."},
	cloudsim.NoDisk:        {404, "InvalidDiskId.NotFound", "The specified disk does not exist."},
	cloudsim.NoSnapshot:    {404, "InvalidSnapshotId.NotFound", "The specified SnapshotId does not exist."},
	cloudsim.SnapshotState: {403, "InvalidSnapshot.NotReady", "The specified snapshot creation is not completed yet."},
	cloudsim.SnapshotUsed:  {403, "SnapshotCreatedDisk", "The snapshot has been used to create disk(s)."},
	cloudsim.Snapshotting:  {403, "IncorrectDiskStatus.CreatingSnapshot", "A previous snapshot creation is in process."},
	cloudsim.TooSmall:      {403, "InvalidDiskSize.TooSmall", "Specified disk size is less than the size of snapshot."},
	cloudsim.NoZone:        {404, "InvalidZoneId.NotFound", "The specified zone does not exist."},
	cloudsim.NoType:        {400, "InvalidInstanceType.ValueNotSupported", "The specified InstanceType does not exist or beyond the permitted range."},
	cloudsim.NotSold:       {403, "InvalidInstanceType.ZoneNotSupported", "The specified zone does not support this instancetype."},
	cloudsim.NoImage:       {404, "InvalidImageId.NotFound", "The specified ImageId does not exist."},
	cloudsim.NoSubnet:      {404, "InvalidVSwitchId.NotFound", "Specified virtual switch does not exist."},
	cloudsim.NoGroup:       {404, "InvalidSecurityGroupId.NotFound", "The specified SecurityGroupId does not exist."},
	cloudsim.NoPlacement:   {404, "DeploymentSet.NotFound", "The specified deployment set does not exist."},
	cloudsim.NoProfile:     {404, "InvalidRamRole.NotFound", `The specified parameter "RAMRoleName" does not exist.`},
	cloudsim.NoKey:         {404, "InvalidParameter.KMSKeyId.NotFound", "The specified KMSKeyId does not exist."},
	cloudsim.NoCategory:    {403, "InvalidDataDiskCategory.NotSupported", "Specified disk category is not supported."},
	cloudsim.Mismatched:    {400, "InvalidParameter.Mismatch", "Specified virtual switch is not in the specified zone."},
	cloudsim.BadToken:      {400, "InvalidClientToken.ValueNotSupported", "The ClientToken provided is invalid."},
	cloudsim.TokenReused:   {400, "IdempotentParameterMismatch", "The request is retried with updated parameters."},
	cloudsim.InstanceState: {403, "IncorrectInstanceStatus", "The current status of the resource does not support this operation."},
	cloudsim.DiskState:     {403, "IncorrectDiskStatus", "The current disk status does not support this operation."},
	cloudsim.DiskTaken:     {403, "IncorrectDiskStatus", "The current disk status does not support this operation."},
	cloudsim.DiskFree:      {403, "DependencyViolation", "The specified disk has not been attached on the specified instance."},
	cloudsim.OtherZone:     {403, "ResourcesNotInSameZone", "The specified instance and disk are not in the same zone."},
	cloudsim.BadSize:       {400, "InvalidDiskSize.NotSupported", "The specified parameter size is not valid."},
	cloudsim.BadShape:      {400, "InvalidDiskSizeOrCategory", "The specified disk category or size is invalid."},
	cloudsim.IdleChange:    {403, "OperationDenied", "The type of the disk does not support the operation."},
	cloudsim.Modifying:     {403, "Operation.Conflict", "The operation may conflicts with others."},
	cloudsim.NoStock:       {403, "OperationDenied.NoStock", "The requested resource is sold out in the specified zone; try other types of resources or other regions and zones."},
	cloudsim.PlacementFull: {403, "QuotaExceed.DeploymentSetInstanceQuotaFull", "instance quota in one deployment set exceeded."},
	cloudsim.OverQuota:     {400, "QuotaExceed.AfterpayInstance", "Living afterpay instances quota exceeded."},
	cloudsim.UserDataLong:  {400, "InvalidUserData.SizeExceeded", `The specified parameter "UserData" exceeds the size.`},
	cloudsim.ScriptLong:    {403, "CmdContent.ExceedLimit", "The maximum length of a command is exceeded."},
	cloudsim.AgentAway:     {403, "InvalidStatus.ClientNotRunning", "The Cloud Assistant agent does not run."},
	cloudsim.NotAllowed:    {403, "Forbidden.RAM", "User not authorized to operate on the specified resource, or this API doesn't support RAM."},
	cloudsim.DryRun:        {400, "DryRunOperation", "Request validation has been passed with DryRun flag set."},
	cloudsim.Throttled:     {400, "Throttling.User", "Request was denied due to user flow control."},
	cloudsim.ZoneDown:      {503, "ServiceUnavailable", "The request has failed due to a temporary failure of the server."},
	cloudsim.Failing:       {500, "InternalError", "The request processing has failed due to some unknown error."},
}

var answersOf = map[string]map[cloudsim.Code]answer{
	"ModifyInstanceSpec": {
		cloudsim.NoType:  {400, "InvalidInstanceType.ValueUnauthorized", "The specified InstanceType does not exist or beyond the permitted range."},
		cloudsim.NotSold: {403, "InvalidInstanceType.ValueNotSupported", "The specified zone does not offer the specified instancetype."},
		// The page has no IdempotentParameterMismatch.
		cloudsim.TokenReused: {400, "IdempotenceParamNotMatch", "There is a idempotence signature mismatch between this and last request."},
	},
	"TagResources": {
		cloudsim.NoInstance: {404, "InvalidResourceId.NotFound", "The specified ResourceIds are not found in our records."},
		cloudsim.NoDisk:     {404, "InvalidResourceId.NotFound", "The specified ResourceIds are not found in our records."},
	},
	"CreateSnapshot": {cloudsim.OverQuota: {403, "QuotaExceed.Snapshot", "The snapshot quota exceeds."}},
	"CreateDisk":     {cloudsim.OverQuota: {403, "QuotaExceed.PostPaidDisk", "Living postPaid disks quota exceeded."}},
	"AttachDisk": {
		cloudsim.InstanceState: {400, "IncorrectInstanceStatus", "The current status of the resource does not support this operation."},
		cloudsim.DiskTaken:     {404, "InvalidDisk.InUse", "The specified disk has been occupied."},
	},
	"ResizeDisk":     {cloudsim.BadSize: {403, "InvalidDiskSize.TooSmall", "Specified new disk size is less than the original disk size."}},
	"ModifyDiskSpec": {cloudsim.BadShape: {403, "OperationDenied.PerformanceLevelNotMatch", "The specified PerformanceLevel and disk size do not match."}},
	"DeleteDisk": {
		cloudsim.DiskTaken:    {403, "DiskStillAttached", "The disk is still attached to the disk."},
		cloudsim.Snapshotting: {403, "DiskCreatingSnapshot", "The operation is denied due to a snapshot of the specified disk is not completed yet."},
	},
	"RunCommand":                   {cloudsim.NoInstance: {404, "InvalidInstance.NotFound", "The specified instance does not exist."}},
	"DescribeCloudAssistantStatus": {cloudsim.NoInstance: {404, "InvalidInstance.NotFound", "The specified instance does not exist."}},
}

// faultOf gives a refusal ECS's code, status and words.
func faultOf(name string, r *cloudsim.Refusal) *fault {
	a, ok := answersOf[name][r.Code]
	if !ok {
		a, ok = answers[r.Code]
	}
	if !ok {
		a = answers[cloudsim.Failing]
	}
	if r.Code == cloudsim.Mismatched { // the page has a code for each pair
		switch {
		case strings.HasPrefix(r.Resource, "sg-"):
			a = answer{403, "OperationDenied.InconsistentNetwork", "The specified security group and vswitch are not in the same vpc."}
		case !strings.HasPrefix(r.Resource, "vsw-"):
			a = answer{403, "ImageNotSupportInstanceType", "The specified image does not support the specified InstanceType."}
		}
	}
	e := faultf(a.status, a.code, "%s", a.message)
	if r.RetryAfter > 0 {
		e.retryAfter = strconv.Itoa(int(r.RetryAfter.Seconds()))
	}
	return e
}
