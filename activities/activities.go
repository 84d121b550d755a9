// Package activities does what plans say: it looks at clusters and carries out
// steps, through a cloud (iaas), the host side (node), etcd (etcdadmin), the
// object store and the certificate authorities (pki).
//
// Every activity is idempotent: it may be killed at any instant and run again, or
// overlap with its own earlier attempt. It decides nothing that the planner could
// decide, and maps every error to whether trying again makes sense (errors.go).
package activities

import (
	"context"
	"os"
	"time"

	"go.temporal.io/sdk/activity"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/flotilla-etcd/flotilla/endpoints"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/iaas/span"
	"github.com/flotilla-etcd/flotilla/objectstore"
	"github.com/flotilla-etcd/flotilla/pki"
)

// Region is what the activities of one region work with. Every field is required but
// Policy, Elsewhere, and those that say what nil means.
type Region struct {
	Provider iaas.Provider
	// Elsewhere are the other regions that clusters move from and to.
	Elsewhere map[fleet.Place]iaas.Provider
	Store     objectstore.Store
	// Second is another store, best in another region, into which backups are copied and from
	// which they are read when Store cannot give them. Nil: there is none.
	Second objectstore.Store
	// Absence remembers that Store does not answer, for who can read from Second instead.
	Absence *objectstore.Absence
	// Lock is how long backups are locked in the store; the zero one locks none.
	Lock objectstore.LockRule
	// Key seals what must not be read by whoever can read the store.
	Key *pki.FleetKey
	// Catalogue is the path of the release catalogue; it is read anew each time,
	// so that a release can be added while workers run.
	Catalogue string
	// Policy is the path of the fleet's default policy, likewise; empty for none.
	Policy string
	// Endpoints publishes where clients connect. Nil: specs with a record are refused.
	Endpoints endpoints.Publisher
	// Scratch is a directory for snapshots that are being verified.
	Scratch string
	// Clusters lists the clusters of the fleet that exist, as its visibility has them:
	// who is backed up without being asked. Nil means that none is.
	Clusters func(ctx context.Context) ([]fleet.Summary, error)
	// Standbys is told each minute how the clusters of the region are that have a standby; one
	// whose At is zero could not be seen. Nil: nobody wants to know.
	Standbys func([]fleet.Summary)
	// BackupsAtOnce is how many scheduled backups of the region may run at a time.
	BackupsAtOnce int
	// CopyEvery is how long after a look at what a cluster has in Store the next one follows:
	// with the copying itself, by so much Second is behind. Zero: DefaultCopyEvery.
	CopyEvery time.Duration
	// WantBackup asks the region's schedule for a backup that is due by no time, and
	// RecordChanges has the recording of the region's changes begun, if it does not run.
	// Nil where there are no such workflows.
	WantBackup    func(ctx context.Context, op fleet.Operation) error
	RecordChanges func(ctx context.Context) error
	// Protection is told how old backups, rehearsals and changes are; nil tells nobody.
	Protection Protection
	// Calls sees each call of a cluster's members over etcd's API; nil for none.
	Calls grpc.UnaryClientInterceptor
	Log   *zap.Logger

	span *span.Provider // of Provider and Elsewhere
}

// Registry is what activities are registered with: a Temporal worker.
type Registry interface {
	RegisterActivityWithOptions(a any, options activity.RegisterOptions)
}

