// Package workers puts a worker together: it reads the configuration, picks the
// implementations (the only place that does), registers workflows and
// activities, serves metrics and health, and drains when it is told to end.
//
// Workers keep no state. Any number of them may serve a region; killing one
// loses nothing but the time until its steps are taken up by another.
package workers

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/activities"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
	"github.com/flotilla-etcd/flotilla/pki"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// dialTimeout is how long a worker tries to reach Temporal before it says so.
const dialTimeout = 10 * time.Second

// beatInterval is how often a step's heartbeat reaches Temporal at most, and how
// soon a cancellation reaches the step.
const beatInterval = time.Second

// Options are what a program that embeds a worker may add.
type Options struct {
	// Interceptors see every workflow and activity, outermost first.
	Interceptors []interceptor.WorkerInterceptor
	// Region may wrap or replace what activities work with; nil leaves it as it is.
	Region func(*activities.Region)
}

// Run runs a worker until ctx ends, then drains it: no new step is taken, those
// in hand may finish for as long as the drain timeout.
func Run(ctx context.Context, c Config, o Options) error {
	if err := c.check(); err != nil {
		return err
	}
	log, err := newLogger(c)
	if err != nil {
		return err
	}
	defer func() { _ = log.Sync() }()
	metrics, err := newMetrics()
	if err != nil {
		return err
	}
	temporal, namespace, err := dial(ctx, c, log, metrics)
	if err != nil {
		return err
	}
	defer temporal.Close()
	if err := ensureSearchAttributes(ctx, temporal, namespace, log); err != nil {
		return err
	}
	set, err := assemble(ctx, c, o, temporal, namespace, log, metrics)
	if err != nil {
		return err
	}
	servers, err := serve(ctx, c, metrics, set.ready)
	if err != nil {
		return err
	}
	defer servers.close(ctx)
	if err := startSchedule(ctx, c, temporal); err != nil {
		return err
	}
	if err := startCopies(ctx, c, temporal); err != nil {
		return err
	}
	if err := set.start(); err != nil {
		return err
	}
	log.Info("worker is ready", zap.String("provider", c.Provider), zap.String("region", c.Region),
		zap.Strings("serves", c.Serve), zap.String("build", c.BuildID))
	select {
	case <-ctx.Done():
	case err = <-set.fatal:
		err = fleet.Errorf(fleet.Unavailable, "worker", "cannot go on: %w", err)
	}
	log.Info("worker is draining", zap.Duration("atMost", c.DrainTimeout))
	set.stop()
	log.Info("worker has ended")
	return err
}

// dial connects to Temporal as its own configuration says, with our flags on top.
// It also gives the namespace that follows from both.
func dial(ctx context.Context, c Config, log *zap.Logger, m *metrics) (client.Client, string, error) {
	options, err := envconfig.LoadClientOptions(envconfig.LoadClientOptionsRequest{ConfigFileProfile: c.Profile})
	if err != nil {
		return nil, "", fleet.Errorf(fleet.Invalid, "Temporal's configuration", "%w", err)
	}
	if c.Address != "" {
		options.HostPort = c.Address
	}
	if c.Namespace != "" {
		options.Namespace = c.Namespace
	}
	if options.Namespace == "" {
		options.Namespace = client.DefaultNamespace
	}
	options.Logger = temporalLogger{log.Sugar().Named("temporal")}
	options.MetricsHandler = m.temporal
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	temporal, err := client.DialContext(ctx, options)
	if err != nil {
		address := options.HostPort
		if address == "" {
			address = client.DefaultHostPort
		}
		return nil, "", fleet.Errorf(fleet.Unavailable, "Temporal at "+address, "does not answer: %w", err).
			WithRemedy("start it, or say where it is with --address or TEMPORAL_ADDRESS")
	}
	return temporal, options.Namespace, nil
}

// set is the workers of one process: one for workflows, one for the region's activities,
// one for those that record changes, and one for those that copy
// backups.
type set struct {
	workers []worker.Worker
	started []worker.Worker
	taking  atomic.Bool // all of them have started
	fatal   chan error
	healthy func(ctx context.Context) error
}

