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

// job is a run of operations on one cluster that are followed one after another.
type job struct {
	refs []starter.Ref
	// waves are the plan of the first one, where it is known, and spec what it is of.
	waves [][]fleet.Step
	spec  fleet.Spec
}

// finish waits for operations, or does not, and prints what came of each.
func (a *app) finish(ctx context.Context, client plane, j job, w waiting, output format) error {
	if !w.wait || w.noWait {
		for _, ref := range j.refs[1:] {
			a.say("%s %s of %s follows", ref.Kind, shortID(ref.ID), ref.Cluster)
		}
		ref := j.refs[0]
		return a.print(output, begun{Ref: ref, URL: client.WorkflowURL(ref.WorkflowID)}, func() string {
			return fmt.Sprintf("%s %s has begun on %s\nwatch it: flotilla watch %s\n", ref.Kind, shortID(ref.ID), ref.Cluster, ref.Cluster)
		})
	}
	if w.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, w.timeout, errTimeout)
		defer cancel()
	}
	for i, ref := range j.refs {
		if i > 0 {
			j.waves = nil // what it does depends on what the one before it left
			begins, err := client.AwaitBegun(ctx, ref)
			switch over := watchedNoLonger(ref, w, err); {
			case over != nil:
				return over
			case err != nil:
				return err
			case !begins:
				return dropped(ref)
			}
		}
		if err := a.finishOne(ctx, client, ref, j, w, output); err != nil {
			return err
		}
	}
	return nil
}

// dropped is the error of an operation that was queued and does not begin.
func dropped(ref starter.Ref) error {
	return &exitError{code: exitFailed, err: fmt.Errorf("%s of %s was dropped: what was to run before it did not end well\n  look    flotilla describe %s",
		ref.Kind, ref.Cluster, ref.Cluster)}
}

// finishOne waits for one operation and prints what came of it.
func (a *app) finishOne(ctx context.Context, client plane, ref starter.Ref, j job, w waiting, output format) error {
	start := begun{Ref: ref, URL: client.WorkflowURL(ref.WorkflowID)}
	result, err := a.follow(ctx, client, ref, j, w)
	var waits *waitsForApproval
	switch {
	case errors.As(err, &waits):
		printErr := a.print(output, ended{start, workflows.OperationResult{Progress: waits.progress}}, func() string {
			return approvalText(a.out, waits.progress, j.spec, j.waves, a.now())
		})
		return errors.Join(err, printErr)
	case err == nil:
		return a.print(output, ended{start, result}, func() string { return resultText(a.out, ref, result) })
	case output != asTable && result.Progress.Operation != "": // a script wants to know what is left
		return errors.Join(err, a.print(output, ended{start, result}, nil))
	}
	return err
}

// waitsForApproval ends the following of an operation that waits for a person to
// approve it.
type waitsForApproval struct{ progress fleet.Progress }

func (w *waitsForApproval) Error() string {
	return fmt.Sprintf("%s %s of %s waits for approval", w.progress.Kind, shortID(w.progress.Operation), w.progress.Cluster)
}

// follow shows an operation until it ends. The error says whether it failed, was only
// watched no longer, or waits for approval.
func (a *app) follow(ctx context.Context, client plane, ref starter.Ref, j job, w waiting) (workflows.OperationResult, error) {
	details := "details: flotilla describe " + ref.Cluster
	if url := client.WorkflowURL(ref.WorkflowID); url != "" {
		details += " · " + url
	}
	show, done := a.display(j.waves, details)
	watchCtx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	result, err := client.Watch(watchCtx, ref, func(p fleet.Progress) {
		show(p)
		if p.Waiting != nil && p.Waiting.For == fleet.WaitApproval && !w.approval {
			stop(&waitsForApproval{p})
		}
	})
	done()
	var waits *waitsForApproval
	switch {
	case err == nil:
		return result, nil
	case errors.As(err, &waits):
		return result, &exitError{code: exitApproval, err: waits, said: true}
	}
	if over := watchedNoLonger(ref, w, err); over != nil {
		return result, over
	}
	return result, failed(ref, result, err)
}

// watchedNoLonger words the end of the watching; it is nil when that is not what an
// error means.
func watchedNoLonger(ref starter.Ref, w waiting, err error) error {
	goesOn := fmt.Sprintf("%s %s of %s goes on", ref.Kind, shortID(ref.ID), ref.Cluster)
	switch {
	case errors.Is(err, errTimeout):
		return &exitError{code: exitFailed, err: fmt.Errorf("%s has not ended within %s; it goes on: flotilla watch %s", ref, w.timeout, ref.Cluster)}
	case errors.Is(err, context.Canceled):
		return &exitError{code: exitInterrupted, err: fmt.Errorf("stopped watching; %s: flotilla watch %s, or end it with flotilla cancel %s", goesOn, ref.Cluster, ref.Cluster)}
	}
	return nil
}

// failed says what a person can do about an operation that did not succeed, and what
// it left half done.
func failed(ref starter.Ref, result workflows.OperationResult, err error) error {
	code := exitFailed
	if fleet.Is(err, fleet.Blocked) {
		code = exitRefused
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s of %s did not succeed: %s\n", ref.Kind, shortID(ref.ID), ref.Cluster, err)
	for _, left := range result.Left {
		fmt.Fprintf(&b, "  left    %s\n", left)
	}
	if ref.Kind.Beside() {
		fmt.Fprintf(&b, "  again   flotilla backup %s\n", ref.Cluster)
	} else {
		fmt.Fprintf(&b, "  go on   flotilla resume %s\n", ref.Cluster)
	}
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
	wait  string // what was last said that it waits for
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
	l.waits(p)
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

// waits tells what an operation waits for other than its steps, and when it does not
// any more.
func (l *progressLog) waits(p fleet.Progress) {
	now := ""
	if w := p.Waiting; w != nil && p.State == fleet.OperationRunning {
		now = string(w.For) + w.Since.String()
	}
	switch {
	case now == l.wait:
		return
	case now != "":
		l.line(p, waitingText(p, l.now()))
		l.line(p, whatToDo(p))
	case p.State == fleet.OperationRunning:
		l.line(p, "goes on")
	}
	l.wait = now
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
	if p.State == fleet.OperationRunning && p.Waiting == nil && p.Doing != l.head && now.Sub(l.quiet) >= noteEvery {
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
