package ec2sim

import (
	"net/http"
	"strings"

	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
)

// faultOf gives a refusal EC2's code and status ("Error codes for the Amazon EC2 API").
func faultOf(action string, r *cloudsim.Refusal) *fault {
	e := &fault{status: http.StatusBadRequest, message: r.Message + " (" + r.Resource + ")"}
	switch r.Code {
	case cloudsim.NoInstance:
		e.code, e.message = "InvalidInstanceID.NotFound", notFound("instance ID", r.Missing)
		if id, bad := malformed("i-", r.Missing); bad {
			e.code, e.message = "InvalidInstanceID.Malformed", `Invalid id: "`+id+`" (expecting "i-...")`
		}
	case cloudsim.NoDisk:
		e.code, e.message = "InvalidVolume.NotFound", notFound("volume", r.Missing)
		if id, bad := malformed("vol-", r.Missing); bad {
			e.code, e.message = "InvalidParameterValue", "Value ("+id+") for parameter volumeId is invalid. Expected: 'vol-...'."
		}
	case cloudsim.NoSnapshot:
		e.code, e.message = "InvalidSnapshot.NotFound", notFound("snapshot", r.Missing)
		if id, bad := malformed("snap-", r.Missing); bad {
			e.code, e.message = "InvalidSnapshotID.Malformed", `Invalid id: "`+id+`" (expecting "snap-...")`
		}
	case cloudsim.SnapshotState:
		e.code, e.message = "IncorrectState", "Snapshot is in invalid state - pending"
	case cloudsim.Snapshotting:
		e.code, e.message = "ConcurrentSnapshotLimitExceeded", "Maximum allowed in-progress snapshots for a single volume exceeded."
	case cloudsim.SnapshotSoon:
		e.code = "SnapshotCreationPerVolumeRateExceeded"
		e.message = "The maximum per volume CreateSnapshot request rate has been exceeded. Use an increasing or variable sleep interval between requests."
	case cloudsim.TooSmall:
		e.code = "InvalidParameterValue"
	case cloudsim.NoZone:
		e.code, e.message = "InvalidZone.NotFound", "The zone '"+r.Resource+"' does not exist."
	case cloudsim.NoType:
		e.code, e.message = "InvalidParameterValue", "Invalid value '"+r.Resource+"' for InstanceType."
	case cloudsim.NotSold:
		e.code = "Unsupported"
		e.message = "Your requested instance type (" + r.Resource + ") is not supported in your requested Availability Zone."
	case cloudsim.NoImage:
		e.code, e.message = "InvalidAMIID.NotFound", "The image id '["+r.Resource+"]' does not exist"
	case cloudsim.NoSubnet:
		e.code, e.message = "InvalidSubnetID.NotFound", "The subnet ID '"+r.Resource+"' does not exist"
	case cloudsim.NoGroup:
		e.code, e.message = "InvalidGroup.NotFound", "The security group '"+r.Resource+"' does not exist"
	case cloudsim.NoPlacement:
		e.code, e.message = "InvalidPlacementGroup.Unknown", "The placement group '"+r.Resource+"' is unknown."
	case cloudsim.NoProfile:
		e.code = "InvalidParameterValue"
		e.message = "Value (" + r.Resource + ") for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"
	case cloudsim.NoCategory:
		e.code, e.message = "UnknownVolumeType", "Unsupported volume type '"+r.Resource+"' for volume creation."
	case cloudsim.NoKey, cloudsim.BadToken, cloudsim.BadSize, cloudsim.BadShape:
		e.code = "InvalidParameterValue"
	case cloudsim.Mismatched:
		e.code = "InvalidParameter"
	case cloudsim.TokenReused:
		e.code = "IdempotentParameterMismatch"
		e.message = "Arguments on this idempotent request are inconsistent with arguments used in previous request(s)."
	case cloudsim.InstanceState:
		e.code = "IncorrectInstanceState"
		if action == "AttachVolume" {
			e.code = "IncorrectState"
		}
	case cloudsim.DiskState, cloudsim.DiskFree:
		e.code = "IncorrectState"
	case cloudsim.DiskTaken:
		e.code, e.message = "VolumeInUse", r.Resource+" is already attached to an instance"
	case cloudsim.OtherZone:
		e.code, e.message = "InvalidVolume.ZoneMismatch", "The volume '"+r.Resource+"' is not in the same availability zone as the instance."
	case cloudsim.DeviceTaken:
		e.code = "InvalidParameterValue"
		e.message = "Invalid value '" + r.Resource + "' for unixDevice. Attachment point " + r.Resource + " is already in use"
	case cloudsim.Modifying:
		e.code = "IncorrectModificationState"
	case cloudsim.TooManyMods:
		e.code, e.message = "VolumeModificationRateExceeded", "You've reached the maximum modification rate per volume limit."
	case cloudsim.NoStock, cloudsim.PlacementFull:
		e.code, e.status = "InsufficientInstanceCapacity", http.StatusInternalServerError
	case cloudsim.OverQuota:
		e.code = "VcpuLimitExceeded"
		switch action {
		case "CreateVolume":
			e.code = "VolumeLimitExceeded"
		case "CreateSnapshot":
			e.code = "SnapshotLimitExceeded"
		}
	case cloudsim.UserDataLong:
		e.code, e.message = "InvalidParameterValue", "User data is limited to 16384 bytes"
	case cloudsim.NotAllowed:
		e.code, e.status, e.message = "UnauthorizedOperation", http.StatusForbidden, "You are not authorized to perform this operation."
	case cloudsim.DryRun:
		e.code, e.status, e.message = "DryRunOperation", http.StatusPreconditionFailed, "Request would have succeeded, but DryRun flag is set."
	case cloudsim.Throttled:
		e.code, e.status, e.message = "RequestLimitExceeded", http.StatusServiceUnavailable, "Request limit exceeded."
	case cloudsim.ZoneDown:
		e.code, e.status = "Unavailable", http.StatusServiceUnavailable
	default:
		e.code, e.status, e.message = "InternalError", http.StatusInternalServerError, "An internal error has occurred"
	}
	return e
}

func notFound(what string, ids []string) string {
	if len(ids) == 1 {
		return "The " + what + " '" + ids[0] + "' does not exist"
	}
	return "The " + what + "s '" + strings.Join(ids, ", ") + "' do not exist"
}

// malformed gives the first ID that cannot be one: 8 or 17 hexadecimal digits follow.
func malformed(prefix string, ids []string) (string, bool) {
	for _, id := range ids {
		digits, ok := strings.CutPrefix(id, prefix)
		if !ok || len(digits) != 8 && len(digits) != 17 || strings.Trim(digits, "0123456789abcdef") != "" {
			return id, true
		}
	}
	return "", false
}