func assemble(ctx context.Context, c Config, o Options, temporal client.Client, namespace string, log *zap.Logger, m *metrics) (*set, error) {
	s := &set{fatal: make(chan error, 1), healthy: func(ctx context.Context) error {
		_, err := temporal.CheckHealth(ctx, &client.CheckHealthRequest{})
		return err
	}}
	options := worker.Options{
		Interceptors:                       append(o.Interceptors, m.interceptor()),
		WorkerStopTimeout:                  c.DrainTimeout,
		MaxConcurrentActivityExecutionSize: c.MaxSteps,
		// The SDK holds beats back for most of the timeout by default; a step that
		// beats each second is then one late beat away from being taken for dead.
		MaxHeartbeatThrottleInterval: beatInterval,
		OnFatalError: func(err error) {
			select {
			case s.fatal <- err:
			default: // the first one ends the worker
			}
		},
	}
	if c.Deployment != "" {
		options.DeploymentOptions = worker.DeploymentOptions{
			UseVersioning: true,
			Version:       worker.WorkerDeploymentVersion{DeploymentName: c.Deployment, BuildID: c.BuildID},
		}
	}
	if c.serves(ServeWorkflows) {
		w := worker.New(temporal, workflows.TaskQueue, options)
		RegisterWorkflows(w)
		s.workers = append(s.workers, w)
	}
	if c.serves(ServeActivities) {
		region, err := open(ctx, c, o, log, m)
		if err != nil {
			return nil, err
		}
		region.Clusters = clusters(temporal, namespace)
		region.WantBackup, region.RecordChanges = wantBackup(c, temporal), recordChanges(c, temporal)
		w := worker.New(temporal, workflows.RegionQueue(c.Provider, c.Region), options)
		activities.Register(activityRegistry{w}, region)
		s.workers = append(s.workers, w)
		options.MaxConcurrentActivityExecutionSize = workflows.RecordShares
		changes := worker.New(temporal, workflows.ChangesQueue(c.Provider, c.Region), options)
		activities.RegisterRecording(activityRegistry{changes}, region)
		s.workers = append(s.workers, changes)
		if region.Second != nil {
			options.MaxConcurrentActivityExecutionSize = workflows.CopyShares
			copies := worker.New(temporal, workflows.CopiesQueue(c.Provider, c.Region), options)
			activities.RegisterCopying(activityRegistry{copies}, region)
			s.workers = append(s.workers, copies)
		}
	}
	return s, nil
}

// activityRegistry narrows a worker to what activities need of it.
type activityRegistry struct{ worker.Worker }

func (r activityRegistry) RegisterActivityWithOptions(a any, options activity.RegisterOptions) {
	r.Worker.RegisterActivityWithOptions(a, options)
}

// RegisterWorkflows registers every workflow under its own name. Operations stay
// on the version that they began with. Entities live for years, so they move to
// the current version when they wake; their code is small, continues as new after
// every operation, and is held to recorded histories.
func RegisterWorkflows(r worker.WorkflowRegistry) {
	for name, w := range map[string]struct {
		run      any
		behavior workflow.VersioningBehavior
	}{
		workflows.ClusterType:             {workflows.Cluster, workflow.VersioningBehaviorAutoUpgrade},
		string(fleet.CreateCluster):       {workflows.CreateCluster, workflow.VersioningBehaviorPinned},
		string(fleet.AdoptCluster):        {workflows.AdoptCluster, workflow.VersioningBehaviorPinned},
		string(fleet.UpscaleCluster):      {workflows.UpscaleCluster, workflow.VersioningBehaviorPinned},
		string(fleet.ScaleCluster):        {workflows.ScaleCluster, workflow.VersioningBehaviorPinned},
		string(fleet.MigrateByLearner):    {workflows.MigrateByLearner, workflow.VersioningBehaviorPinned},
		string(fleet.FailoverMember):      {workflows.FailoverMember, workflow.VersioningBehaviorPinned},
		string(fleet.UpgradeCluster):      {workflows.UpgradeCluster, workflow.VersioningBehaviorPinned},
		string(fleet.RollCluster):         {workflows.RollCluster, workflow.VersioningBehaviorPinned},
		string(fleet.ChangeLeader):        {workflows.ChangeLeader, workflow.VersioningBehaviorPinned},
		string(fleet.StopCluster):         {workflows.StopCluster, workflow.VersioningBehaviorPinned},
		string(fleet.StartCluster):        {workflows.StartCluster, workflow.VersioningBehaviorPinned},
		string(fleet.RecoverQuorum):       {workflows.RecoverQuorum, workflow.VersioningBehaviorPinned},
		string(fleet.RestoreCluster):      {workflows.RestoreCluster, workflow.VersioningBehaviorPinned},
		string(fleet.RestorePrefixes):     {workflows.RestorePrefixes, workflow.VersioningBehaviorPinned},
		string(fleet.DiscardSetAside):     {workflows.DiscardSetAside, workflow.VersioningBehaviorPinned},
		string(fleet.DecommissionCluster): {workflows.DecommissionCluster, workflow.VersioningBehaviorPinned},
		string(fleet.BackupCluster):       {workflows.BackupCluster, workflow.VersioningBehaviorPinned},
		workflows.ScheduleType:            {workflows.ScheduleBackups, workflow.VersioningBehaviorAutoUpgrade},
		workflows.ChangesType:             {workflows.RecordChanges, workflow.VersioningBehaviorAutoUpgrade},
		workflows.CopiesType:              {workflows.CopyBackups, workflow.VersioningBehaviorAutoUpgrade},
		workflows.BackupsType:             {workflows.ListBackups, workflow.VersioningBehaviorPinned},
		workflows.RehearseType:            {workflows.RehearseBackup, workflow.VersioningBehaviorPinned},
		workflows.CompareKeysType:         {workflows.CompareKeys, workflow.VersioningBehaviorPinned},
		workflows.VerifyBackupType:        {workflows.VerifyBackup, workflow.VersioningBehaviorPinned},
		workflows.PlanType:                {workflows.PlanOperation, workflow.VersioningBehaviorPinned},
		workflows.SurveyType:              {workflows.SurveyClusters, workflow.VersioningBehaviorPinned},
		workflows.CertificateType:         {workflows.IssueClientCertificate, workflow.VersioningBehaviorPinned},
		workflows.RecipientType:           {workflows.FleetRecipient, workflow.VersioningBehaviorPinned},
		workflows.ExamineType:             {workflows.ExamineRegion, workflow.VersioningBehaviorPinned},
		workflows.InventoryType:           {workflows.ListResources, workflow.VersioningBehaviorPinned},
		workflows.RemoveType:              {workflows.RemoveResources, workflow.VersioningBehaviorPinned},
	} {
		r.RegisterWorkflowWithOptions(w.run, workflow.RegisterOptions{Name: name, VersioningBehavior: w.behavior})
	}
}

