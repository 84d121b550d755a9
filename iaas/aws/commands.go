package aws

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/iaas/cloud"
)

// SendCommand has no client token: one whose answer is lost is sent again, by the SDK
// already, and would run twice. So every script begins with a guard that makes a
// directory for its token on the host, which only one can; the others end at once and
// say so. The token also goes into the command's comment, by which the one that ran is
// found (once).

//go:embed once.sh
var once string

const (
	// document runs a script by /bin/sh.
	document = "AWS-RunShellScript"
	// deliverWithin is how long SSM tries to bring a command to its host: its least is
	// 30 s, and a command that comes later than its sender waits helps nobody.
	deliverWithin = 60 * time.Second
	// defaultTimeout ends commands that were sent without a limit: the document's own.
	defaultTimeout = time.Hour
	// exitRepeated is the exit code of the guard, and repeated what it says.
	exitRepeated = 97
	repeated     = "flotilla: this command was sent before"
)

// digest shortens a token or a script to what fits into a comment of 100 characters.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}

// comment says which command this is, for people and for lookups.
func comment(token, script string) string { return "flotilla " + digest(token) + " " + digest(script) }

// guarded gives a script that runs at most once for its token.
func guarded(token, script string) string {
	return strings.NewReplacer("TOKEN", digest(token), "REPEATED", repeated, "CODE", strconv.Itoa(exitRepeated)).Replace(once) + script
}

// RunCommand sends a script through SSM.
func (p *Provider) RunCommand(ctx context.Context, req iaas.CommandRequest) (iaas.Command, error) {
	resource := cloud.Label("host", "", req.HostID)
	if err := cloud.CheckToken(resource, req.Token); err != nil {
		return iaas.Command{}, err
	}
	if len(req.Script) > iaas.MaxScript {
		return iaas.Command{}, fleet.Errorf(fleet.Invalid, resource, "a script of %d bytes is longer than %d", len(req.Script), iaas.MaxScript)
	}
	limit := int((cmpOr(req.Timeout, defaultTimeout) + time.Second - 1) / time.Second)
	entry, unlock := p.sent.hold(req.HostID, req.Token)
	defer unlock()
	said := comment(req.Token, req.Script)
	if entry.comment != "" && entry.comment != said {
		return iaas.Command{}, cloud.ReusedToken(resource)
	}
	if entry.id == "" {
		call, cancel := bounded(ctx)
		defer cancel()
		out, err := p.ssm.SendCommand(call, &ssm.SendCommandInput{
			DocumentName: aws.String(document), InstanceIds: []string{req.HostID}, Comment: aws.String(said),
			TimeoutSeconds: aws.Int32(int32(deliverWithin / time.Second)),
			Parameters: map[string][]string{
				"commands": {guarded(req.Token, req.Script)}, "executionTimeout": {strconv.Itoa(limit)},
			},
		})
		if err != nil {
			return iaas.Command{}, p.notSent(ctx, req.HostID, err)
		}
		entry.id, entry.comment = aws.ToString(out.Command.CommandId), said
	}
	return iaas.Command{ID: entry.id, HostID: req.HostID, State: iaas.CommandRunning, ExitCode: -1}, nil
}

func cmpOr(d, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d
}

// notSent says why SSM does not take a command. Its InvalidInstanceId is all of: no such
// instance, not running, no agent, no rights (SendCommand, "Errors").
func (p *Provider) notSent(ctx context.Context, hostID string, err error) error {
	resource := cloud.Label("host", "", hostID)
	if !is(err, "InvalidInstanceId") {
		return translate(resource, err)
	}
	h, looked := p.Host(ctx, hostID)
	switch {
	case looked != nil:
		return looked
	case h.State == fleet.HostTerminated:
		return fleet.Errorf(fleet.NotFound, cloud.Label("host", h.Name, hostID), "it was terminated")
	case h.State != fleet.HostRunning:
		return fleet.Errorf(fleet.Conflict, cloud.Label("host", h.Name, hostID), "it is %s and runs no command", h.State).
			WithRemedy("start it first")
	}
	return fleet.Errorf(fleet.Unavailable, cloud.Label("host", h.Name, hostID), "its SSM agent does not answer").
		WithRemedy("if this lasts: see that the agent runs, that the instance profile allows it, and that it reaches SSM's endpoints")
}

