package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter"
	"github.com/flotilla-etcd/flotilla/starter/terminal"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// errTimeout ends the watching when --timeout is over.
var errTimeout = errors.New("watched for as long as --timeout allows")

// redraw is how often elapsed times move on a terminal.
const redraw = 100 * time.Millisecond

// begun is what is printed when nobody waits.
type begun struct {
	starter.Ref
	URL string `json:"url,omitempty"`
}

// ended is what is printed when an operation has been waited for.
type ended struct {
	begun
	workflows.OperationResult
}

// finish waits for an operation, or does not, and prints what came of it.
func (a *app) finish(ctx context.Context, client *starter.Client, ref starter.Ref, waves [][]fleet.Step, w waiting, output format) error {
	start := begun{Ref: ref, URL: client.WorkflowURL(ref.WorkflowID)}
	if !w.wait {
		return a.print(output, start, func() string {
			return fmt.Sprintf("%s %s has begun on %s\nwatch it: flotilla watch %s\n", ref.Kind, shortID(ref.ID), ref.Cluster, ref.Cluster)
		})
	}
	result, err := a.follow(ctx, client, ref, waves, w.timeout)
	if err != nil {
		return err
	}
	return a.print(output, ended{start, result}, func() string { return resultText(a.out, ref, result) })
}

// follow shows an operation until it ends. The error says whether it failed, or was
// only watched no longer.
func (a *app) follow(ctx context.Context, client *starter.Client, ref starter.Ref, waves [][]fleet.Step, timeout time.Duration) (workflows.OperationResult, error) {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, errTimeout)
		defer cancel()
	}
	details := "details: flotilla describe " + ref.Cluster
	if url := client.WorkflowURL(ref.WorkflowID); url != "" {
		details += " · " + url
	}
	show, done := a.display(waves, details)
	result, err := client.Watch(ctx, ref, show)
	done()
	goesOn := fmt.Sprintf("%s %s of %s goes on", ref.Kind, shortID(ref.ID), ref.Cluster)
	switch {
	case err == nil:
		return result, nil
	case errors.Is(err, errTimeout):
		return result, &exitError{code: exitFailed, err: fmt.Errorf("%s has not ended within %s; it goes on: flotilla watch %s", ref, timeout, ref.Cluster)}
	case errors.Is(err, context.Canceled):
		return result, &exitError{code: exitInterrupted, err: fmt.Errorf("stopped watching; %s: flotilla watch %s, or end it with flotilla cancel %s", goesOn, ref.Cluster, ref.Cluster)}
	}
	return result, failed(ref, err)
}

// failed says what a person can do about an operation that did not succeed.
func failed(ref starter.Ref, err error) error {
	code := exitFailed
	if fleet.Is(err, fleet.Blocked) {
		code = exitRefused
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s of %s did not succeed: %s\n", ref.Kind, shortID(ref.ID), ref.Cluster, err)
	fmt.Fprintf(&b, "  go on   flotilla resume %s\n", ref.Cluster)
	if ref.Kind == fleet.CreateCluster {
		fmt.Fprintf(&b, "  undo    flotilla decommission %s\n", ref.Cluster)
	}
	fmt.Fprintf(&b, "  look    flotilla describe %s", ref.Cluster)
	return &exitError{code: code, err: errors.New(b.String())}
}

// display gives what shows progress, in place on a terminal and line by line
// elsewhere, and what ends the showing.
func (a *app) display(waves [][]fleet.Step, details string) (show func(fleet.Progress), done func()) {
	if !a.err.Live {
		log := &progressLog{out: a.err, now: a.now, utc: a.utc}
		return log.show, func() { a.say("%s", details) }
	}
	var mu sync.Mutex
	var last *fleet.Progress
	live := terminal.NewLive(a.err)
	draw := func(footer string) {
		mu.Lock()
		defer mu.Unlock()
		if last != nil {
			live.Draw(progressText(a.err, *last, waves, a.now()) + a.err.Paint(terminal.Dim, footer))
		}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(redraw)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ticker.C:
				draw(details)
			}
		}
	}()
	show = func(p fleet.Progress) {
		mu.Lock()
		last = &p
		mu.Unlock()
	}
	return show, func() {
		close(stop)
		<-stopped
		draw("")
		live.Done()
		a.say("%s", a.err.Paint(terminal.Dim, details)) // in full, so that the link can be followed
	}
}

