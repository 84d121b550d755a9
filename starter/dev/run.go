package dev

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter/devenv"
)

const (
	// temporalReady: a first start makes the database; a loaded laptop takes its time.
	temporalReady = time.Minute
	workerReady   = time.Minute
	s3Ready       = 20 * time.Second
	// temporalGrace: it leaves within four seconds by itself.
	temporalGrace = 8 * time.Second
	// workerGrace lets the worker finish or hand back what it has in hand.
	workerGrace = 25 * time.Second
)

// environment is one run of a development environment.
type environment struct {
	config   Config
	programs Programs
	mu       sync.Mutex
	record   devenv.Record
	running  []running
}

// running is a service that is up; stop ends it and waits.
type running struct {
	name string
	stop func()
}

// Run starts everything, keeps it running until ctx ends, and stops it in order:
// first the worker, which drains, then Temporal. Hosts keep running, as machines
// do. The error is of kind fleet.Conflict when another runs on the same data.
func Run(ctx context.Context, config Config) error {
	config, err := config.withDefaults()
	if err != nil {
		return err
	}
	programs, err := FindPrograms(config.BinDir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(config.DataDir, 0o700); err != nil {
		return fleet.Errorf(fleet.Denied, config.DataDir, "cannot be made: %w", err).WithRemedy("choose another with --data")
	}
	release, ok, err := acquire(config.DataDir)
	if err != nil {
		return err
	}
	if !ok {
		return alreadyRuns(config.DataDir)
	}
	defer release()
	record, err := prepare(config)
	if err != nil {
		return err
	}
	endLeftovers(ctx, record, config.Say)
	record.Processes, record.Supervisor, record.Started = map[string]devenv.Process{}, os.Getpid(), time.Now()
	record.NodeBinary = programs.Node
	e := &environment{config: config, programs: programs, record: record}
	err = e.start(ctx)
	if err == nil {
		e.greet()
		<-ctx.Done()
		config.Say("stopping: the worker finishes what it has in hand …")
	}
	// The context is over; what follows must happen all the same.
	return errors.Join(ignoreEnd(ctx, err), e.end(context.WithoutCancel(ctx)))
}

func ignoreEnd(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return nil
	}
	return err
}

func alreadyRuns(dataDir string) error {
	text := "flotilla dev runs here already"
	if r, err := devenv.Read(dataDir); err == nil && r.Supervisor != 0 {
		text += fmt.Sprintf(" (process %d, Temporal at %s)", r.Supervisor, r.Address)
	}
	return fleet.Errorf(fleet.Conflict, dataDir, "%s", text).
		WithRemedy("see flotilla dev status, end it with flotilla dev down, or choose another directory with --data")
}

// start brings up Temporal, the object store and the worker, in this order.
func (e *environment) start(ctx context.Context) error {
	if err := withFreePorts(func() error { return e.startTemporal(ctx) }); err != nil {
		return err
	}
	env := childEnvironment()
	if e.config.S3 {
		var more []string
		err := withFreePorts(func() (err error) {
			more, err = e.startS3(ctx)
			return err
		})
		if err != nil {
			return err
		}
		env = append(env, more...)
	} else {
		e.record.ObjectStore = "file://" + filepath.Join(e.config.DataDir, "objects")
	}
	if e.record.HostsStopped {
		n, err := startHosts(ctx, e.record)
		if err != nil {
			return err
		}
		e.config.Say("%d hosts that flotilla dev down had stopped run again", n)
		e.record.HostsStopped = false
	}
	if err := withFreePorts(func() error { return e.startWorker(ctx, env) }); err != nil {
		return err
	}
	return e.change(func(r *devenv.Record) { r.Ready = true })
}

func (e *environment) startTemporal(ctx context.Context) error {
	program, err := e.programs.Tool("temporal-server")
	if err != nil {
		return err
	}
	if e.record.Port, err = choosePort(ctx, "--port", e.config.Port, e.record.Port, defaultPort); err != nil {
		return err
	}
	if e.record.UIPort, err = choosePort(ctx, "--ui-port", e.config.UIPort, e.record.UIPort, defaultUIPort); err != nil {
		return err
	}
	e.record.Address, e.record.UI = hostPort(e.record.Port), "http://"+hostPort(e.record.UIPort)
	from := size(e.log("temporal"))
	return e.up(ctx, &service{
		name: "temporal", program: program, env: childEnvironment(),
		args: []string{
			"--ip", loopback, "--port", fmt.Sprint(e.record.Port), "--ui-port", fmt.Sprint(e.record.UIPort),
			"--db", filepath.Join(e.config.DataDir, "temporal.db"), "--log-level", e.config.LogLevel,
		},
		ready: func(context.Context) error { return says(e.log("temporal"), from, "ready frontend=") }, readyIn: temporalReady, grace: temporalGrace,
	}, devenv.Process{})
}