// Register registers the activities of a region, each under its own name.
func Register(registry Registry, r Region) {
	r = r.ready()
	planner, compute, hosts, upkeep := &Planner{r}, &Compute{r}, &Hosts{r}, &Upkeep{r}
	backups := &Backups{r}
	members, versions, snapshots, authorities := &Members{r}, &Versions{r}, &Snapshots{r}, &Authorities{r}
	for name, a := range map[string]any{
		fleet.ActivityLook:             planner.Look,
		fleet.ActivityForecast:         planner.Forecast,
		fleet.ActivitySurvey:           planner.Survey,
		fleet.ActivityPublishEndpoints: planner.PublishEndpoints,
		fleet.ActivityIssueCertificate: authorities.IssueCertificate,
		fleet.ActivityFleetRecipient:   authorities.FleetRecipient,
		fleet.ActivityExamine:          upkeep.Examine,
		fleet.ActivityInventory:        upkeep.Inventory,
		fleet.ActivityRemoveResources:  upkeep.RemoveResources,

		string(fleet.CreateAuthority):    authorities.CreateAuthority,
		string(fleet.ImportAuthority):    authorities.ImportAuthority,
		string(fleet.ExtendAuthority):    authorities.ExtendAuthority,
		string(fleet.SwitchAuthority):    authorities.SwitchAuthority,
		string(fleet.RetireAuthority):    authorities.RetireAuthority,
		string(fleet.DestroyAuthority):   authorities.DestroyAuthority,
		string(fleet.LaunchHost):         compute.LaunchHost,
		string(fleet.AttachDisk):         compute.AttachDisk,
		string(fleet.ReleaseHost):        compute.ReleaseHost,
		string(fleet.DeleteDisk):         compute.DeleteDisk,
		string(fleet.StopHost):           compute.StopHost,
		string(fleet.StartHost):          compute.StartHost,
		string(fleet.ResizeHost):         compute.ResizeHost,
		string(fleet.GrowDisk):           compute.GrowDisk,
		string(fleet.RetypeDisk):         compute.RetypeDisk,
		string(fleet.AdoptHost):          compute.AdoptHost,
		string(fleet.PrepareHost):        hosts.PrepareHost,
		string(fleet.RenewCertificates):  hosts.RenewCertificates,
		string(fleet.StartMember):        hosts.StartMember,
		string(fleet.StopMember):         hosts.StopMember,
		string(fleet.RestartMember):      hosts.RestartMember,
		string(fleet.RollBackMember):     hosts.RollBackMember,
		string(fleet.AdoptMember):        hosts.AdoptMember,
		string(fleet.RecoverMember):      hosts.RecoverMember,
		string(fleet.RestoreMember):      hosts.RestoreMember,
		string(fleet.DiscardData):        hosts.DiscardData,
		string(fleet.SnapshotDisk):       compute.SnapshotDisk,
		string(fleet.DeleteDiskSnapshot): compute.DeleteDiskSnapshot,
		string(fleet.AddLearner):         members.AddLearner,
		string(fleet.AwaitHealthy):       members.AwaitHealthy,
		string(fleet.AwaitInSync):        members.AwaitInSync,
		string(fleet.AwaitSettled):       members.AwaitSettled,
		string(fleet.Promote):            members.Promote,
		string(fleet.MoveLeader):         members.MoveLeader,
		string(fleet.RemoveMember):       members.RemoveMember,
		string(fleet.UpdateMember):       members.UpdateMember,
		string(fleet.EnableDowngrade):    versions.EnableDowngrade,
		string(fleet.CancelDowngrade):    versions.CancelDowngrade,
		string(fleet.TakeRaftSnapshot):   versions.TakeRaftSnapshot,
		fleet.ActivityListBackups:        backups.ListBackups,
		fleet.ActivityCheckBackup:        backups.CheckBackup,
		fleet.ActivityCompareRehearsal:   backups.CompareRehearsal,
		string(fleet.SaveBackup):         backups.SaveBackup,
		string(fleet.VerifyBackup):       backups.VerifyBackup,
		string(fleet.CompareKeys):        backups.CompareKeys,
		string(fleet.RestoreKeys):        backups.RestoreKeys,
		fleet.ActivityDueBackups:         backups.DueBackups,
		string(fleet.ExpireBackups):      backups.ExpireBackups,
		string(fleet.SaveFinalSnapshot):  snapshots.SaveFinalSnapshot,
		string(fleet.CloseSnapshot):      snapshots.CloseSnapshot,
		string(fleet.ReopenSnapshot):     snapshots.ReopenSnapshot,
	} {
		registry.RegisterActivityWithOptions(a, activity.RegisterOptions{Name: name})
	}
}

// RegisterRecording registers the activity that records changes, with a worker that has
// slots for it alone.
func RegisterRecording(registry Registry, r Region) {
	registry.RegisterActivityWithOptions((&Changes{r.ready()}).RecordChanges, activity.RegisterOptions{Name: fleet.ActivityRecordChanges})
}

