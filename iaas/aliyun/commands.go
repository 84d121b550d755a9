package aliyun

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/ecs"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/iaas/cloud"
)

// Cloud Assistant gives the two outputs of a command in one, and cuts it at 24 KB. So a
// script runs inside of another that keeps them apart, and sends the beginning of each
// after a line that says how long it is.

//go:embed apart.sh
var apart string

const (
	// shownStdout and shownStderr are how much of each output is sent, in bytes: 24 KB
	// together also if they are counted in base64.
	shownStdout = 13000
	shownStderr = 5000
	// mark begins the first line of what apart.sh prints.
	mark = "flotilla-output"
	// end closes the script within apart.sh.
	end = "FLOTILLA_SCRIPT_ENDS"
	// maxContent is how much base64 RunCommand takes, in bytes, with KeepCommand=true, 18
	// KB: apart.sh and a script of iaas.MaxScript are less. A test sees to that.
	maxContent = 18 << 10
	// leastTimeout is the least that Cloud Assistant takes.
	leastTimeout = 10 * time.Second
	// defaultTimeout ends commands that were sent without a limit. Cloud Assistant's own
	// is 60 s, too short for what takes snapshots.
	defaultTimeout = time.Hour
)

// digest shortens words to a client token.
func digest(words ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(words, "\x00")))
	return hex.EncodeToString(sum[:])
}

// wrapped gives a script whose outputs are kept apart.
func wrapped(script string) string {
	return strings.NewReplacer(
		"MARK", mark, "END", end, "STDOUT", strconv.Itoa(shownStdout), "STDERR", strconv.Itoa(shownStderr), "SCRIPT", script,
	).Replace(apart)
}

// RunCommand sends a script through Cloud Assistant. Its client token is made of the
// host and ours, which is good for one host.
func (p *Provider) RunCommand(ctx context.Context, req iaas.CommandRequest) (iaas.Command, error) {
	resource := cloud.Label("host", "", req.HostID)
	if err := cloud.CheckToken(resource, req.Token); err != nil {
		return iaas.Command{}, err
	}
	switch {
	case len(req.Script) > iaas.MaxScript:
		return iaas.Command{}, fleet.Errorf(fleet.Invalid, resource, "a script of %d bytes is longer than %d", len(req.Script), iaas.MaxScript)
	case strings.Contains(req.Script, end):
		return iaas.Command{}, fleet.Errorf(fleet.Invalid, resource, "a script must not contain %s", end)
	}
	if err := p.canRun(ctx, req.HostID); err != nil {
		return iaas.Command{}, err
	}
	limit := req.Timeout
	if limit <= 0 {
		limit = defaultTimeout
	}
	in := commandOn(req.HostID, wrapped(req.Script), limit)
	in.ClientToken = digest("command", req.HostID, req.Token)
	out, err := call(ctx, p, resource, (*ecs.Client).RunCommand, in)
	switch {
	case is(err, mismatches...):
		return iaas.Command{}, cloud.ReusedToken(resource)
	case err != nil:
		return iaas.Command{}, err
	}
	return iaas.Command{ID: out.InvokeId, HostID: req.HostID, State: iaas.CommandRunning, ExitCode: -1}, nil
}

// commandOn makes the request for a script on a host.
func commandOn(hostID, script string, limit time.Duration) *ecs.RunCommandRequest {
	seconds := int((max(limit, leastTimeout) + time.Second - 1) / time.Second)
	in := ecs.CreateRunCommandRequest()
	in.Type, in.ContentEncoding = "RunShellScript", "Base64"
	in.CommandContent = base64.StdEncoding.EncodeToString([]byte(script))
	in.InstanceId, in.Timeout, in.Name = &[]string{hostID}, requests.NewInteger(seconds), "flotilla"
	in.TerminationMode, in.RepeatMode = "ProcessTree", "Once"
	return in
}

