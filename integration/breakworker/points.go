package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
)

// points are the boundaries of this worker's life. A boundary is named by the
// operation's kind, the activity's ID and what is about to happen or has just
// happened in it; the calls within one activity are numbered.
type points struct {
	mu    sync.Mutex
	trace *os.File
	at    string
	stop  string
	calls map[string]int
}

func newPoints(trace, at, stop string) *points {
	p := &points{at: at, stop: stop, calls: map[string]int{}}
	if trace != "" {
		file, err := os.OpenFile(trace, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			fmt.Fprintln(os.Stderr, "breakworker:", err)
			os.Exit(1)
		}
		p.trace = file
	}
	return p
}

// pass passes a boundary: it is written down, and if it is the one to stop at,
// this goroutine stands still until the stop file is gone.
func (p *points) pass(ctx context.Context, what string) {
	info := activity.GetInfo(ctx)
	kind := strings.Split(info.WorkflowExecution.ID+"////", "/")[2]
	name := kind + " " + info.ActivityID + " " + what
	p.mu.Lock()
	if p.trace != nil {
		fmt.Fprintln(p.trace, name)
	}
	hit := p.at == name
	if hit {
		p.at = "" // once
	}
	p.mu.Unlock()
	if !hit {
		return
	}
	if err := os.WriteFile(p.stop, []byte(name), 0o600); err != nil {
		fmt.Fprintln(os.Stderr, "breakworker:", err)
		os.Exit(1)
	}
	for {
		if _, err := os.Stat(p.stop); err != nil {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// call passes the boundary right after a call of an activity to the outside.
func (p *points) call(ctx context.Context, name string) {
	if !activity.IsActivity(ctx) {
		return
	}
	info := activity.GetInfo(ctx)
	key := info.WorkflowExecution.RunID + info.ActivityID
	p.mu.Lock()
	p.calls[key]++
	n := p.calls[key]
	p.mu.Unlock()
	p.pass(ctx, fmt.Sprintf("call %d %s", n, name))
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