// RegisterCopying registers the activity that copies backups into the second store, likewise.
func RegisterCopying(registry Registry, r Region) {
	registry.RegisterActivityWithOptions((&Copies{r.ready()}).CopyBackups, activity.RegisterOptions{Name: fleet.ActivityCopyBackups})
}

// Check says whether what the region works with can be used, before anything
// depends on it.
func (r Region) Check() error {
	if _, err := r.catalogue(); err != nil {
		return err
	}
	if _, err := r.fleetPolicy(); err != nil {
		return err
	}
	if info, err := os.Stat(r.Scratch); err != nil || !info.IsDir() {
		return fleet.Errorf(fleet.Invalid, "scratch directory "+r.Scratch, "is not a directory").WithRemedy("see the worker's --scratch")
	}
	return nil
}

func (r Region) catalogue() (fleet.Catalogue, error) {
	data, err := os.ReadFile(r.Catalogue)
	if err != nil {
		return fleet.Catalogue{}, fleet.Errorf(fleet.Unavailable, "release catalogue", "cannot be read: %w", err).
			WithRemedy("see the worker's --releases")
	}
	return fleet.ParseCatalogue(data, r.Catalogue)
}

// fleetPolicy gives the fleet's default policy.
func (r Region) fleetPolicy() (fleet.Policy, error) {
	if r.Policy == "" {
		return fleet.Policy{}, nil
	}
	data, err := os.ReadFile(r.Policy)
	if err != nil {
		return fleet.Policy{}, fleet.Errorf(fleet.Unavailable, "fleet policy", "cannot be read: %w", err).
			WithRemedy("see the worker's --policy")
	}
	return fleet.ParsePolicy(data, "fleet policy "+r.Policy)
}

// policy gives the policy that is in force for an operation. A file that is being
// edited ends none: it is read again.
func (r Region) policy(op fleet.Operation) (fleet.Policy, error) {
	base, err := r.fleetPolicy()
	if err != nil {
		err = &fleet.Error{Kind: fleet.Unavailable, Message: err.Error(), Err: err}
	}
	spec := op.Spec.Policy
	if op.Kind == fleet.BackupCluster { // nothing of the cluster changes: who asks for one can ask for approval too
		spec.Approval, base.Approval = "", ""
	}
	return op.Options.Policy.Over(spec).Over(base).WithDefaults(), err
}

// beat records how far an activity is; percent below zero means that there is none.
//
// What ends with ctx is not the beat: the SDK sends later beats by the context of the
// first one of each second, and takes it for the end of the whole activity when that
// has ended, as one that bounded a single question has.
func beat(ctx context.Context, percent int, note string) {
	b := fleet.StepBeat{Note: note}
	if luggage, ok := ctx.Value(luggageKey{}).(*luggage); ok {
		b.Resume = luggage.packed()
	}
	if percent >= 0 {
		b.Percent = &percent
	}
	activity.RecordHeartbeat(context.WithoutCancel(ctx), b)
}

// The pace of polls: quick at first, because here it is often a matter of
// milliseconds, then once a second, because clouds count what they are asked.
const (
	firstPoll = 10 * time.Millisecond
	slowPoll  = time.Second
)

// poll asks check again and again until it says done, gives an error, or the
// context ends. What check says of the progress goes into the heartbeat.
func poll(ctx context.Context, check func(ctx context.Context) (done bool, percent int, note string, err error)) error {
	return pollAt(ctx, func(usual time.Duration) time.Duration { return usual }, check)
}

// pollAt is poll for who knows when to look again: pace gives the pause after a look,
// from what it would be otherwise.
func pollAt(ctx context.Context, pace func(usual time.Duration) time.Duration, check func(ctx context.Context) (done bool, percent int, note string, err error)) error {
	for usual := firstPoll; ; usual = min(usual*3/2, slowPoll) {
		done, percent, note, err := check(ctx)
		if err != nil || done {
			return err
		}
		beat(ctx, percent, note)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pace(usual)):
		}
	}
}
