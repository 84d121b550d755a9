package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// PlanOperation forecasts an operation and changes nothing.
func PlanOperation(ctx workflow.Context, request PlanRequest) (PlanReply, error) {
	spec := request.Operation.Spec
	return ask[PlanReply](ctx, spec.Provider, spec.Region, fleet.ActivityForecast, request)
}

// SurveyClusters looks at many clusters of one provider and region at once. All
// of them must be of the first one's.
func SurveyClusters(ctx workflow.Context, request SurveyRequest) (SurveyReply, error) {
	if len(request.Clusters) == 0 {
		return SurveyReply{}, nil
	}
	first := request.Clusters[0]
	return ask[SurveyReply](ctx, first.Provider, first.Region, fleet.ActivitySurvey, request)
}

// IssueClientCertificate signs a client's certificate request with the authority
// of its cluster.
func IssueClientCertificate(ctx workflow.Context, request CertificateRequest) (CertificateReply, error) {
	return ask[CertificateReply](ctx, request.Provider, request.Region, fleet.ActivityIssueCertificate, request)
}

// FleetRecipient says whom to seal to what only the workers of a region may read.
func FleetRecipient(ctx workflow.Context, request RecipientRequest) (RecipientReply, error) {
	return ask[RecipientReply](ctx, request.Provider, request.Region, fleet.ActivityFleetRecipient)
}

// ask runs one activity in a region for a person who waits.
func ask[Reply any](ctx workflow.Context, provider, region, activity string, request ...any) (Reply, error) {
	ctx = workflow.WithActivityOptions(ctx, askOptions(provider, region))
	var reply Reply
	err := workflow.ExecuteActivity(ctx, activity, request...).Get(ctx, &reply)
	return reply, err
}
