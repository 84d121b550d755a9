package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// points are the boundaries of this worker's life. A boundary is named by the
// operation's kind, the activity's ID with its member's number, and what is about
// to happen or has just happened in it; the calls of one name within an activity are
// numbered, because in which order it calls whom depends on who answers first, and what an
// attempt before it did is not called for again:
//
//	CreateCluster 3/PrepareHost/2 call RunCommand#4
//
// so the same boundary has the same name in every cluster. In which order an operation
// on a running cluster comes to its members depends on who leads, so its activities are
// named by how many of their kind came before them:
//
//	RollCluster RestartMember#2 call RunCommand#1
type points struct {
	mu     sync.Mutex
	trace  *os.File
	breaks map[string][]string      // by cluster
	held   map[string]chan struct{} // clusters that stand at one of theirs, until it is closed
	stops  string
	calls  map[string]int
	begun  *begun
}

func newPoints(trace, breaks, stops, started string) (*points, error) {
	p := &points{breaks: map[string][]string{}, held: map[string]chan struct{}{}, stops: stops, calls: map[string]int{}}
	if breaks != "" {
		text, err := os.ReadFile(breaks)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			cluster, point, _ := strings.Cut(strings.TrimSpace(line), " ")
			p.breaks[cluster] = append(p.breaks[cluster], point)
		}
	}
	var err error
	if trace != "" {
		if p.trace, err = os.OpenFile(trace, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
			return nil, err
		}
	}
	p.begun, err = openBegun(started)
	return p, err
}

// pass passes a boundary. It is written down; if the cluster is to stop here, or
// has stopped at another boundary, this goroutine stands still until the cluster
// is let go: a worker that stops dead does so with all that it does for a cluster,
// second attempts included.
func (p *points) pass(ctx context.Context, what string) {
	info := activity.GetInfo(ctx)
	cluster, kind, counts := operationOf(info.WorkflowExecution.ID)
	if !counts {
		return
	}
	p.mu.Lock()
	point := kind + " " + p.activity(info, cluster, kind) + " " + what
	if p.trace != nil {
		fmt.Fprintln(p.trace, cluster, point)
	}
	file := filepath.Join(p.stops, cluster)
	if i := slices.Index(p.breaks[cluster], point); i >= 0 && p.held[cluster] == nil {
		p.breaks[cluster] = slices.Delete(p.breaks[cluster], i, i+1) // once
		p.held[cluster] = make(chan struct{})
		must(stand(file, point))
		go p.awaitRelease(cluster, file)
	}
	held := p.held[cluster]
	p.mu.Unlock()
	if held != nil {
		<-held
	}
}

// awaitRelease lets a cluster go when its file is deleted. It ends with the process if that
// never happens.
func (p *points) awaitRelease(cluster, file string) {
	for {
		if _, err := os.Stat(file); err != nil {
			p.mu.Lock()
			defer p.mu.Unlock()
			close(p.held[cluster])
			delete(p.held, cluster)
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// operationOf gives the cluster and the kind of the operation that a workflow is. A rehearsal
// is one of the cluster that its children create and decommission.
func operationOf(workflowID string) (cluster, kind string, ok bool) {
	parts := strings.Split(workflowID, "/")
	switch {
	case len(parts) == 4 && parts[0] == "cluster": // cluster/<name>/<kind>/<id>
		return parts[1], parts[2], true
	case len(parts) == 3 && parts[0] == "rehearsal": // rehearsal/<cluster of the backup>/<id>
		return fleet.RehearseRequest{ID: parts[2]}.Scratch(fleet.Backup{}).Cluster, workflows.RehearseType, true
	case len(parts) == 3 && parts[0] == "verify": // verify/<cluster>/<id>
		return parts[1], workflows.VerifyBackupType, true
	}
	return "", "", false
}

// stand says in a file where a cluster stands; whoever sees the file can read all of it.
func stand(file, point string) error {
	written := file + ".new"
	if err := os.WriteFile(written, []byte(point), 0o600); err != nil {
		return err
	}
	return os.Rename(written, file)
}

// must ends the worker if it cannot tell the test what it does.
func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "breakworker:", err)
		os.Exit(1)
	}
}

// activity names an activity; p.mu is held.
func (p *points) activity(info activity.Info, cluster, kind string) string {
	if kind == string(fleet.CreateCluster) || kind == string(fleet.DecommissionCluster) {
		return strings.Replace(info.ActivityID, "/"+cluster+"-", "/", 1)
	}
	n, err := p.begun.number(info.WorkflowExecution.ID+"/"+info.ActivityType.Name, info.ActivityID)
	must(err)
	return fmt.Sprintf("%s#%d", info.ActivityType.Name, n)
}

// call passes the boundary right after a call of an activity to the outside.
func (p *points) call(ctx context.Context, name string) { p.callUpTo(ctx, math.MaxInt, name) }

// callUpTo does so for the first calls of a name.
func (p *points) callUpTo(ctx context.Context, most int, name string) {
	if !activity.IsActivity(ctx) {
		return
	}
	info := activity.GetInfo(ctx)
	key := fmt.Sprint(info.WorkflowExecution.RunID, info.ActivityID, info.Attempt, name)
	p.mu.Lock()
	p.calls[key]++
	n := p.calls[key]
	p.mu.Unlock()
	if n <= most {
		p.pass(ctx, fmt.Sprintf("call %s#%d", name, n))
	}
}

// breaks passes the boundaries before and after each activity.
type breaks struct {
	interceptor.WorkerInterceptorBase
	points *points
}

func (b *breaks) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	i := &inbound{points: b.points}
	i.Next = next
	return i
}

type inbound struct {
	interceptor.ActivityInboundInterceptorBase
	points *points
}

func (i *inbound) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	i.points.pass(ctx, "before")
	result, err := i.Next.ExecuteActivity(ctx, in)
	i.points.pass(ctx, "after")
	return result, err
}