// canRun says why a host cannot run a command, before Cloud Assistant takes one that it
// will not deliver: its token would be used up (RunCommand: look at the agent first).
func (p *Provider) canRun(ctx context.Context, hostID string) error {
	resource := cloud.Label("host", "", hostID)
	in := ecs.CreateDescribeCloudAssistantStatusRequest()
	in.InstanceId = &[]string{hostID}
	out, err := call(ctx, p, resource, (*ecs.Client).DescribeCloudAssistantStatus, in)
	if err != nil {
		return err
	}
	for _, s := range out.InstanceCloudAssistantStatusSet.InstanceCloudAssistantStatus {
		if s.InstanceId == hostID && strings.EqualFold(s.CloudAssistantStatus, "true") {
			return nil
		}
	}
	h, err := p.Host(ctx, hostID)
	switch {
	case err != nil:
		return err
	case h.State != fleet.HostRunning:
		return fleet.Errorf(fleet.Conflict, cloud.Label("host", h.Name, hostID), "it is %s and runs no command", h.State).
			WithRemedy("start it first")
	}
	return fleet.Errorf(fleet.Unavailable, cloud.Label("host", h.Name, hostID), "its Cloud Assistant agent does not answer").
		WithRemedy("if this lasts: see that the image has the agent, that it runs, and that the host reaches Cloud Assistant's endpoints")
}

// invocationID is how Cloud Assistant forms the ID of what was run.
var invocationID = regexp.MustCompile(`^t-[0-9A-Za-z]+$`)

// Command looks at a command again.
func (p *Provider) Command(ctx context.Context, hostID, id string) (iaas.Command, error) {
	resource := "command " + id
	if !invocationID.MatchString(id) {
		return iaas.Command{}, fleet.Errorf(fleet.NotFound, resource, "there is none")
	}
	in := ecs.CreateDescribeInvocationResultsRequest()
	in.InvokeId, in.InstanceId, in.ContentEncoding = id, hostID, "Base64"
	out, err := call(ctx, p, resource, (*ecs.Client).DescribeInvocationResults, in)
	if err != nil {
		return iaas.Command{}, err
	}
	for _, r := range out.Invocation.InvocationResults.InvocationResult {
		if r.InvokeId != id || r.InstanceId != hostID {
			continue
		}
		c := iaas.Command{ID: id, HostID: hostID, ExitCode: -1, State: stateOf(r.InvocationStatus, r.ErrorCode)}
		if c.State == iaas.CommandSucceeded || c.State == iaas.CommandFailed {
			c.ExitCode = int(r.ExitCode)
		}
		text, err := base64.StdEncoding.DecodeString(r.Output)
		if err != nil {
			return iaas.Command{}, fleet.Errorf(fleet.Unavailable, resource, "its output cannot be read: %w", err)
		}
		c.Stdout, c.Stderr = split(string(text))
		return c, nil
	}
	return iaas.Command{}, fleet.Errorf(fleet.NotFound, resource, "there is none")
}

// split gives the two outputs that apart.sh put into one. What it did not get to put
// there, because it was ended, is left as it is.
func split(text string) (stdout, stderr string) {
	line, rest, _ := strings.Cut(text, "\n")
	var length int
	if n, err := fmt.Sscanf(line, mark+" %d", &length); n != 1 || err != nil || length < 0 {
		return cloud.Short(text, iaas.MaxStdout), ""
	}
	length = min(length, len(rest))
	return strings.ToValidUTF8(rest[:length], ""), strings.ToValidUTF8(rest[length:], "")
}

// stateOf gives the status of a command on a host in our words (DescribeInvocationResults:
// InvocationStatus and ErrorCode).
func stateOf(status, code string) iaas.CommandState {
	switch status {
	case "Pending", "Scheduled", "Running", "Stopping":
		return iaas.CommandRunning
	case "Success":
		return iaas.CommandSucceeded
	case "Failed":
		if code == "" || code == "ExitCodeNonzero" {
			return iaas.CommandFailed
		}
	case "Timeout":
		if code == "" || code == "ExecutionTimeout" {
			return iaas.CommandTimedOut
		}
	}
	return iaas.CommandLost // Invalid, Aborted, Error, Cancelled, Terminated: not delivered, stopped, or ended with its host
}
