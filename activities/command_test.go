package activities

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/iaas/span"
	"github.com/flotilla-etcd/flotilla/node"
)

// commands is a run-command service that answers in turn.
type commands struct {
	tokens  []string
	looks   int
	answers []func() (iaas.Command, error)
}

func (c *commands) RunCommand(_ context.Context, r iaas.CommandRequest) (iaas.Command, error) {
	c.tokens = append(c.tokens, r.Token)
	return iaas.Command{ID: "c-1", HostID: r.HostID, State: iaas.CommandRunning, ExitCode: -1}, nil
}

func (c *commands) Command(context.Context, string, string) (iaas.Command, error) {
	answer := c.answers[min(c.looks, len(c.answers)-1)]
	c.looks++
	return answer()
}

func is(c iaas.Command) func() (iaas.Command, error) {
	return func() (iaas.Command, error) { return c, nil }
}

func gives(err error) func() (iaas.Command, error) {
	return func() (iaas.Command, error) { return iaas.Command{}, err }
}

func report(t *testing.T, c *commands) (seen *beats, err error) {
	t.Helper()
	seen, runErr := as(t, func(ctx context.Context) error {
		_, err = call[fleet.HostReport](ctx, c, fleet.Host{ID: "h-1", Name: "orders-1"}, node.VerbReport, nil)
		return nil
	})
	require.NoError(t, runErr)
	return seen, err
}

func TestCommandsEndInWords(t *testing.T) {
	for name, test := range map[string]struct {
		answer func() (iaas.Command, error)
		kind   fleet.Kind
		says   string
	}{
		"timed out":    {is(iaas.Command{State: iaas.CommandTimedOut}), fleet.Unavailable, "host orders-1: report did not end within 5m0s"},
		"interrupted":  {is(iaas.Command{State: iaas.CommandLost}), fleet.Unavailable, "host orders-1: report was interrupted"},
		"only stderr":  {is(iaas.Command{State: iaas.CommandFailed, Stderr: "sh: 1\nno such file\n"}), fleet.Unavailable, "report said only: no such file"},
		"cannot look":  {gives(fleet.Errorf(fleet.Throttled, "cloud", "later")), fleet.Throttled, "later"},
		"says nothing": {is(iaas.Command{State: iaas.CommandSucceeded}), fleet.Unavailable, "orders-1"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := report(t, &commands{answers: []func() (iaas.Command, error){test.answer}})
			require.ErrorContains(t, err, test.says)
			require.Equal(t, test.kind, fleet.KindOf(err))
		})
	}
}

func TestCommandIsWaitedFor(t *testing.T) {
	c := &commands{answers: []func() (iaas.Command, error){
		gives(fleet.Errorf(fleet.NotFound, "command", "not yet")), is(iaas.Command{State: iaas.CommandRunning}), is(iaas.Command{State: iaas.CommandLost}),
	}}
	seen, err := report(t, c)
	require.ErrorContains(t, err, "interrupted")
	require.Equal(t, 3, c.looks)
	require.Equal(t, "orders-1: report", seen.notes()[0])
}

// A look that is repeated asks for a new report: the same token would give the old one.
func TestEachCallIsACommandOfItsOwn(t *testing.T) {
	c := &commands{answers: []func() (iaas.Command, error){is(iaas.Command{State: iaas.CommandLost})}}
	for range 2 {
		_, err := report(t, c)
		require.Error(t, err)
	}
	require.Len(t, c.tokens, 2)
	require.NotEqual(t, c.tokens[0], c.tokens[1])
	require.LessOrEqual(t, len(c.tokens[0]), fleet.MaxToken)
}

// nearby is a provider that may be asked often.
type nearby struct{ iaas.Provider }

func (nearby) CommandPause() time.Duration { return time.Millisecond }

// Who is near is asked more often than a cloud, whatever it is wrapped in.
func TestCommandIsLookedAtAgain(t *testing.T) {
	at := fleet.Place{Provider: "local", Region: "local-2"}
	home := span.New(patient{nearby{}}, map[fleet.Place]iaas.Provider{at: patient{}})
	require.Equal(t, time.Millisecond, commandPause(home, "h-1"))
	require.Equal(t, slowPoll, commandPause(home, at.Qualify("h-1")))
	require.Equal(t, slowPoll, commandPause(patient{}, "h-1"))
	require.Equal(t, slowPoll, commandPause(&commands{}, "h-1"))
}
