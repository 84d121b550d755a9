package aws

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	smithy "github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas/cloud"
)

// codes says what each error code means for us. They are those of "Error codes for the
// Amazon EC2 API", of SSM's SendCommand, GetCommandInvocation and ListCommands, and of
// the errors common to all services. What is not here is told by its HTTP status.
var codes = map[fleet.Kind][]string{
	fleet.Throttled: {
		"RequestLimitExceeded", "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled",
		"RequestThrottledException", "EC2ThrottledException", "TooManyRequestsException", "SlowDown", "PriorRequestNotComplete",
	},
	fleet.OutOfCapacity: {
		"InsufficientInstanceCapacity", "InsufficientHostCapacity", "InsufficientCapacity", "InsufficientReservedInstanceCapacity",
		"InsufficientVolumeCapacity", "InsufficientFreeAddressesInSubnet", "Unsupported", "VolumeTypeNotAvailableInZone",
	},
	fleet.Denied: {
		"UnauthorizedOperation", "AuthFailure", "AccessDenied", "AccessDeniedException", "Blocked", "OptInRequired",
		"PendingVerification", "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch",
		"InvalidSignatureException", "IncompleteSignature", "ExpiredToken", "ExpiredTokenException", "RequestExpired",
		"MissingAuthenticationToken", "MissingAuthenticationTokenException", "NotAuthorized", "OperationNotPermitted",
		"InstanceLimitExceeded", "VcpuLimitExceeded", "VolumeLimitExceeded", "MaxIOPSLimitExceeded", "AttachmentLimitExceeded",
		"VolumeModificationSizeLimitExceeded", "VolumeModificationRateExceeded", "ResourceCountLimitExceeded",
		"SnapshotLimitExceeded", "PendingSnapshotLimitExceeded",
	},
	fleet.NotFound: {
		"InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed", "InvalidVolume.NotFound", "InvalidVolumeID.Malformed",
		"InvalidVolumeModification.NotFound", "InvocationDoesNotExist", "InvalidCommandId",
		"InvalidSnapshot.NotFound", "InvalidSnapshotID.Malformed",
	},
	fleet.Conflict: {
		"IncorrectInstanceState", "IncorrectState", "VolumeInUse", "IncorrectModificationState", "ConcurrentTagAccess",
		"InvalidInstanceState", "IncorrectSpotRequestState", "InvalidAttachment.NotFound", "DependencyViolation",
		"InvalidSnapshot.InUse", "ConcurrentSnapshotLimitExceeded", "SnapshotCreationPerVolumeRateExceeded", // of one volume, not of the account
	},
	fleet.Invalid: {
		"IdempotentParameterMismatch", "InvalidParameter", "InvalidParameterValue", "InvalidParameterCombination",
		"InvalidParameterDependency", "MissingParameter", "UnknownParameter", "InvalidAMIID.NotFound", "InvalidAMIID.Malformed",
		"InvalidAMIID.Unavailable", "InvalidSubnetID.NotFound", "InvalidSubnet", "InvalidGroup.NotFound", "InvalidGroupId.Malformed",
		"InvalidZone.NotFound", "UnknownVolumeType", "InvalidVolume.ZoneMismatch", "InvalidPlacementGroup.Unknown",
		"InvalidLaunchTemplateId.NotFound", "InvalidLaunchTemplateName.NotFoundException", "InvalidKeyPair.NotFound",
		"InvalidInstanceType", "InvalidUserData.Malformed", "TagLimitExceeded", "InvalidID", "InvalidPaginationToken",
		"ValidationException", "InvalidParameters", "InvalidDocument", "InvalidNextToken", "InvalidAction",
	},
	fleet.Unavailable: {
		"InternalError", "InternalFailure", "InternalServerError", "Unavailable", "ServiceUnavailable",
		"ServiceUnavailableException", "RequestTimeout", "RequestTimeoutException",
	},
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

func kindOf(code string) (fleet.Kind, bool) {
	kind, ok := kinds[code]
	return kind, ok
}

// codeOf gives the code of an error that AWS answered with, or "".
func codeOf(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

func is(err error, code string) bool { return codeOf(err) == code }

// remedies tell people what to do, where the code says enough for that.
var remedies = map[string]string{
	"UnauthorizedOperation":               "give the worker's role the permission (docs/providers/aws.md has the policy)",
	"AccessDeniedException":               "give the worker's role the permission (docs/providers/aws.md has the policy)",
	"VcpuLimitExceeded":                   "ask AWS for a higher quota of vCPUs in this region",
	"InstanceLimitExceeded":               "ask AWS for a higher quota of instances in this region",
	"VolumeLimitExceeded":                 "ask AWS for a higher quota of EBS storage in this region",
	"VolumeModificationRateExceeded":      "wait until 24 hours have passed since its last modifications, or move the member to a new disk",
	"InsufficientInstanceCapacity":        "choose another zone or machine type",
	"InsufficientFreeAddressesInSubnet":   "give the zone a larger subnet, or choose another zone",
	"Unsupported":                         "choose another zone or machine type",
	"ExpiredToken":                        "renew the worker's credentials",
	"ExpiredTokenException":               "renew the worker's credentials",
	"RequestExpired":                      "set the worker's clock",
	"AuthFailure":                         "check the worker's credentials",
	"UnrecognizedClientException":         "check the worker's credentials",
	"OptInRequired":                       "enable the region or service for the account",
	"IdempotentParameterMismatch":         "use a new token for each thing that is bought",
	"InvalidAMIID.NotFound":               "give the worker an image of this region",
	"InvalidSubnetID.NotFound":            "give the worker a subnet of this region",
	"InvalidGroup.NotFound":               "give the worker a security group of the subnets' network",
	"InvalidLaunchTemplateId.NotFound":    "give the worker a launch template of this region",
	"InvalidPlacementGroup.Unknown":       "give the worker a placement group of this region",
	"UnknownVolumeType":                   "choose a disk category that EBS has, as in gp3",
	"InvalidVolume.ZoneMismatch":          "use a disk of the host's zone",
	"PendingVerification":                 "wait until AWS has verified the account",
	"MissingAuthenticationToken":          "give the worker credentials",
	"InsufficientVolumeCapacity":          "choose another zone",
	"VolumeTypeNotAvailableInZone":        "choose another zone or disk category",
	"AttachmentLimitExceeded":             "detach a disk that is not needed, or use another host",
	"MaxIOPSLimitExceeded":                "ask AWS for a higher quota of IOPS in this region",
	"OperationNotPermitted":               "turn its termination or stop protection off",
	"VolumeModificationSizeLimitExceeded": "ask AWS for a higher quota of storage that is being modified",

	"SnapshotLimitExceeded":                 "delete snapshots that are not needed, or ask AWS for a higher quota of them in this region",
	"PendingSnapshotLimitExceeded":          "wait until some of the region's pending snapshots are completed",
	"ConcurrentSnapshotLimitExceeded":       "wait until the volume's pending snapshots are completed, and delete those in error",
	"SnapshotCreationPerVolumeRateExceeded": "wait 15 seconds between two snapshots of a volume",
	"InvalidSnapshot.InUse":                 "deregister the image that it is part of",
}

// translate makes a *fleet.Error of what a call gave; nil stays nil.
func translate(resource string, err error) error {
	var ours *fleet.Error
	if err == nil || errors.As(err, &ours) {
		return err
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		switch {
		case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
			return fleet.Errorf(fleet.Unavailable, resource, "the call was ended early: %w", contextError(err))
		case strings.Contains(err.Error(), "get credentials") || strings.Contains(err.Error(), "get identity"):
			return fleet.Errorf(fleet.Denied, resource, "there are no AWS credentials").
				WithRemedy("give the worker a role, or configure the SDK's credentials (docs/providers/aws.md)")
		}
		return fleet.Errorf(fleet.Unavailable, resource, "AWS gave no answer: %w", err)
	}
	code := api.ErrorCode()
	kind, known := kindOf(code)
	if !known {
		kind = fleet.Invalid
		if status(err) >= 500 || status(err) == 0 {
			kind = fleet.Unavailable
		}
		if status(err) == http.StatusTooManyRequests {
			kind = fleet.Throttled
		}
	}
	e := fleet.Errorf(kind, resource, "%s (%s)", plain(api.ErrorMessage()), code)
	e.Err, e.RetryAfter, e.Remedy = err, retryAfter(err), remedies[code]
	return e
}

// contextError gives the context's own error, which callers compare with.
func contextError(err error) error {
	if errors.Is(err, context.Canceled) {
		return context.Canceled
	}
	return context.DeadlineExceeded
}

func status(err error) int {
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) {
		return response.HTTPStatusCode()
	}
	return 0
}

// retryAfter is what a throttled caller was told, if it was.
func retryAfter(err error) time.Duration {
	var response *smithyhttp.ResponseError
	if !errors.As(err, &response) || response.Response == nil {
		return 0
	}
	seconds, err := strconv.Atoi(response.Response.Header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// encoded is the long blob that a refusal of rights ends with.
var encoded = regexp.MustCompile(`\s*Encoded authorization failure message:.*`)

// plain makes AWS's own words part of a sentence.
func plain(message string) string {
	return cloud.Plain(encoded.ReplaceAllString(message, ""), "AWS refused it")
}
