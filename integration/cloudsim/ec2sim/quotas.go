package ec2sim

import (
	"net/http"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
)

// quotaService is Service Quotas. It knows two quotas, as values of the account's own.
var quotaService = service{target: "ServiceQuotasV20190624", signing: "servicequotas", faultOf: quotaFaultOf, actions: map[string]func(f *Face, body []byte) (any, error){
	"GetServiceQuota": (*Face).getServiceQuota,
}}

// quotaFaultOf gives a refusal Service Quotas' error (API reference, "GetServiceQuota").
func quotaFaultOf(r *cloudsim.Refusal) *jsonFault {
	switch r.Code {
	case cloudsim.Throttled:
		return &jsonFault{"TooManyRequestsException", http.StatusBadRequest, "Rate exceeded"}
	case cloudsim.NotAllowed:
		return &jsonFault{"AccessDeniedException", http.StatusBadRequest, "User is not authorized to perform the operation"}
	}
	return &jsonFault{"ServiceException", http.StatusInternalServerError, "Something went wrong."}
}

func (f *Face) getServiceQuota(body []byte) (any, error) {
	var in struct{ ServiceCode, QuotaCode string }
	if err := parse(body, &in); err != nil {
		return nil, err
	}
	limits, value, name := f.world.Limits(), 0.0, ""
	switch in.ServiceCode + "/" + in.QuotaCode {
	case "ec2/L-1216C47A":
		value, name = float64(limits.VCPUs), "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances"
	case "ebs/L-7A658B76":
		value, name = float64(limits.Storage)/float64(fleet.TiB), "Storage for General Purpose SSD (gp3) volumes, in TiB"
	}
	if value == 0 {
		return nil, jsonErrorf("NoSuchResourceException", "The request failed because the specified quota does not exist.")
	}
	return map[string]any{"Quota": map[string]any{
		"ServiceCode": in.ServiceCode, "QuotaCode": in.QuotaCode, "QuotaName": name, "Value": value, "Adjustable": true, "GlobalQuota": false,
	}}, nil
}
