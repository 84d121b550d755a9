package aliyun

import (
	"context"
	stderrors "errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/errors"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas/cloud"
)

// codes says what each error code means for us. They are those of the reference's pages
// of the actions that are called here, and of "Common error codes". What is not here is
// told by the beginning of the code (families), then by its HTTP status.
var codes = map[fleet.Kind][]string{
	fleet.Throttled:   {"Throttling", "ServiceUnavailable.Throttling", "FlowControl"},
	fleet.Unavailable: {"ServiceUnavailable", "InternalError", "LastTokenProcessing", "Idempotence.Processing", "UnknownError", "SDK.JsonUnmarshalError"},
	fleet.OutOfCapacity: {
		"OperationDenied.NoStock", "Zone.NotOnSale", "Zone.NotOpen", "InvalidResourceType.NotSupported", "ResourceNotAvailable",
		"InvalidInstanceType.ZoneNotSupported", "OperationDenied.ZoneSystemCategoryNotMatch", "CategoryNotSupported",
		"NodeControllerUnavailable", "QuotaExceeded.PrivateIpAddress", "InvalidVSwitchId.IpNotEnough", "InstanceType.Offline",
		"QuotaExceed.DeploymentSetInstanceQuotaFull",
	},
	fleet.NotFound: {
		"InvalidInstanceId.NotFound", "InvalidInstance.NotFound", "InvalidDiskId.NotFound", "InvalidDiskId.Released", "InvalidResourceId.NotFound", "PriceNotFound",
		"InvalidSnapshotId.NotFound", "InvalidSnapshot.NotFound",
	},
	fleet.Conflict: {
		"IncorrectInstanceStatus", "IncorrectDiskStatus", "OperationConflict", "Operation.Conflict", "InvalidStatus.ValueNotSupported",
		"InvalidStatus.Upgrading", "InstanceNotReady", "DiskError", "DiskId.StatusNotSupported", "InvalidDisk.InUse",
		"InvalidSnapshot.NotReady", "InvalidSnapshotId.NotReady", "SnapshotCreatedImage", "DiskStillAttached", "DiskCreatingSnapshot", "DependencyViolation", "InvalidDevice.InUse",
	},
	fleet.Denied: {
		"InstanceLockedForSecurity", "InsufficientBalance", "InvalidAccountStatus.NotEnoughBalance", "InstanceExpired",
		"InstanceExpiredOrInArrears", "DiskInArrears", "Account.Arrearage", "SecurityRisk.3DVerification", "InvalidPayMethod",
		"Forbidden", "Forbbiden", "NoPermission", "RegionUnauthorized", "InvalidUser.PassRoleForbidden", "UserNotInTheWhiteList",
		"InvalidOperation.DeletionProtection", "OperationDenied.QuotaExceed", "InstanceDiskLimitExceeded", "InstanceDiskNumLimitExceed",
		"SecurityGroupInstanceLimitExceed", "InvalidParameter.KMSKeyId.KMSUnauthorized", "InvalidParameter.Encrypted.KmsNotEnabled",
		"InvalidAccessKeyId", "SignatureDoesNotMatch", "IncompleteSignature", "SignatureNonceUsed", "IllegalTimestamp",
		"InvalidTimeStamp.Expired", "InvalidSecurityToken", "MissingSecurityToken",
	},
	fleet.Invalid: {
		"IdempotentParameterMismatch", "IdempotenceParamNotMatch", "ResourcesNotInSameZone", "CmdContent.ExceedLimit",
		"InvalidInstanceType.ValueUnauthorized", "DependencyViolation.InstanceType",
	},
}

// families are codes that begin alike and end in many ways.
var families = []struct {
	prefix string
	kind   fleet.Kind
}{
	{"Throttling.", fleet.Throttled},
	{"InternalError.", fleet.Unavailable},
	{"ServiceUnavailable.", fleet.Unavailable},
	{"IncorrectInstanceStatus.", fleet.Conflict},
	{"IncorrectDiskStatus.", fleet.Conflict},
	{"DependencyViolation.", fleet.Conflict},
	{"QuotaExceed", fleet.Denied},
	{"Forbidden.", fleet.Denied},
	{"NoPermission.", fleet.Denied},
	{"InvalidAccessKeyId.", fleet.Denied},
	{"InvalidSecurityToken.", fleet.Denied},
	{"InvalidAccountStatus.", fleet.Denied},
}

var kinds = func() map[string]fleet.Kind {
	all := map[string]fleet.Kind{}
	for kind, set := range codes {
		for _, code := range set {
			all[code] = kind
		}
	}
	return all
}()

// kindOf says what an answer means.
func kindOf(code string, status int) fleet.Kind {
	if kind, ok := kinds[code]; ok {
		return kind
	}
	for _, f := range families {
		if strings.HasPrefix(code, f.prefix) {
			return f.kind
		}
	}
	switch {
	case status == http.StatusTooManyRequests:
		return fleet.Throttled
	case status >= http.StatusInternalServerError || code == "":
		return fleet.Unavailable
	}
	return fleet.Invalid
}

// Refusal is an error that ECS answered with. The SDK's own is not kept: its text has
// the string that was signed, and with it the access key's ID and all parameters.
type Refusal struct {
	Code      string
	Status    int
	RequestID string
}

func (r *Refusal) Error() string { return r.Code + ", request " + r.RequestID }

// is says whether ECS answered with one of these codes.
func is(err error, codes ...string) bool {
	var r *Refusal
	if !stderrors.As(err, &r) {
		return false
	}
	for _, code := range codes {
		if r.Code == code || strings.HasPrefix(r.Code, code+".") {
			return true
		}
	}
	return false
}

