package ec2sim

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
)

var ssmService = service{target: "AmazonSSM", signing: "ssm", faultOf: ssmFaultOf, actions: map[string]func(f *Face, body []byte) (any, error){
	"SendCommand":                 (*Face).sendCommand,
	"GetCommandInvocation":        (*Face).getCommandInvocation,
	"ListCommands":                (*Face).listCommands,
	"DescribeInstanceInformation": (*Face).describeInstanceInformation,
}}

// ssmFaultOf gives a refusal SSM's error (API reference, "SendCommand", "Common Errors").
func ssmFaultOf(r *cloudsim.Refusal) *jsonFault {
	e := &jsonFault{status: http.StatusBadRequest, message: r.Message}
	switch r.Code {
	case cloudsim.NoInstance, cloudsim.InstanceState, cloudsim.AgentAway:
		e.name, e.message = "InvalidInstanceId", "Instances [["+r.Resource+"]] not in a valid state for account "+owner
	case cloudsim.NoCommand:
		e.name, e.message = "InvocationDoesNotExist", ""
	case cloudsim.ScriptLong, cloudsim.BadToken:
		e.name = "InvalidParameters"
	case cloudsim.Throttled:
		e.name, e.message = "ThrottlingException", "Rate exceeded"
	case cloudsim.NotAllowed:
		e.name, e.message = "AccessDeniedException", "User is not authorized to perform the operation"
	default:
		e.name, e.status, e.message = "InternalServerError", http.StatusInternalServerError, "An error occurred on the server side."
	}
	return e
}

type commandJSON struct {
	ID        string              `json:"CommandId"`
	Comment   string              `json:"Comment"`
	Document  string              `json:"DocumentName"`
	Requested float64             `json:"RequestedDateTime"`
	Instances []string            `json:"InstanceIds"`
	Params    map[string][]string `json:"Parameters"`
	Status    string              `json:"Status"`
}

func commandOf(c cloudsim.Command) commandJSON {
	return commandJSON{
		ID: c.ID, Comment: c.Comment, Document: shellDocument, Requested: float64(c.Sent.UnixMilli()) / 1000, Instances: c.InstanceIDs,
		Params: map[string][]string{"commands": {c.Script}}, Status: "Pending",
	}
}

const shellDocument = "AWS-RunShellScript"

func (f *Face) sendCommand(body []byte) (any, error) {
	var in struct {
		DocumentName   string
		InstanceIDs    []string `json:"InstanceIds"`
		Comment        string
		Parameters     map[string][]string
		TimeoutSeconds *int
	}
	if err := parse(body, &in); err != nil {
		return nil, err
	}
	switch {
	case in.DocumentName != shellDocument:
		return nil, jsonErrorf("InvalidDocument", "Document "+in.DocumentName+" does not exist.")
	case len(in.InstanceIDs) == 0 || len(in.InstanceIDs) > 50:
		return nil, jsonErrorf("ValidationException", "instanceIds must have 1 to 50 members")
	case len(in.Comment) > 100:
		return nil, jsonErrorf("ValidationException", "comment must have length less than or equal to 100")
	case in.TimeoutSeconds != nil && (*in.TimeoutSeconds < 30 || *in.TimeoutSeconds > 2592000):
		return nil, jsonErrorf("ValidationException", "timeoutSeconds must be from 30 to 2592000")
	}
	limit := 3600
	for key, values := range in.Parameters {
		switch key {
		case "commands":
		case "executionTimeout":
			seconds, err := strconv.Atoi(strings.Join(values, ""))
			if err != nil || seconds < 1 || seconds > 172800 {
				return nil, jsonErrorf("InvalidParameters", "executionTimeout must be from 1 to 172800")
			}
			limit = seconds
		default:
			return nil, jsonErrorf("InvalidParameters", key+" is not a parameter of the document")
		}
	}
	within := 3600
	if in.TimeoutSeconds != nil {
		within = *in.TimeoutSeconds
	}
	c, err := f.world.Send(cloudsim.CommandRequest{
		InstanceIDs: in.InstanceIDs, Script: strings.Join(in.Parameters["commands"], "\n"), Comment: in.Comment,
		Timeout: time.Duration(limit) * time.Second, DeliverWithin: time.Duration(within) * time.Second,
	})
	return map[string]any{"Command": commandOf(c)}, err
}

