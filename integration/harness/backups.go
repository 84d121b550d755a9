package harness

import (
	"context"

	"go.temporal.io/sdk/client"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// Backups gives the backups of a cluster that exists.
func (e *Env) Backups(cluster string) ([]fleet.Backup, error) {
	found, err := e.Client.Backups(e.t.Context(), workflows.BackupsRequest{
		Provider: "local", Region: Region, Clusters: []fleet.BackupsOf{{Cluster: cluster}},
	})
	return found.Backups, err
}

// BeginFrom asks for a cluster that begins with a backup.
func (e *Env) BeginFrom(spec fleet.Spec, b fleet.Backup) (*Running, error) {
	return e.begin(spec.Name, func(ctx context.Context, request starter.Request) (workflows.SubmitReply, error) {
		request.Options = fleet.Options{Restore: fleet.RestoreOf(b)}
		return e.Client.Create(ctx, spec, request)
	})
}

// BeginRehearsal asks for a rehearsal. Once it has ended, the backup is there with what
// became of it.
func (e *Env) BeginRehearsal(request fleet.RehearseRequest) (*Running, *fleet.Backup, error) {
	return e.beginWith(starter.Ref{
		Cluster: request.Scratch(fleet.Backup{}).Cluster, Kind: workflows.RehearseType, ID: request.ID,
		WorkflowID: workflows.RehearsalID(request.Spec.Name, request.ID),
	}, request)
}

// BeginVerification asks to have the newest backup of a cluster read to its last byte. Once
// that has ended, the backup is there.
func (e *Env) BeginVerification(cluster, uid string) (*Running, *fleet.Backup, error) {
	id := starter.NewRequestID()[:8]
	return e.beginWith(starter.Ref{Cluster: cluster, Kind: workflows.VerifyBackupType, ID: id, WorkflowID: "verify/" + cluster + "/" + id},
		workflows.BackupRequest{Provider: "local", Region: Region, Cluster: cluster, UID: uid})
}

// beginWith begins a workflow that does something with a backup.
func (e *Env) beginWith(ref starter.Ref, request any) (*Running, *fleet.Backup, error) {
	ctx, cancel := context.WithTimeout(e.t.Context(), Patience)
	defer cancel()
	_, err := e.waiter.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: ref.WorkflowID, TaskQueue: workflows.TaskQueue}, string(ref.Kind), request)
	if err != nil {
		return nil, nil, err
	}
	b := &fleet.Backup{}
	return e.running(ref, b), b, nil
}

// Result gives what an operation that has ended came to.
func (e *Env) Result(ctx context.Context, cluster string, kind fleet.OperationKind, id string) (result workflows.OperationResult, err error) {
	err = e.waiter.GetWorkflow(ctx, workflows.OperationID(cluster, kind, id), "").Get(ctx, &result)
	return result, err
}
