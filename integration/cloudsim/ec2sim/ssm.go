package ec2sim

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
)

// ssmFault is an error of SSM's, by the name of its shape.
type ssmFault struct {
	name    string
	status  int
	message string
}

func (e *ssmFault) Error() string { return e.name + ": " + e.message }

func ssmErrorf(name, message string) error { return &ssmFault{name, http.StatusBadRequest, message} }

var ssmActions = map[string]func(f *Face, body []byte) (any, error){
	"SendCommand":                 (*Face).sendCommand,
	"GetCommandInvocation":        (*Face).getCommandInvocation,
	"ListCommands":                (*Face).listCommands,
	"DescribeInstanceInformation": (*Face).describeInstanceInformation,
}

func (f *Face) serveSSM(rw http.ResponseWriter, r *http.Request, name string, body []byte) {
	fail := func(e *ssmFault) {
		reply := ssmReply(e.status, map[string]string{"__type": e.name, "message": e.message})
		rw.Header().Set("Content-Type", reply.ContentType)
		rw.WriteHeader(reply.Status)
		_, _ = rw.Write(reply.Body)
	}
	switch checkSignature(r, body, f.world.Region(), "ssm", f.world.Secret, time.Now()) {
	case "":
	case notSigned:
		fail(&ssmFault{"MissingAuthenticationTokenException", http.StatusBadRequest, "Missing Authentication Token"})
		return
	case incomplete:
		fail(&ssmFault{"IncompleteSignatureException", http.StatusBadRequest, "The signature is incomplete"})
		return
	case unknownKey:
		fail(&ssmFault{"UnrecognizedClientException", http.StatusBadRequest, "The security token included in the request is invalid."})
		return
	default:
		fail(&ssmFault{"InvalidSignatureException", http.StatusBadRequest, "The request signature we calculated does not match the signature you provided."})
		return
	}
	action, ok := ssmActions[name]
	if !ok {
		fail(&ssmFault{"UnknownOperationException", http.StatusBadRequest, ""})
		return
	}
	var about struct {
		InstanceID  string   `json:"InstanceId"`
		InstanceIDs []string `json:"InstanceIds"`
	}
	_ = json.Unmarshal(body, &about) // the action says what is wrong with it
	id := strings.Join(append(about.InstanceIDs, about.InstanceID), "")
	var own *ssmFault
	f.world.Answer(rw, r, cloudsim.Call{Action: name, Changes: name == "SendCommand", ID: id}, func() (cloudsim.Reply, error) {
		answer, err := action(f, body)
		if e, is := err.(*ssmFault); is { //nolint:errorlint // never wrapped
			own = e
		}
		if err != nil {
			return cloudsim.Reply{}, err
		}
		return ssmReply(http.StatusOK, answer), nil
	}, func(refusal *cloudsim.Refusal) cloudsim.Reply {
		e := own
		if e == nil {
			e = ssmFaultOf(refusal)
		}
		return ssmReply(e.status, map[string]string{"__type": e.name, "message": e.message})
	})
}

func ssmReply(status int, answer any) cloudsim.Reply {
	body, err := json.Marshal(answer)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"__type":"InternalServerError"}`)
	}
	return cloudsim.Reply{Status: status, ContentType: "application/x-amz-json-1.1", Body: body}
}

// ssmFaultOf gives a refusal SSM's error (API reference, "SendCommand", "Common Errors").
func ssmFaultOf(r *cloudsim.Refusal) *ssmFault {
	e := &ssmFault{status: http.StatusBadRequest, message: r.Message}
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

func parse(body []byte, into any) error {
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return ssmErrorf("SerializationException", err.Error())
	}
	return nil
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
		return nil, ssmErrorf("InvalidDocument", "Document "+in.DocumentName+" does not exist.")
	case len(in.InstanceIDs) == 0 || len(in.InstanceIDs) > 50:
		return nil, ssmErrorf("ValidationException", "instanceIds must have 1 to 50 members")
	case len(in.Comment) > 100:
		return nil, ssmErrorf("ValidationException", "comment must have length less than or equal to 100")
	case in.TimeoutSeconds != nil && (*in.TimeoutSeconds < 30 || *in.TimeoutSeconds > 2592000):
		return nil, ssmErrorf("ValidationException", "timeoutSeconds must be from 30 to 2592000")
	}
	limit := 3600
	for key, values := range in.Parameters {
		switch key {
		case "commands":
		case "executionTimeout":
			seconds, err := strconv.Atoi(strings.Join(values, ""))
			if err != nil || seconds < 1 || seconds > 172800 {
				return nil, ssmErrorf("InvalidParameters", "executionTimeout must be from 1 to 172800")
			}
			limit = seconds
		default:
			return nil, ssmErrorf("InvalidParameters", key+" is not a parameter of the document")
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
		return nil, ssmErrorf("ValidationException", "commandId must have length 36")
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
		return nil, ssmErrorf("ValidationException", "maxResults must be from 1 to 50")
	}
	var after time.Time
	for _, filter := range in.Filters {
		at, err := time.Parse(time.RFC3339, filter.Value)
		if filter.Key != "InvokedAfter" || err != nil {
			return nil, ssmErrorf("InvalidFilterKey", filter.Key)
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
		return nil, ssmErrorf("InvalidNextToken", "The specified token isn't valid.")
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
			return nil, ssmErrorf("InvalidFilterKey", filter.Key)
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