// remedies tell people what to do, where the code says enough for that.
var remedies = map[string]string{
	"Forbidden.RAM":                              "give the worker's RAM role the permission (docs/providers/aliyun.md has the policy)",
	"NoPermission":                               "give the worker's RAM role the permission (docs/providers/aliyun.md has the policy)",
	"InvalidUser.PassRoleForbidden":              "let the worker's RAM role pass the hosts' role (ram:PassRole)",
	"OperationDenied.NoStock":                    "choose another zone or machine type",
	"Zone.NotOnSale":                             "choose another zone",
	"InvalidInstanceType.ZoneNotSupported":       "choose another zone or machine type",
	"InvalidResourceType.NotSupported":           "choose another zone or machine type",
	"QuotaExceeded.PrivateIpAddress":             "give the zone a larger vSwitch, or choose another zone",
	"QuotaExceed.DeploymentSetInstanceQuotaFull": "choose another zone, or give the worker another deployment set",
	"QuotaExceed.AfterpayInstance":               "ask Alibaba Cloud for a higher quota of instances in this region",
	"QuotaExceed.ElasticQuota":                   "ask Alibaba Cloud for a higher quota of vCPUs of this type in this region",
	"QuotaExceed.PostPaidDisk":                   "ask Alibaba Cloud for a higher quota of disks in this region",
	"InsufficientBalance":                        "top up the account",
	"InvalidAccountStatus.NotEnoughBalance":      "top up the account",
	"Account.Arrearage":                          "pay what the account owes",
	"InstanceLockedForSecurity":                  "see the instance's security events in the console, and ask Alibaba Cloud to unlock it",
	"IdempotentParameterMismatch":                "use a new token for each thing that is bought",
	"InvalidImageId.NotFound":                    "give the worker an image of this region",
	"InvalidVSwitchId.NotFound":                  "give the worker a vSwitch of this region",
	"InvalidSecurityGroupId.NotFound":            "give the worker a security group of the vSwitches' VPC",
	"InvalidRamRole.NotFound":                    "give the worker the name of a role that ECS may assume",
	"DeploymentSet.NotFound":                     "give the worker a deployment set of this region",
	"InvalidAccessKeyId.NotFound":                "check the worker's credentials",
	"SignatureDoesNotMatch":                      "check the worker's credentials",
	"InvalidTimeStamp.Expired":                   "set the worker's clock",
	"InvalidOperation.DeletionProtection":        "turn its deletion protection off",
	"InstanceDiskLimitExceeded":                  "detach a disk that is not needed, or use another host",
	"InvalidParameter.Encrypted.KmsNotEnabled":   "activate Key Management Service for the account",
	"InvalidParameter.KMSKeyId.KMSUnauthorized":  "let ECS use the key (authorize AliyunECSDiskEncryptDefaultRole)",
	"ResourcesNotInSameZone":                     "use a disk of the host's zone",
	"QuotaExceed.Snapshot":                       "delete snapshots of the disk that are not needed",
	"IncorrectDiskStatus.CreatingSnapshot":       "wait until the disk's last snapshot is completed",
	"IncorrectDiskStatus.NeverAttached":          "attach the disk to a host first",
	"SnapshotCreatedImage":                       "delete the image that was made from it",
}

// translate makes a *fleet.Error of what a call gave; nil stays nil.
func translate(resource string, err error) error {
	var ours *fleet.Error
	if err == nil || stderrors.As(err, &ours) {
		return err
	}
	var server *errors.ServerError
	if stderrors.As(err, &server) && server.HttpStatus() != 0 {
		return refused(resource, server)
	}
	var inURL *url.Error
	if stderrors.As(err, &inURL) {
		err = inURL.Err // without the URL, which has the access key's ID and the signature
	}
	switch {
	case stderrors.Is(err, context.Canceled), stderrors.Is(err, context.DeadlineExceeded):
		return fleet.Errorf(fleet.Unavailable, resource, "the call was ended early: %w", err)
	case stderrors.Is(err, errNoCredentials):
		return fleet.Errorf(fleet.Denied, resource, "there are no Alibaba Cloud credentials").
			WithRemedy("give the worker's host a RAM role, or configure the SDK's credentials (docs/providers/aliyun.md)")
	}
	return fleet.Errorf(fleet.Unavailable, resource, "Alibaba Cloud gave no answer: %w", err)
}

// refused makes an error of ECS's answer.
func refused(resource string, s *errors.ServerError) error {
	code := s.ErrorCode()
	said := cloud.Plain(s.Message(), "Alibaba Cloud refused it")
	if code == "" { // no answer of ECS's, but of something on the way
		code, said = "HTTP "+strconv.Itoa(s.HttpStatus()), "the endpoint gave an answer that is none of ECS's"
	}
	if code == "SignatureDoesNotMatch" {
		said = "the signature does not match" // ECS says what was signed
	}
	e := fleet.Errorf(kindOf(s.ErrorCode(), s.HttpStatus()), resource, "%s (%s)", said, code)
	e.Err = &Refusal{Code: code, Status: s.HttpStatus(), RequestID: s.RequestId()}
	e.RetryAfter, e.Remedy = retryAfter(s.RespHeaders), remedies[code]
	return e
}

// retryAfter is what a throttled caller was told, if it was.
func retryAfter(header http.Header) time.Duration {
	seconds, err := strconv.Atoi(header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return time.Duration(seconds) * time.Second
}
