package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/membership/static"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/primitives"
	"go.temporal.io/server/schema/sqlite"
	"go.temporal.io/server/temporal"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	// The names stand in the database; changing one orphans what is there.
	clusterName = "active"
	storeName   = "sqlite"

	// startTimeout is how long the frontend may take to answer. It takes half a second
	// on an idle machine; a loaded one gets plenty.
	startTimeout = 30 * time.Second

	// historyShards is fixed when a database is made. Four let two cores work on
	// different workflows at once without four times the idle polling of sixteen.
	historyShards = 4
)

// server is the running Temporal service.
type server struct {
	service temporal.Server
	logger  processLogger
}

// startServer returns once the frontend answers for the default namespace.
func startServer(ctx context.Context, opts *options, db *database) (*server, error) {
	settings, err := dynamicConfig(opts.dynamicConfig)
	if err != nil {
		return nil, err
	}
	store := db.sqlConfig()
	if err := createNamespaces(opts, store); err != nil {
		return nil, fmt.Errorf("database %s: %w", db.path, explain(err))
	}
	logger := newLogger(opts)
	srv, err := temporal.NewServer(
		temporal.WithConfig(serverConfig(opts, store)),
		temporal.ForServices(temporal.DefaultServices),
		temporal.WithStaticHosts(staticHosts(opts)),
		temporal.WithDynamicConfigClient(settings),
		temporal.WithLogger(logger),
		temporal.WithAuthorizer(authorization.NewNoopAuthorizer()),
		temporal.WithClaimMapper(func(*config.Config) authorization.ClaimMapper {
			return authorization.NewNoopClaimMapper()
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("temporal server: %w", err)
	}
	if err := srv.Start(); err != nil {
		return nil, fmt.Errorf("temporal server: %w", err)
	}
	s := &server{service: srv, logger: logger}
	if err := awaitFrontend(ctx, opts.frontendAddress()); err != nil {
		stopWithin(stopTimeout, s.Stop)
		return nil, err
	}
	return s, nil
}

// Stop ends all services. An error here has no use: the process is about to leave.
func (s *server) Stop() {
	s.logger.ending.Store(true)
	_ = s.service.Stop()
}

func awaitFrontend(ctx context.Context, address string) error {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return fmt.Errorf("frontend %s: %w", address, err)
	}
	defer func() { _ = conn.Close() }()
	waiting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	frontend := workflowservice.NewWorkflowServiceClient(conn)
	for {
		_, err := frontend.DescribeNamespace(waiting,
			&workflowservice.DescribeNamespaceRequest{Namespace: defaultNamespace}, grpc.WaitForReady(true))
		if err == nil {
			return nil
		}
		select {
		case <-waiting.Done():
			if ctx.Err() != nil {
				return errors.New("ended by a signal before it was ready")
			}
			return fmt.Errorf("frontend %s does not answer after %s: %w", address, startTimeout, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// createNamespaces writes them before the server starts, which spares every start the
// seconds until a namespace made through the API has reached all caches. Namespaces
// that exist stay as they are.
func createNamespaces(opts *options, store *config.SQL) error {
	var namespaces []*sqlite.NamespaceConfig
	for _, name := range opts.namespaces {
		ns, err := sqlite.NewNamespaceConfig(clusterName, name, false, map[string]enumspb.IndexedValueType{})
		if err != nil {
			return err
		}
		ns.Detail.Config.Retention = durationpb.New(opts.retention)
		namespaces = append(namespaces, ns)
	}
	return sqlite.CreateNamespaces(store, namespaces...)
}

func staticHosts(opts *options) map[primitives.ServiceName]static.Hosts {
	return map[primitives.ServiceName]static.Hosts{
		primitives.FrontendService: static.SingleLocalHost(opts.frontendAddress()),
		primitives.HistoryService:  static.SingleLocalHost(opts.address(opts.internal.history)),
		primitives.MatchingService: static.SingleLocalHost(opts.address(opts.internal.matching)),
		primitives.WorkerService:   static.SingleLocalHost(opts.address(opts.internal.worker)),
	}
}

func serverConfig(opts *options, store *config.SQL) *config.Config {
	service := func(port int) config.Service {
		return config.Service{RPC: config.RPC{GRPCPort: port, BindOnIP: opts.ip}}
	}
	cfg := &config.Config{
		Persistence: config.Persistence{
			DefaultStore:     storeName,
			VisibilityStore:  storeName,
			NumHistoryShards: historyShards,
			DataStores:       map[string]config.DataStore{storeName: {SQL: store}},
		},
		ClusterMetadata: &cluster.Config{
			FailoverVersionIncrement: 10,
			MasterClusterName:        clusterName,
			CurrentClusterName:       clusterName,
			ClusterInformation: map[string]cluster.ClusterInformation{
				clusterName: {Enabled: true, InitialFailoverVersion: 1, RPCAddress: opts.frontendAddress()},
			},
		},
		DCRedirectionPolicy: config.DCRedirectionPolicy{Policy: "noop"},
		Services: map[string]config.Service{
			string(primitives.FrontendService): service(opts.port),
			string(primitives.HistoryService):  service(opts.internal.history),
			string(primitives.MatchingService): service(opts.internal.matching),
			string(primitives.WorkerService):   service(opts.internal.worker),
		},
		PublicClient: config.PublicClient{HostPort: opts.frontendAddress()},
		Archival: config.Archival{
			History:    config.HistoryArchival{State: "disabled"},
			Visibility: config.VisibilityArchival{State: "disabled"},
		},
		NamespaceDefaults: config.NamespaceDefaults{Archival: config.ArchivalNamespaceDefaults{
			History:    config.HistoryArchivalNamespaceDefaults{State: "disabled"},
			Visibility: config.VisibilityArchivalNamespaceDefaults{State: "disabled"},
		}},
	}
	cfg.Global.Membership = config.Membership{MaxJoinDuration: startTimeout, BroadcastAddress: opts.ip}
	if opts.metricsPort != 0 {
		cfg.Global.Metrics = &metrics.Config{Prometheus: &metrics.PrometheusConfig{
			ListenAddress: opts.metricsAddress(),
			HandlerPath:   "/metrics",
		}}
	}
	return cfg
}
