//go:build unix

package service

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/node/internal/durable"
)

// backoff is how long a service that ended by itself waits for its next start:
// first, doubled each time up to most, and first again once it ran for calm.
type backoff struct{ first, most, calm time.Duration }

// One tenth of a second is short enough that a single crash is no outage; ten
// seconds keep a service that can never start from eating a core.
var defaultBackoff = backoff{first: 100 * time.Millisecond, most: 10 * time.Second, calm: 30 * time.Second}

// process is a running service.
type process struct {
	pid    int
	ended  chan string // how it ended, then closed
	logEnd int64       // where the log ended when it was started
}

// runner keeps one service running. Its loop is the only one that starts or ends
// the service's process.
type runner struct {
	files   files
	log     *zap.Logger
	backoff backoff
	name    string
	wishes  chan desired // the latest only; closed when the service is removed

	want  desired
	rec   record
	proc  *process
	delay time.Duration
	timer *time.Timer // runs while the next start is awaited
}

func newRunner(s *Supervisor, name string) *runner {
	return &runner{
		files: s.files, log: s.log.With(zap.String("service", name)), backoff: s.backoff,
		name: name, wishes: make(chan desired, 1),
	}
}

// tell replaces what the runner has not yet heard by what is wanted now.
func (r *runner) tell(d desired) {
	select {
	case <-r.wishes:
	default:
	}
	r.wishes <- d
}

func (r *runner) run(ctx context.Context) {
	defer r.calmDown()
	first, ok := <-r.wishes
	r.want = first
	r.takeOver(ctx)
	for ok {
		r.follow()
		var ended <-chan string
		var due <-chan time.Time
		if r.proc != nil {
			ended = r.proc.ended
		}
		if r.timer != nil {
			due = r.timer.C
		}
		select {
		case <-ctx.Done():
			r.stop("with its host")
			r.save()
			return
		case r.want, ok = <-r.wishes:
		case how := <-ended:
			r.crashed(how)
		case <-due:
			r.timer = nil
			r.start()
		}
	}
	r.stop("because it was removed")
}

// takeOver finds the process that an earlier supervisor left running.
func (r *runner) takeOver(ctx context.Context) {
	rec, found, err := r.files.find(r.name)
	if err != nil {
		r.log.Error("looking for a running process failed", zap.Error(err))
	}
	r.rec = rec
	if !found {
		r.rec.PID, r.rec.Identity = 0, ""
		return
	}
	p := &process{pid: rec.PID, ended: make(chan string, 1)}
	if info, err := os.Stat(r.files.log(r.name)); err == nil {
		p.logEnd = max(0, info.Size()-maxLastOutput)
	}
	go func() {
		// Also while the supervisor ends: then it waits for this end.
		_ = awaitGone(context.WithoutCancel(ctx), rec.PID, rec.Identity)
		p.ended <- "ended; how is not known, because the supervisor had been restarted"
		close(p.ended)
	}()
	r.proc = p
	r.log.Info("took over a running process", zap.Int("pid", p.pid))
	r.save()
}

// follow brings the service to what is wanted.
func (r *runner) follow() {
	if r.want.Generation == r.rec.Generation && r.want.Run == (r.proc != nil || r.timer != nil) {
		return
	}
	if r.want.Generation != r.rec.Generation {
		r.stop("because that was asked for")
		r.calmDown()
		r.rec.Generation = r.want.Generation
		r.rec.Restarts = 0
		r.rec.LastExit, r.rec.LastOutput = "", ""
	}
	if r.want.Run {
		r.start()
		return
	}
	r.stop("because that was asked for")
	r.calmDown()
	r.save()
}

func (r *runner) calmDown() {
	r.delay = 0
	if r.timer != nil {
		r.timer.Stop()
		r.timer = nil
	}
}

func (r *runner) start() {
	if err := r.launch(); err != nil {
		r.log.Error("could not be started", zap.Error(err))
		r.crashed("could not be started: " + err.Error())
		return
	}
	r.log.Info("started", zap.Int("pid", r.proc.pid), zap.Int("restarts", r.rec.Restarts))
	r.save()
}