// progressLog tells progress line by line: one line for each change that matters.
type progressLog struct {
	out   terminal.Output
	now   func() time.Time
	utc   bool
	lines map[string]logged
	head  string    // what was last said to be going on between waves
	quiet time.Time // since when no step runs and nothing was said
	state fleet.OperationState
}

// logged is what was last said of one step.
type logged struct {
	state fleet.StepState
	err   string
	note  string
	at    time.Time
}

// noteEvery is how often a step that goes on for long says how it stands.
const noteEvery = 5 * time.Second

func (l *progressLog) show(p fleet.Progress) {
	if l.lines == nil {
		l.lines = map[string]logged{}
		l.line(p, fmt.Sprintf("%s %s has begun", p.Kind, shortID(p.Operation)))
	}
	l.doing(p)
	for _, s := range p.Steps {
		l.step(p, s)
	}
	if p.State != l.state && p.State != fleet.OperationRunning {
		text := fmt.Sprintf("%s %s: %s", p.Kind, shortID(p.Operation), p.State)
		if !p.Ended.IsZero() {
			text += " after " + terminal.Elapsed(p.Ended.Sub(p.Started))
		}
		l.line(p, text)
	}
	l.state = p.State
}

// doing tells what goes on between waves, where it takes long enough to wonder.
func (l *progressLog) doing(p fleet.Progress) {
	now := l.now()
	for _, s := range p.Steps {
		if s.State == fleet.StepRunning && !strings.HasPrefix(p.Doing, "no worker") {
			l.quiet = now
			return
		}
	}
	if l.quiet.IsZero() {
		l.quiet = now
	}
	if p.State == fleet.OperationRunning && p.Doing != l.head && now.Sub(l.quiet) >= noteEvery {
		l.line(p, p.Doing)
		l.head, l.quiet = p.Doing, now
	}
}

func (l *progressLog) step(p fleet.Progress, s fleet.StepProgress) {
	key := fmt.Sprintf("%d/%s", s.Wave, s.Step)
	before, known := l.lines[key]
	now := logged{state: s.State, err: s.Error, note: s.Note, at: l.now()}
	text := s.Step.String()
	switch {
	case s.State == fleet.StepDone && before.state != fleet.StepDone:
		text += " done in " + terminal.Elapsed(s.Ended.Sub(s.Started))
		if s.Note != "" {
			text += ": " + s.Note
		}
	case s.State == fleet.StepFailed && before.state != fleet.StepFailed:
		text += " failed: " + s.Error
	case s.State != fleet.StepRunning:
		return
	case stripRetry(s.Error) != stripRetry(before.err) && s.Error != "":
		text += fmt.Sprintf(" is tried again (attempt %d) after: %s", s.Attempt, s.Error)
	case !known:
		text += " …"
	case s.Note != before.note && s.Note != "" && now.at.Sub(before.at) >= noteEvery:
		text += ": " + s.Note
	default:
		return
	}
	l.lines[key] = now
	l.line(p, text)
}

// stripRetry drops the part of an error that counts down.
func stripRetry(text string) string {
	before, _, _ := strings.Cut(text, "; next try in ")
	return before
}

func (l *progressLog) line(p fleet.Progress, text string) {
	at := l.now()
	stamp := at.Format("15:04:05")
	if l.utc {
		stamp = at.UTC().Format(time.RFC3339)
	}
	_, _ = fmt.Fprintf(l.out, "%s  %s  %s\n", stamp, p.Cluster, text)
}
