package workers

import (
	"context"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// ofRegion is a workflow of which a region has one.
type ofRegion struct {
	id, kind string
	state    any
	// what it does, of all that is in the region.
	what string
}

// startOnce sees to it that a region has its workflow. Whichever worker comes first starts
// the one that there is.
func startOnce(ctx context.Context, c Config, temporal client.Client, w ofRegion) error {
	_, err := temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: w.id, TaskQueue: workflows.TaskQueue,
		WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		StaticSummary:            w.what + " of " + c.Provider + " " + c.Region,
	}, w.kind, w.state)
	if err != nil {
		return fleet.Errorf(fleet.Unavailable, w.what+" of "+c.Provider+" "+c.Region, "cannot be started: %w", err)
	}
	return nil
}

// startSchedule has the backups of the worker's region taken.
func startSchedule(ctx context.Context, c Config, temporal client.Client) error {
	if !c.serves(ServeActivities) {
		return nil
	}
	return startOnce(ctx, c, temporal, ofRegion{
		workflows.ScheduleID(c.Provider, c.Region), workflows.ScheduleType, workflows.ScheduleState{Provider: c.Provider, Region: c.Region}, "backups",
	})
}

// startCopies has backups copied into the second store, where there is one.
func startCopies(ctx context.Context, c Config, temporal client.Client) error {
	if !c.serves(ServeActivities) || c.SecondStore == "" {
		return nil
	}
	return startOnce(ctx, c, temporal, ofRegion{
		workflows.CopiesID(c.Provider, c.Region), workflows.CopiesType, workflows.ChangesState{Provider: c.Provider, Region: c.Region}, "copies of backups",
	})
}

// wantBackup asks the schedule of a region for a backup.
func wantBackup(c Config, temporal client.Client) func(context.Context, fleet.Operation) error {
	return func(ctx context.Context, op fleet.Operation) error {
		err := temporal.SignalWorkflow(ctx, workflows.ScheduleID(c.Provider, c.Region), "", workflows.SignalWantBackup, op)
		if err != nil {
			return fleet.Errorf(fleet.Unavailable, "schedule of backups", "cannot be asked: %w", err)
		}
		return nil
	}
}

// recordChanges has the changes of a region recorded by the one workflow that does.
func recordChanges(c Config, temporal client.Client) func(context.Context) error {
	return func(ctx context.Context) error {
		return startOnce(ctx, c, temporal, ofRegion{
			workflows.ChangesID(c.Provider, c.Region), workflows.ChangesType, workflows.ChangesState{Provider: c.Provider, Region: c.Region}, "changes",
		})
	}
}

// clusters lists those of a namespace's clusters that exist, from its visibility.
func clusters(temporal client.Client, namespace string) func(context.Context) ([]fleet.Summary, error) {
	return func(ctx context.Context) ([]fleet.Summary, error) {
		var all []fleet.Summary
		var token []byte
		for {
			page, err := temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
				Namespace: namespace, PageSize: 1000, NextPageToken: token,
				Query: "WorkflowType='" + workflows.ClusterType + "' AND ExecutionStatus='Running'",
			})
			if err != nil {
				return nil, fleet.Errorf(fleet.Unavailable, "the list of clusters", "%w", err)
			}
			for _, execution := range page.GetExecutions() {
				var s fleet.Summary
				memo := execution.GetMemo().GetFields()[workflows.MemoSummary]
				if memo != nil && converter.GetDefaultDataConverter().FromPayload(memo, &s) == nil {
					all = append(all, s)
				}
			}
			if token = page.GetNextPageToken(); len(token) == 0 {
				return all, nil
			}
		}
	}
}