// open picks the implementations that the configuration names.
func open(ctx context.Context, c Config, o Options, log *zap.Logger, m *metrics) (activities.Region, error) {
	key, err := pki.LoadFleetKey(c.FleetKey)
	if err != nil {
		return activities.Region{}, err
	}
	store, err := objectstore.Open(ctx, c.ObjectStore, objectstore.Options{})
	if err != nil {
		return activities.Region{}, err
	}
	absence := &objectstore.Absence{}
	if _, err := absence.Reading(store).List(ctx, "clusters/none/"); err != nil {
		if c.SecondStore == "" || !fleet.Is(err, fleet.Unavailable) {
			return activities.Region{}, err // better now than in the middle of something
		}
		log.Warn("the object store does not answer; what is read is read from the second store meanwhile", zap.Error(err))
	}
	provider, err := openProvider(ctx, c, store, log)
	if err != nil {
		return activities.Region{}, err
	}
	if provider, err = paced(c, provider, m); err != nil {
		return activities.Region{}, err
	}
	elsewhere, err := openElsewhere(ctx, c, store, log, m)
	if err != nil {
		return activities.Region{}, err
	}
	region := activities.Region{
		Provider: provider, Elsewhere: elsewhere, Store: store, Key: key, Catalogue: c.Releases, Policy: c.Policy, Scratch: c.Scratch, Log: log,
		BackupsAtOnce: c.Backups, CopyEvery: c.CopyEvery,
	}
	if region.Lock, err = lockRule(ctx, c, store); err != nil {
		return activities.Region{}, err
	}
	if region.Second, err = openSecond(ctx, c, store); err != nil {
		return activities.Region{}, err
	}
	region.Absence = absence
	if region.Protection, err = m.watchProtection(); err != nil {
		return activities.Region{}, err
	}
	if region.Standbys, err = m.watchStandbys(); err != nil {
		return activities.Region{}, err
	}
	if region.Endpoints, err = openPublisher(ctx, c.Publish); err != nil {
		return activities.Region{}, err
	}
	if o.Region != nil {
		o.Region(&region)
	}
	return region, region.Check()
}

// lockRule gives how backups are locked, once the store says that it can: what is to be
// locked must not be found to be open when somebody has deleted it.
func lockRule(ctx context.Context, c Config, store objectstore.Store) (objectstore.LockRule, error) {
	rule, err := objectstore.ParseLockRule(c.ObjectLock)
	if err != nil || rule.Mode == "" {
		return rule, err
	}
	locker, ok := store.(objectstore.Locker)
	if !ok {
		return rule, fleet.Errorf(fleet.Invalid, "--object-lock", "%s cannot lock objects", store).WithRemedy("keep objects in a bucket with object lock")
	}
	return rule, locker.CanLock(ctx)
}

// openSecond opens the second store, where there is one. That it does not answer keeps no
// worker from starting: backups are not to depend on it.
func openSecond(ctx context.Context, c Config, first objectstore.Store) (objectstore.Store, error) {
	if c.SecondStore == "" {
		return nil, nil
	}
	second, err := objectstore.Open(ctx, c.SecondStore, objectstore.Options{Environment: "SECOND_"})
	if err == nil && second.String() == first.String() {
		err = fleet.Errorf(fleet.Invalid, "--second-store", "it is the object store itself").WithRemedy("name another one, best in another region")
	}
	return second, err
}

func (s *set) start() error {
	for _, w := range s.workers {
		if err := w.Start(); err != nil {
			s.stop()
			return fleet.Errorf(fleet.Unavailable, "worker", "cannot start: %w", err)
		}
		s.started = append(s.started, w)
	}
	s.taking.Store(true)
	return nil
}

// ready says whether the worker takes work: started, and Temporal answers.
func (s *set) ready(ctx context.Context) error {
	if !s.taking.Load() {
		return errors.New("starting")
	}
	return s.healthy(ctx)
}

func (s *set) stop() {
	done := make(chan struct{}, len(s.started))
	for _, w := range s.started {
		go func() {
			w.Stop()
			done <- struct{}{}
		}()
	}
	for range s.started {
		<-done
	}
}
