package starter

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workflows"
)

const (
	// surveyTimeout bounds the live counts of a list: a person waits for it, and the
	// counts of the last operation are there to fall back to.
	surveyTimeout = 5 * time.Second
	// surveyBatch is how many clusters one survey looks at.
	surveyBatch = 100
	// page is how much is asked of Temporal's visibility at a time.
	page = 500
)

// Describe says how a cluster stands, also one that is gone, for as long as
// Temporal keeps its closed workflow. The error is of kind fleet.NotFound when
// there never was one.
func (c *Client) Describe(ctx context.Context, cluster string) (workflows.ClusterView, error) {
	var view workflows.ClusterView
	err := c.ask(ctx, cluster, func(ctx context.Context) error {
		value, err := c.temporal.QueryWorkflow(ctx, workflows.ClusterID(cluster), "", workflows.QueryDescribe)
		if err != nil {
			return err
		}
		return value.Get(&view)
	})
	if err == nil && view.Summary.Name == "" {
		// Its first request was refused, so it ends without ever having been.
		return view, mapService(serviceerror.NewNotFound("no cluster"), cluster)
	}
	return view, err
}

// Filter chooses clusters of the fleet; what is empty chooses all.
type Filter struct {
	Phases   []fleet.Phase
	Provider string
	Region   string
	Class    fleet.Class
	// Names chooses clusters by name.
	Names []string
	// NoLive leaves out the survey: the counts are those of the last operation.
	NoLive bool
}

// List is the fleet, or a part of it, by name.
type List struct {
	Clusters []fleet.Summary
	// Notes say what could not be looked at now; those counts are as old as their At.
	Notes []string
}

// Clusters lists the fleet from Temporal's visibility and asks each region how its
// clusters are now. A region that does not answer within seconds is in the notes,
// and its clusters keep the counts of their last operation.
func (c *Client) Clusters(ctx context.Context, filter Filter) (List, error) {
	var list List
	err := c.scan(ctx, filter.query(), func(execution *workflow.WorkflowExecutionInfo) (bool, error) {
		var summary fleet.Summary
		// Without a memo it has just begun, and may yet refuse the request it began with.
		if c.memo(execution, workflows.MemoSummary, &summary) {
			list.Clusters = append(list.Clusters, summary)
		}
		return true, nil
	})
	if err != nil {
		return List{}, err
	}
	slices.SortFunc(list.Clusters, func(a, b fleet.Summary) int { return strings.Compare(a.Name, b.Name) })
	if !filter.NoLive {
		list.Notes = c.survey(ctx, list.Clusters)
	}
	return list, nil
}

func (f Filter) query() string {
	terms := []string{"WorkflowType=" + quote(workflows.ClusterType), "ExecutionStatus='Running'"}
	in := func(attribute string, values ...string) {
		values = slices.DeleteFunc(values, func(v string) bool { return v == "" })
		if len(values) == 0 {
			return
		}
		for i, v := range values {
			values[i] = quote(v)
		}
		terms = append(terms, attribute+" IN ("+strings.Join(values, ", ")+")")
	}
	in(workflows.AttrPhase.GetName(), texts(f.Phases)...)
	in(workflows.AttrProvider.GetName(), f.Provider)
	in(workflows.AttrRegion.GetName(), f.Region)
	in(workflows.AttrClass.GetName(), string(f.Class))
	ids := make([]string, len(f.Names))
	for i, name := range f.Names {
		ids[i] = workflows.ClusterID(name)
	}
	in("WorkflowId", ids...)
	return strings.Join(terms, " AND ")
}

func texts[T ~string](values []T) []string {
	list := make([]string, len(values))
	for i, v := range values {
		list[i] = string(v)
	}
	return list
}

// quote writes a value of a visibility query; a quote inside would end it.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// survey puts live counts into the summaries and gives notes on what it could not see.
func (c *Client) survey(ctx context.Context, clusters []fleet.Summary) []string {
	type place struct{ provider, region string }
	places := map[place][]int{}
	for i, s := range clusters {
		if s.Region != "" && s.Phase != fleet.PhaseGone {
			p := place{s.Provider, s.Region}
			places[p] = append(places[p], i)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, surveyTimeout)
	defer cancel()
	var (
		mu    sync.Mutex
		notes []string
		wait  sync.WaitGroup
	)
	for p, all := range places {
		for indexes := range slices.Chunk(all, surveyBatch) {
			wait.Go(func() {
				err := c.surveyBatch(ctx, p.provider, p.region, clusters, indexes)
				if err == nil {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				notes = append(notes, fmt.Sprintf("%s/%s: no live counts for %d clusters, these are of their last operation: %s",
					p.provider, p.region, len(indexes), reason(ctx, err)))
			})
		}
	}
	wait.Wait()
	slices.Sort(notes)
	return notes
}

func reason(ctx context.Context, err error) string {
	if ctx.Err() != nil {
		return fmt.Sprintf("its workers did not answer within %s", surveyTimeout)
	}
	return err.Error()
}

// surveyBatch writes to the given indexes only, so that batches may run together.
func (c *Client) surveyBatch(ctx context.Context, provider, name string, clusters []fleet.Summary, indexes []int) error {
	request := workflows.SurveyRequest{Clusters: make([]fleet.Summary, len(indexes))}
	for i, at := range indexes {
		request.Clusters[i] = clusters[at]
	}
	var reply workflows.SurveyReply
	if err := c.run(ctx, "survey/"+provider+"/"+name, "survey of "+name, surveyTimeout,
		region{provider, name}, workflows.SurveyType, request, &reply); err != nil {
		return err
	}
	if len(reply.Clusters) != len(indexes) {
		return fleet.Errorf(fleet.Lost, "survey of "+name, "%d clusters were asked for and %d answered", len(indexes), len(reply.Clusters))
	}
	for i, at := range indexes {
		clusters[at] = reply.Clusters[i]
	}
	return nil
}

// scan goes through visibility, page by page, until f gives false.
func (c *Client) scan(ctx context.Context, query string, f func(*workflow.WorkflowExecutionInfo) (bool, error)) error {
	var token []byte
	for {
		reply, err := c.temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
			Namespace: c.namespace, PageSize: page, NextPageToken: token, Query: query,
		})
		if err != nil {
			return c.explain(err, "the list of workflows")
		}
		for _, execution := range reply.GetExecutions() {
			if more, err := f(execution); err != nil || !more {
				return err
			}
		}
		if token = reply.GetNextPageToken(); len(token) == 0 {
			return nil
		}
	}
}

// memo reads a field of a workflow's memo and says whether it was there.
func (c *Client) memo(execution *workflow.WorkflowExecutionInfo, field string, into any) bool {
	payload, ok := execution.GetMemo().GetFields()[field]
	return ok && c.decode(payload, into)
}

func (c *Client) decode(payload *common.Payload, into any) bool {
	return payload != nil && c.data.FromPayload(payload, into) == nil
}

// running says whether a workflow has not ended.
func running(execution *workflow.WorkflowExecutionInfo) bool {
	return execution.GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING
}