func (f *Face) getCommandInvocation(body []byte) (any, error) {
	var in struct {
		CommandID  string `json:"CommandId"`
		InstanceID string `json:"InstanceId"`
		PluginName string
	}
	if err := parse(body, &in); err != nil {
		return nil, err
	}
	if len(in.CommandID) != 36 {
		return nil, jsonErrorf("ValidationException", "commandId must have length 36")
	}
	v, err := f.world.Invocation(in.CommandID, in.InstanceID)
	if err != nil {
		return nil, err
	}
	status, details := statusOf(v)
	return map[string]any{
		"CommandId": v.ID, "InstanceId": v.InstanceID, "Comment": v.Comment, "DocumentName": shellDocument, "PluginName": "aws:runShellScript",
		"ResponseCode": v.ExitCode, "Status": status, "StatusDetails": details,
		"StandardOutputContent": v.Stdout, "StandardErrorContent": v.Stderr,
	}, nil
}

// statusOf gives the status of an invocation (SSM user guide, "Understanding command statuses").
func statusOf(v cloudsim.Invocation) (status, details string) {
	switch v.State {
	case iaas.CommandSucceeded:
		return "Success", "Success"
	case iaas.CommandFailed:
		return "Failed", "Failed"
	case iaas.CommandTimedOut:
		return "TimedOut", "ExecutionTimedOut"
	case iaas.CommandLost:
		if !v.Delivered {
			return "TimedOut", "DeliveryTimedOut"
		}
		return "Failed", "Failed"
	}
	if !v.Delivered {
		return "Pending", "Pending"
	}
	return "InProgress", "InProgress"
}

func (f *Face) listCommands(body []byte) (any, error) {
	var in struct {
		InstanceID string `json:"InstanceId"`
		CommandID  string `json:"CommandId"`
		MaxResults int
		NextToken  string
		Filters    []struct{ Key, Value string } `json:"Filters"`
	}
	if err := parse(body, &in); err != nil {
		return nil, err
	}
	if in.MaxResults < 0 || in.MaxResults > 50 {
		return nil, jsonErrorf("ValidationException", "maxResults must be from 1 to 50")
	}
	var after time.Time
	for _, filter := range in.Filters {
		at, err := time.Parse(time.RFC3339, filter.Value)
		if filter.Key != "InvokedAfter" || err != nil {
			return nil, jsonErrorf("InvalidFilterKey", filter.Key)
		}
		after = at
	}
	var all []cloudsim.Command
	for _, c := range f.world.CommandsOf(in.InstanceID) {
		if (in.CommandID == "" || c.ID == in.CommandID) && c.Sent.After(after) {
			all = append(all, c)
		}
	}
	page, next, ok := cloudsim.Page(all, cmp.Or(in.MaxResults, 50), in.NextToken, func(c cloudsim.Command) int64 { return -c.Sequence })
	if !ok {
		return nil, jsonErrorf("InvalidNextToken", "The specified token isn't valid.")
	}
	answer := struct {
		Commands  []commandJSON
		NextToken string `json:",omitempty"`
	}{[]commandJSON{}, next}
	for _, c := range page {
		answer.Commands = append(answer.Commands, commandOf(c))
	}
	return answer, nil
}

func (f *Face) describeInstanceInformation(body []byte) (any, error) {
	var in struct {
		Filters []struct {
			Key    string
			Values []string
		}
		MaxResults int
		NextToken  string
	}
	if err := parse(body, &in); err != nil {
		return nil, err
	}
	var ids []string
	for _, filter := range in.Filters {
		if filter.Key != "InstanceIds" {
			return nil, jsonErrorf("InvalidFilterKey", filter.Key)
		}
		ids = append(ids, filter.Values...)
	}
	list := []map[string]any{}
	all, err := f.world.Instances(nil, nil)
	for _, i := range all {
		if len(ids) > 0 && !slices.Contains(ids, i.ID) || i.State == fleet.HostTerminated || i.State == fleet.HostPending {
			continue
		}
		ping := "ConnectionLost"
		if f.world.AgentAnswers(i.ID) {
			ping = "Online"
		}
		list = append(list, map[string]any{"InstanceId": i.ID, "PingStatus": ping, "PlatformType": "Linux", "AgentVersion": "3.3.0.0"})
	}
	return map[string]any{"InstanceInformationList": list}, err
}
