// Package starter is the typed client of Flotilla's control plane. Every face goes
// through it (the CLI in starter/flotilla, a console, a chat bot, any Go program),
// so that there is one place that knows workflow IDs, update names and queries,
// and one that turns Temporal's errors into sentences for a person.
//
// It decides nothing about clusters: what may be done is decided by the planner,
// and refused by the cluster's own workflow.
//
//	c, err := starter.Dial(ctx, starter.Options{})
//	reply, err := c.Create(ctx, spec, starter.Request{})
//	result, err := c.Watch(ctx, starter.RefOf(spec.Name, reply), func(p fleet.Progress) { … })
package starter

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workflows"
)

const (
	// answerTimeout bounds a request that a worker answers. A worker that was just
	// killed leaves its sticky queue behind for ten seconds; a live one takes over
	// well within this.
	answerTimeout = 30 * time.Second
	// patience is how long an answer may take before we look whether anyone is
	// there to give it. A healthy answer takes well under a second.
	patience = 3 * time.Second
	// pollerAge is how long ago a worker that is alive may have polled last:
	// Temporal ends an idle long poll after a minute.
	pollerAge = 70 * time.Second
)

// Client talks to one control plane. It is safe for concurrent use.
type Client struct {
	temporal  client.Client
	data      converter.DataConverter
	namespace string
	origin    Origin
	by        string
}

// Origin says which control plane a client talks to, and who said so.
type Origin struct {
	Address   string
	Namespace string
	// Source is where the address comes from, for a person: "TEMPORAL_ADDRESS".
	Source string
	// UI is the URL of Temporal's web UI; empty where it is not known.
	UI string
	// DataDir is the development environment's data directory, if it is one.
	DataDir string
}

// Origin says which control plane this client talks to.
func (c *Client) Origin() Origin { return c.origin }

// Close ends the connection.
func (c *Client) Close() { c.temporal.Close() }

// WorkflowURL gives the page of a workflow in Temporal's web UI, or "" where the
// address of the UI is not known.
func (c *Client) WorkflowURL(workflowID string) string {
	if c.origin.UI == "" {
		return ""
	}
	return strings.TrimSuffix(c.origin.UI, "/") + "/namespaces/" + url.PathEscape(c.namespace) +
		"/workflows/" + url.PathEscape(workflowID)
}

// Ref names an operation.
type Ref struct {
	Cluster    string              `json:"cluster"`
	ID         string              `json:"operation"`
	Kind       fleet.OperationKind `json:"kind"`
	WorkflowID string              `json:"workflowId"`
}

// RefOf gives the reference of the operation in a reply.
func RefOf(cluster string, reply workflows.SubmitReply) Ref {
	return Ref{Cluster: cluster, ID: reply.Operation, Kind: reply.Kind, WorkflowID: reply.WorkflowID}
}

// String gives "orders CreateCluster 7f3a".
func (r Ref) String() string { return r.Cluster + " " + string(r.Kind) + " " + r.ID }

// NewRequestID makes an ID for a request, for those who have none of their own.
func NewRequestID() string { return uuid.NewString() }

// ask runs something that a worker has to answer. When that takes long, it looks
// whether a worker is there at all and says so early, instead of letting a person
// wait for a timeout that names no cause.
func (c *Client) ask(ctx context.Context, resource string, f func(context.Context) error, regions ...region) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	deadline := time.AfterFunc(answerTimeout, func() {
		cancel(fleet.Errorf(fleet.Unavailable, resource, "no worker of %s answered within %s", c.origin.Address, answerTimeout).
			WithRemedy("look at the worker's log (flotilla dev logs worker), or try again"))
	})
	defer deadline.Stop()
	look := time.AfterFunc(patience, func() {
		if served, err := c.served(ctx, workflows.TaskQueue, enums.TASK_QUEUE_TYPE_WORKFLOW); err == nil && !served {
			cancel(fleet.Errorf(fleet.Unavailable, "task queue "+workflows.TaskQueue,
				"no Flotilla worker serves namespace %s of %s", c.namespace, c.origin.Address).
				WithRemedy("start flotilla-worker there, or flotilla dev for a control plane on this machine"))
		}
		for _, r := range regions {
			queue := workflows.RegionQueue(r.provider, r.name)
			if served, err := c.served(ctx, queue, enums.TASK_QUEUE_TYPE_ACTIVITY); err == nil && !served {
				cancel(fleet.Errorf(fleet.Unavailable, resource, "no Flotilla worker serves region %s of provider %s", r.name, r.provider).
					WithRemedy("start flotilla-worker with --provider %s --region %s, or choose another region", r.provider, r.name))
			}
		}
	})
	defer look.Stop()
	err := f(ctx)
	if err != nil && ctx.Err() != nil {
		if cause := context.Cause(ctx); fleet.KindOf(cause) != "" {
			return cause
		}
	}
	return c.explain(err, resource)
}

// region is where the activities of a request run.
type region struct{ provider, name string }

// served says whether a worker polls a queue.
func (c *Client) served(ctx context.Context, name string, kind enums.TaskQueueType) (bool, error) {
	queue, err := c.temporal.DescribeTaskQueue(ctx, name, kind)
	if err != nil {
		return false, err
	}
	for _, poller := range queue.GetPollers() {
		if time.Since(poller.GetLastAccessTime().AsTime()) < pollerAge {
			return true, nil
		}
	}
	return false, nil
}
