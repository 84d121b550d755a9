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

// ExamineRegion says what a region lacks for its work, and changes nothing.
func ExamineRegion(ctx workflow.Context, request ExamineRequest) (ExamineReply, error) {
	return askFor[ExamineReply](ctx, upkeepOptions(request.Provider, request.Region, examineTimeout), fleet.ActivityExamine, request)
}

// ListResources lists everything in a region that carries our tags.
func ListResources(ctx workflow.Context, request InventoryRequest) (InventoryReply, error) {
	return askFor[InventoryReply](ctx, upkeepOptions(request.Provider, request.Region, examineTimeout), fleet.ActivityInventory, request)
}

// RemoveResources ends hosts and disks of a region for good, hosts first.
func RemoveResources(ctx workflow.Context, request RemoveRequest) (RemoveReply, error) {
	return askFor[RemoveReply](ctx, upkeepOptions(request.Provider, request.Region, removeTimeout), fleet.ActivityRemoveResources, request)
}

// ask runs one activity in a region for a person who waits.
func ask[Reply any](ctx workflow.Context, provider, region, activity string, request ...any) (Reply, error) {
	return askFor[Reply](ctx, askOptions(provider, region), activity, request...)
}

func askFor[Reply any](ctx workflow.Context, options workflow.ActivityOptions, activity string, request ...any) (Reply, error) {
	ctx = workflow.WithActivityOptions(ctx, options)
	var reply Reply
	err := workflow.ExecuteActivity(ctx, activity, request...).Get(ctx, &reply)
	return reply, err
}