func (e *environment) startWorker(ctx context.Context, env []string) error {
	health, err := anyPort(ctx)
	if err != nil {
		return err
	}
	metrics, err := anyPort(ctx)
	if err != nil {
		return err
	}
	r := e.record
	healthURL := "http://" + hostPort(health) + "/readyz"
	var second []string
	if e.config.SecondStore != "" {
		second = []string{"--second-store", e.config.SecondStore}
	}
	return e.up(ctx, &service{
		name: "worker", program: e.programs.Worker, env: env,
		args: append([]string{
			"--address", r.Address, "--namespace", r.Namespace,
			"--provider", "local", "--region", r.Region, "--zones", strings.Join(r.Zones, ","),
			"--data", r.LocalRoot, "--node-binary", e.programs.Node,
			"--object-store", r.ObjectStore, "--fleet-key", r.FleetKey, "--releases", e.programs.Releases,
			"--metrics-address", hostPort(metrics), "--health-address", hostPort(health), "--log-format", "console",
		}, second...),
		ready: func(ctx context.Context) error { return answers(ctx, healthURL) }, readyIn: workerReady, grace: workerGrace,
	}, devenv.Process{Health: healthURL, Metrics: "http://" + hostPort(metrics) + "/metrics"})
}

// up starts a service under supervision and records it.
func (e *environment) up(ctx context.Context, s *service, about devenv.Process) error {
	s.log = e.log(s.name)
	about.Log, about.Program = s.log, s.program
	s.begun = func(s *service, pid, restarts int) {
		about.PID, about.Restarts, about.Started = pid, restarts, time.Now()
		now := about
		if err := e.change(func(r *devenv.Record) { r.Processes[s.name] = now }); err != nil {
			e.config.Say("%s", err)
		}
		if restarts > 0 {
			e.config.Say("%s runs again (process %d)", s.name, pid)
		}
	}
	s.died = func(s *service, how string, again time.Duration) {
		e.config.Say("%s ended by itself (%s); it is started again in %s; its log: %s", s.name, how, again, s.log)
	}
	// Each service is ended in its turn, so it does not end with ctx.
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done, err := s.up(ctx, own)
	if err != nil {
		cancel()
		return err
	}
	e.running = append(e.running, running{name: s.name, stop: func() { cancel(); <-done }})
	return nil
}

func (e *environment) log(name string) string { return Log(e.config.DataDir, name) }

// change changes the record and writes it down.
func (e *environment) change(f func(*devenv.Record)) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	f(&e.record)
	return e.record.Write()
}

// end stops what runs, the last started first.
func (e *environment) end(ctx context.Context) error {
	err := e.change(func(r *devenv.Record) { r.Ready = false })
	for i := len(e.running) - 1; i >= 0; i-- {
		e.running[i].stop()
	}
	if e.config.StopHosts {
		n, stopErr := stopHosts(ctx, e.record)
		err = errors.Join(err, stopErr)
		e.record.HostsStopped = n > 0
		e.config.Say("%d hosts stopped", n)
	} else if hosts, listErr := Hosts(ctx, e.record); listErr == nil && len(hosts) > 0 {
		e.config.Say("%d hosts keep running; flotilla dev takes them up again, flotilla dev down stops them", len(hosts))
	}
	return errors.Join(err, e.change(func(r *devenv.Record) { r.Supervisor, r.Processes = 0, nil }))
}

func (e *environment) greet() {
	r := e.record
	e.config.Say("Flotilla runs on this machine.\n  Temporal   %s, namespace %s, UI %s\n  worker     provider local, region %s, zones %s\n  objects    %s\n  data       %s\nIn another terminal: flotilla create -f docs/examples/orders.yaml",
		r.Address, r.Namespace, r.UI, r.Region, strings.Join(r.Zones, ", "), r.ObjectStore, r.DataDir)
}

// childEnvironment is this program's, without what would point a child at another
// Temporal or configure a worker: the flags say all that.
func childEnvironment() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "TEMPORAL_") && !strings.HasPrefix(v, "FLOTILLA_") {
			env = append(env, v)
		}
	}
	return append(env, "TEMPORAL_CONFIG_FILE="+os.DevNull)
}

// answers says whether a URL gives 200.
func answers(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	if reply.StatusCode != http.StatusOK {
		return fmt.Errorf("%s gives %s", url, reply.Status)
	}
	return nil
}
