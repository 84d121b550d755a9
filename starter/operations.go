package starter

import (
	"context"
	"slices"
	"strings"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflow/v1"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// searchLimit bounds how many operations a search by ID goes through.
const searchLimit = 5000

// OperationEntry is an operation in a list.
type OperationEntry struct {
	Cluster string `json:"cluster"`
	workflows.OperationRecord
	// Waiting is what a running one waits for, other than its steps.
	Waiting *fleet.Waiting `json:"waiting,omitempty"`
}

// Operations lists the latest operations of a cluster, or of the whole fleet when
// cluster is empty, newest first and at most limit.
func (c *Client) Operations(ctx context.Context, cluster string, limit int) ([]OperationEntry, error) {
	var entries []OperationEntry
	if cluster != "" {
		view, err := c.Describe(ctx, cluster)
		if err != nil {
			return nil, err
		}
		for _, record := range view.Operations {
			entry := OperationEntry{Cluster: cluster, OperationRecord: record}
			if ref, runs := Running(view); runs && ref.ID == record.ID {
				if progress, err := c.Progress(ctx, ref); err == nil { // its record is worth showing without
					entry.Waiting, entry.Marks = progress.Waiting, progress.Marks
				}
			}
			entries = append(entries, entry)
		}
		beside, err := c.Beside(ctx, cluster, limit)
		entries = append(entries, beside...)
		slices.SortStableFunc(entries, func(a, b OperationEntry) int { return b.Started.Compare(a.Started) })
		return entries[:min(limit, len(entries))], err
	}
	err := c.scan(ctx, operationsQuery(), func(execution *workflow.WorkflowExecutionInfo) (bool, error) {
		if entry, ok := c.entry(execution); ok {
			entries = append(entries, entry)
		}
		return len(entries) < limit, nil
	})
	slices.SortStableFunc(entries, func(a, b OperationEntry) int { return b.Started.Compare(a.Started) })
	return entries, err
}

// Beside lists the latest operations that ran beside those of a cluster's own workflow,
// newest first and at most limit.
func (c *Client) Beside(ctx context.Context, cluster string, limit int) ([]OperationEntry, error) {
	var entries []OperationEntry
	query := "WorkflowType=" + quote(string(fleet.BackupCluster)) + " AND " + workflows.AttrCluster.GetName() + "=" + quote(cluster)
	err := c.scan(ctx, query, func(execution *workflow.WorkflowExecutionInfo) (bool, error) {
		if entry, ok := c.entry(execution); ok {
			entries = append(entries, entry)
		}
		return len(entries) < limit, nil
	})
	return entries, err
}

func operationsQuery() string {
	kinds := make([]string, len(fleet.OperationKinds))
	for i, kind := range fleet.OperationKinds {
		kinds[i] = quote(string(kind))
	}
	return "WorkflowType IN (" + strings.Join(kinds, ", ") + ")"
}

// entry reads an operation from visibility alone: no worker is asked.
func (c *Client) entry(execution *workflow.WorkflowExecutionInfo) (OperationEntry, bool) {
	id := execution.GetExecution().GetWorkflowId()
	ref, ok := parseOperationID(id)
	if !ok {
		return OperationEntry{}, false
	}
	entry := OperationEntry{Cluster: ref.Cluster, OperationRecord: workflows.OperationRecord{
		ID: ref.ID, Kind: ref.Kind, WorkflowID: id, Started: execution.GetStartTime().AsTime(),
	}}
	if end := execution.GetCloseTime(); end != nil {
		entry.Ended = end.AsTime()
	}
	switch execution.GetStatus() {
	case enums.WORKFLOW_EXECUTION_STATUS_RUNNING, enums.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW:
		entry.State = fleet.OperationRunning
	case enums.WORKFLOW_EXECUTION_STATUS_COMPLETED:
		entry.State = fleet.OperationDone
	case enums.WORKFLOW_EXECUTION_STATUS_CANCELED:
		entry.State = fleet.OperationCancelled
	default:
		entry.State = fleet.OperationFailed
	}
	var progress fleet.Progress
	if c.memo(execution, workflows.MemoProgress, &progress) {
		entry.By, entry.Marks = progress.By, progress.Marks
		if entry.State != fleet.OperationDone {
			entry.Error = progress.LastError
		}
		if entry.State == fleet.OperationRunning {
			entry.Waiting = progress.Waiting
		}
	}
	return entry, true
}

// parseOperationID reads what workflows.OperationID writes.
func parseOperationID(workflowID string) (Ref, bool) {
	parts := strings.Split(strings.TrimPrefix(workflowID, workflows.ClusterID("")), "/")
	if len(parts) != 3 || !strings.HasPrefix(workflowID, workflows.ClusterID("")) {
		return Ref{}, false
	}
	ref := Ref{Cluster: parts[0], Kind: fleet.OperationKind(parts[1]), ID: parts[2], WorkflowID: workflowID}
	return ref, slices.Contains(fleet.OperationKinds, ref.Kind)
}

// FindOperation gives the operation that a person names: a cluster (its running or
// latest operation), an operation's ID or the beginning of one, or a workflow ID.
func (c *Client) FindOperation(ctx context.Context, name string) (Ref, error) {
	if ref, ok := parseOperationID(name); ok {
		return ref, nil
	}
	view, err := c.Describe(ctx, name)
	if err == nil {
		if ref, runs := Running(view); runs {
			return ref, nil
		}
		if ref, runs, err := c.runningBeside(ctx, name); err != nil || runs {
			return ref, err
		}
		if len(view.Operations) == 0 {
			return Ref{}, fleet.Errorf(fleet.NotFound, name, "has had no operation yet")
		}
		latest := view.Operations[0]
		return Ref{Cluster: name, ID: latest.ID, Kind: latest.Kind, WorkflowID: latest.WorkflowID}, nil
	}
	if !fleet.Is(err, fleet.NotFound) {
		return Ref{}, err
	}
	var found []Ref
	looked := 0
	scanErr := c.scan(ctx, operationsQuery(), func(execution *workflow.WorkflowExecutionInfo) (bool, error) {
		ref, ok := parseOperationID(execution.GetExecution().GetWorkflowId())
		if ok && strings.HasPrefix(ref.ID, name) && !slices.Contains(found, ref) {
			found = append(found, ref)
		}
		looked++
		return looked < searchLimit, nil
	})
	switch {
	case scanErr != nil:
		return Ref{}, scanErr
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return Ref{}, fleet.Errorf(fleet.Invalid, name, "is the beginning of %d operations (%s, %s, …)", len(found), found[0], found[1]).
			WithRemedy("give more of the ID")
	}
	return Ref{}, &fleet.Error{Kind: fleet.NotFound, Message: "there is no cluster or operation " + name,
		Remedy: "flotilla get clusters and flotilla operations show what there is", Err: err}
}
