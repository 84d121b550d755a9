package activities

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
)

// listening sees the contexts that heartbeats are sent by.
type listening struct {
	interceptor.WorkerInterceptorBase
	interceptor.ActivityInboundInterceptorBase
	interceptor.ActivityOutboundInterceptorBase
	mu       sync.Mutex
	contexts []context.Context
}

// beats is how often the heart has beaten.
func (l *listening) beats() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.contexts)
}

func (l *listening) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	l.ActivityInboundInterceptorBase.Next = next
	return l
}

func (l *listening) Init(outbound interceptor.ActivityOutboundInterceptor) error {
	l.ActivityOutboundInterceptorBase.Next = outbound
	return l.ActivityInboundInterceptorBase.Next.Init(l)
}

func (l *listening) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	return l.ActivityInboundInterceptorBase.Next.ExecuteActivity(ctx, in)
}

func (l *listening) RecordHeartbeat(ctx context.Context, details ...any) {
	l.mu.Lock()
	l.contexts = append(l.contexts, ctx)
	l.mu.Unlock()
	l.ActivityOutboundInterceptorBase.Next.RecordHeartbeat(ctx, details...)
}

// The SDK sends the beats of a second by the context of its first one, and ends the
// activity when that has ended.
func TestABeatOutlivesTheQuestionThatItIsOf(t *testing.T) {
	heard := &listening{}
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	env.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{heard}})
	env.RegisterActivityWithOptions(func(ctx context.Context) error {
		question, answered := context.WithCancel(ctx)
		beat(question, -1, "asking")
		answered()
		return ctx.Err()
	}, activity.RegisterOptions{Name: "f"})
	_, err := env.ExecuteActivity("f")
	require.NoError(t, err)
	require.Len(t, heard.contexts, 1)
	require.NoError(t, heard.contexts[0].Err(), "the beat ended with the question that it was of")
}
