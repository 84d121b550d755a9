package activities

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/node"
)

// commandTimeout bounds one command on a host: the longest is a download.
const commandTimeout = 5 * time.Minute

// call asks the host side to do something and waits for its answer. A new attempt
// of the activity sends a new command: flotilla-node takes one at a time and does
// what is left, so overlapping attempts do no harm.
func call[T any](ctx context.Context, hosts iaas.Commands, host fleet.Host, verb string, request any) (*T, error) {
	script, err := node.Script(verb, request)
	if err != nil {
		return nil, err
	}
	info := activity.GetInfo(ctx)
	seed := fmt.Sprint(info.WorkflowExecution.RunID, info.ActivityID, info.Attempt, host.ID, verb)
	command, err := hosts.RunCommand(ctx, iaas.CommandRequest{
		HostID: host.ID, Token: fmt.Sprintf("%x", sha256.Sum256([]byte(seed)))[:40], Script: script, Timeout: commandTimeout,
	})
	if err != nil {
		return nil, err
	}
	err = poll(ctx, func(ctx context.Context) (bool, int, string, error) {
		if command.State == iaas.CommandRunning {
			latest, err := hosts.Command(ctx, host.ID, command.ID)
			switch {
			case fleet.Is(err, fleet.NotFound): // not yet
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
		return nil, fleet.Errorf(fleet.Unavailable, "host "+host.Name, "%s did not end within %s", verb, commandTimeout)
	case iaas.CommandLost:
		return nil, fleet.Errorf(fleet.Unavailable, "host "+host.Name, "%s was interrupted", verb)
	}
	answer, err := node.ParseReply[T](command.Stdout, host.Name)
	if command.Stdout == "" && command.Stderr != "" {
		return nil, fleet.Errorf(fleet.Unavailable, "host "+host.Name, "%s said only: %s", verb, lastLine(command.Stderr))
	}
	return answer, err
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