// commandID is SSM's: a UUID.
var commandID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// Command looks at a command again. One that found itself repeated is answered for by
// the one that ran.
func (p *Provider) Command(ctx context.Context, hostID, id string) (iaas.Command, error) {
	c, said, err := p.invocation(ctx, hostID, id)
	if err != nil || !isRepeated(c) {
		return c, err
	}
	ran, err := p.first(ctx, hostID, id, said)
	ran.ID = id
	return ran, err
}

func isRepeated(c iaas.Command) bool {
	return c.State == iaas.CommandFailed && c.ExitCode == exitRepeated && strings.TrimSpace(c.Stderr) == repeated
}

// invocation gives a command and its comment.
func (p *Provider) invocation(ctx context.Context, hostID, id string) (iaas.Command, string, error) {
	resource := "command " + id
	if !commandID.MatchString(id) {
		return iaas.Command{}, "", fleet.Errorf(fleet.NotFound, resource, "there is none")
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	out, err := p.ssm.GetCommandInvocation(ctx, &ssm.GetCommandInvocationInput{
		CommandId: aws.String(id), InstanceId: aws.String(hostID),
	})
	if err != nil {
		return iaas.Command{}, "", translate(resource, err)
	}
	c := iaas.Command{
		ID: id, HostID: hostID, ExitCode: -1,
		Stdout: cloud.Short(aws.ToString(out.StandardOutputContent), iaas.MaxStdout),
		Stderr: cloud.Short(aws.ToString(out.StandardErrorContent), iaas.MaxStderr),
	}
	c.State = stateOf(out.Status, aws.ToString(out.StatusDetails), out.ResponseCode)
	if c.State == iaas.CommandSucceeded || c.State == iaas.CommandFailed {
		c.ExitCode = int(out.ResponseCode)
	}
	return c, aws.ToString(out.Comment), nil
}

// stateOf gives an invocation's status in our words ("Understanding command statuses").
func stateOf(status types.CommandInvocationStatus, details string, code int32) iaas.CommandState {
	switch status {
	case types.CommandInvocationStatusPending, types.CommandInvocationStatusInProgress,
		types.CommandInvocationStatusDelayed, types.CommandInvocationStatusCancelling:
		return iaas.CommandRunning
	case types.CommandInvocationStatusSuccess:
		return iaas.CommandSucceeded
	case types.CommandInvocationStatusTimedOut:
		if strings.Contains(strings.ReplaceAll(details, " ", ""), "ExecutionTimedOut") {
			return iaas.CommandTimedOut
		}
	case types.CommandInvocationStatusFailed:
		if code > 0 {
			return iaas.CommandFailed
		}
	}
	return iaas.CommandLost // not delivered, cancelled, or ended with its host
}

const (
	// listedWithin is how far back the command that ran is looked for: tokens are
	// good for a day.
	listedWithin = 24 * time.Hour
	commandsPage = 50 // the most that ListCommands takes
)

// first finds the command that ran for a token, among those that were sent with it.
func (p *Provider) first(ctx context.Context, hostID, notID, said string) (iaas.Command, error) {
	resource := cloud.Label("host", "", hostID)
	token, _, _ := strings.Cut(strings.TrimPrefix(said, "flotilla "), " ")
	pages := ssm.NewListCommandsPaginator(p.ssm, &ssm.ListCommandsInput{
		InstanceId: aws.String(hostID), MaxResults: aws.Int32(commandsPage),
		Filters: []types.CommandFilter{{
			Key: types.CommandFilterKeyInvokedAfter, Value: aws.String(time.Now().Add(-listedWithin).UTC().Format(time.RFC3339)),
		}},
	})
	for pages.HasMorePages() {
		out, err := nextPage(ctx, pages.NextPage)
		if err != nil {
			return iaas.Command{}, translate(resource, err)
		}
		for _, listed := range out.Commands {
			id, other := aws.ToString(listed.CommandId), aws.ToString(listed.Comment)
			if id == notID || !strings.HasPrefix(other, "flotilla "+token+" ") {
				continue
			}
			if other != said {
				return iaas.Command{}, cloud.ReusedToken(resource)
			}
			c, _, err := p.invocation(ctx, hostID, id)
			if err != nil || !isRepeated(c) {
				return c, err
			}
		}
	}
	// It ran, and SSM does not list it (yet): what came of it is not known.
	return iaas.Command{HostID: hostID, State: iaas.CommandLost, ExitCode: -1}, nil
}
