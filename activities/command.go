package activities

import (
	"context"
	"crypto/rand"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/iaas/span"
	"github.com/flotilla-etcd/flotilla/node"
)

// commandTimeout bounds one command on a host: the longest is a download.
const commandTimeout = 5 * time.Minute

// commandGrace is how much longer than that a command is waited for: the cloud is
// to end it, and when it does not, the answer is not coming.
const commandGrace = 30 * time.Second

// call asks the host side to do something and waits for its answer. Each call is
// a command of its own, with a token of its own: a look that is repeated asks for
// a new report, not for the last one. flotilla-node takes one command at a time
// and does what is left, so overlapping attempts do no harm.
func call[T any](ctx context.Context, hosts iaas.Commands, host fleet.Host, verb string, request any) (*T, error) {
	return callWithin[T](ctx, hosts, host, verb, request, commandTimeout)
}

// callWithin is call of a command that may take longer than most.
func callWithin[T any](ctx context.Context, hosts iaas.Commands, host fleet.Host, verb string, request any, within time.Duration) (*T, error) {
	script, err := node.Script(verb, request)
	if err != nil {
		return nil, err
	}
	command, err := hosts.RunCommand(ctx, iaas.CommandRequest{
		HostID: host.ID, Token: rand.Text(), Script: script, Timeout: within,
	})
	if err != nil {
		return nil, err
	}
	asked, longest := time.Now(), commandPause(hosts, host.ID)
	err = pollAt(ctx, func(usual time.Duration) time.Duration { return min(usual, longest) }, func(ctx context.Context) (bool, int, string, error) {
		if command.State == iaas.CommandRunning {
			latest, err := hosts.Command(ctx, host.ID, command.ID)
			switch {
			case time.Since(asked) > within+commandGrace:
				command.State = iaas.CommandTimedOut
			case fleet.Is(err, fleet.NotFound) && time.Since(asked) < settling: // not yet
			case err != nil:
				return false, 0, "", err
			default:
				command = latest
			}
		}
		return command.State != iaas.CommandRunning, -1, host.Name + ": " + verb, nil
	})
	if err != nil {
		return nil, err
	}
	switch command.State {
	case iaas.CommandTimedOut:
		return nil, fleet.Errorf(fleet.Unavailable, "host "+host.Name, "%s did not end within %s", verb, within)
	case iaas.CommandLost:
		return nil, fleet.Errorf(fleet.Unavailable, "host "+host.Name, "%s was interrupted", verb)
	}
	answer, err := node.ParseReply[T](command.Stdout, host.Name)
	if command.Stdout == "" && command.Stderr != "" {
		return nil, fleet.Errorf(fleet.Unavailable, "host "+host.Name, "%s said only: %s", verb, lastLine(command.Stderr))
	}
	return answer, err
}

// commandPause is the longest pause between two looks at a command on a host.
func commandPause(hosts iaas.Commands, hostID string) time.Duration {
	region, _ := hosts.(iaas.Provider)
	if s, spans := hosts.(*span.Provider); spans {
		region, _ = s.Of(hostID)
	}
	if near, ok := iaas.As[iaas.Near](region); ok {
		return near.CommandPause()
	}
	return slowPoll
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
