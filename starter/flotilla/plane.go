package main

import (
	"context"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// plane is what the commands ask of the control plane: *starter.Client, which says
// what each of these means.
type plane interface {
	Describe(ctx context.Context, cluster string) (workflows.ClusterView, error)
	Clusters(ctx context.Context, filter starter.Filter) (starter.List, error)
	Operations(ctx context.Context, cluster string, limit int) ([]starter.OperationEntry, error)
	Beside(ctx context.Context, cluster string, limit int) ([]starter.OperationEntry, error)
	FindOperation(ctx context.Context, name string) (starter.Ref, error)
	Backups(ctx context.Context, request workflows.BackupsRequest) (workflows.BackupsReply, error)
	RehearseBackup(ctx context.Context, request fleet.RehearseRequest, tell func(string)) (fleet.Backup, error)
	CompareKeys(ctx context.Context, operation fleet.Operation, tell func(string)) (fleet.KeyComparison, error)
	VerifyBackup(ctx context.Context, request workflows.BackupRequest, tell func(string)) (fleet.Backup, error)
	Endpoints(ctx context.Context, cluster string) ([]fleet.Endpoint, error)
	Recipient(ctx context.Context, provider, region string) (string, error)
	Credentials(ctx context.Context, cluster, name string, csrPEM []byte, validity time.Duration) (workflows.CertificateReply, error)

	Examine(ctx context.Context, provider, region string) ([]fleet.Check, error)
	DiskSnapshots(ctx context.Context, view workflows.ClusterView) (workflows.InventoryReply, error)
	Strays(ctx context.Context, provider, region string, olderThan time.Duration) (starter.Strays, error)
	RemoveStrays(ctx context.Context, provider, region string, strays []starter.Stray) (workflows.RemoveReply, error)

	Plan(ctx context.Context, operation fleet.Operation) (workflows.PlanReply, error)
	Create(ctx context.Context, spec fleet.Spec, request starter.Request) (workflows.SubmitReply, error)
	Adopt(ctx context.Context, spec fleet.Spec, request starter.Request) (workflows.SubmitReply, error)
	Change(ctx context.Context, cluster string, kind fleet.OperationKind, spec *fleet.Spec, request starter.Request) (workflows.SubmitReply, error)
	Resume(ctx context.Context, cluster, requestID string) (workflows.SubmitReply, error)
	Amend(ctx context.Context, cluster string, spec fleet.Spec) error
	Cancel(ctx context.Context, cluster, operation, why string) (workflows.SubmitReply, error)
	Protect(ctx context.Context, cluster string, protected bool) error

	Progress(ctx context.Context, ref starter.Ref) (fleet.Progress, error)
	Watch(ctx context.Context, ref starter.Ref, f func(fleet.Progress)) (workflows.OperationResult, error)
	AwaitBegun(ctx context.Context, ref starter.Ref) (bool, error)
	Approve(ctx context.Context, ref starter.Ref, why string) error
	Reject(ctx context.Context, ref starter.Ref, why string) error
	Pause(ctx context.Context, ref starter.Ref, why string) error
	ResumePaused(ctx context.Context, ref starter.Ref, why string) error

	Origin() starter.Origin
	WorkflowURL(workflowID string) string
	Close()
}

// reach connects to the control plane.
func (a *app) reach(ctx context.Context) (plane, error) { return a.connect(ctx, a.options) }

func dial(ctx context.Context, options starter.Options) (plane, error) {
	client, err := starter.Dial(ctx, options)
	if err != nil {
		return nil, err // not a *Client that is nil inside of an interface that is not
	}
	return client, nil
}