func (r *runner) launch() error {
	if len(r.want.Argv) == 0 {
		return errors.New("no program is given")
	}
	for _, path := range r.want.Requires {
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("what it needs is not there: %w", err)
		}
	}
	marker, err := r.files.marker(r.name)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(r.files.log(r.name), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	defer out.Close()
	info, err := out.Stat()
	if err != nil {
		return err
	}
	cmd := exec.Command(r.want.Argv[0], r.want.Argv[1:]...) //nolint:gosec,noctx // running programs is what it is for; they outlive it
	cmd.Dir = "/"
	// The file itself, not a pipe through us: a pipe would end with us.
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Env = append(inherited(os.Environ()),
		markerVariable+"="+marker,
		generationVariable+"="+strconv.FormatInt(r.rec.Generation, 10),
	)
	for _, key := range slices.Sorted(maps.Keys(r.want.Env)) {
		cmd.Env = append(cmd.Env, key+"="+r.want.Env[key])
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	p := &process{pid: cmd.Process.Pid, ended: make(chan string, 1), logEnd: info.Size()}
	r.rec.PID, r.rec.Started, r.rec.NextStart = p.pid, time.Now(), time.Time{}
	// Empty if it has ended already: then nobody needs it.
	r.rec.Identity, _ = processIdentity(p.pid)
	r.proc = p
	go func() {
		_ = cmd.Wait()
		p.ended <- cmd.ProcessState.String()
		close(p.ended)
	}()
	return nil
}

// inherited is what services get of the supervisor's own environment: little,
// because etcd reads settings from it (ETCD_*), and secrets may stand in it. What
// is Flotilla's own is passed on: the local provider finds all processes of a
// host by what it marked the first one with. So are the bounds of Go programs: they
// are what a machine type of that provider means.
func inherited(environ []string) []string {
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	for _, variable := range environ {
		key, _, _ := strings.Cut(variable, "=")
		own := strings.HasPrefix(key, "FLOTILLA_") && key != markerVariable && key != generationVariable
		if own || key == "GOMAXPROCS" || key == "GOMEMLIMIT" {
			env = append(env, variable)
		}
	}
	return env
}

// crashed notes how the service ended by itself and waits for its next start.
func (r *runner) crashed(how string) {
	r.rec.LastOutput = ""
	if r.proc != nil {
		r.rec.LastOutput = tail(r.files.log(r.name), r.proc.logEnd, maxLastOutput)
		if time.Since(r.rec.Started) >= r.backoff.calm {
			r.delay = 0
		}
	}
	r.proc = nil
	// Counted now, not when it is started again: whoever looks in between must not
	// find the new process with the old count.
	r.rec.Restarts++
	r.rec.PID, r.rec.Identity, r.rec.LastExit = 0, "", how
	r.delay = min(max(r.backoff.first, 2*r.delay), r.backoff.most)
	r.timer = time.NewTimer(r.delay)
	r.rec.NextStart = time.Now().Add(r.delay)
	r.log.Warn("ended by itself", zap.String("how", how), zap.Duration("startedAgainIn", r.delay))
	r.save()
}

// stop ends the process, if there is one: asked first, killed after StopTimeout.
func (r *runner) stop(why string) {
	if r.proc == nil {
		return
	}
	p := r.proc
	r.log.Info("stopping "+why, zap.Int("pid", p.pid))
	signalEnd(p.pid)
	patience := time.NewTimer(StopTimeout)
	defer patience.Stop()
	select {
	case <-p.ended:
	case <-patience.C:
		r.log.Warn("did not end in time, killing it", zap.Int("pid", p.pid))
		signalKill(p.pid)
		<-p.ended
	}
	r.proc = nil
	r.rec.PID, r.rec.Identity = 0, ""
}

func (r *runner) save() {
	if err := durable.WriteJSON(r.files.status(r.name), r.rec, 0o644); err != nil {
		r.log.Error("its status could not be written", zap.Error(err))
	}
}
