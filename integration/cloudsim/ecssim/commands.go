package ecssim

import (
	"encoding/base64"
	"net/http"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
)

const (
	// maxContent is how long a command may be, in base64 (RunCommand, with KeepCommand).
	maxContent = 18 << 10
	// maxOutput is how much of an output is kept (DescribeInvocationResults: Dropped).
	maxOutput = 24 << 10
	// deliverWithin is how long a command may take to reach its agent.
	deliverWithin = time.Minute
)

func (f *Face) runCommand(q *query) (map[string]any, error) {
	req := cloudsim.CommandRequest{
		Token: q.Text("ClientToken"), Fingerprint: q.fingerprint(), InstanceIDs: q.List("InstanceId"), DeliverWithin: deliverWithin,
	}
	content := q.Text("CommandContent")
	script, err := base64.StdEncoding.DecodeString(content)
	seconds, err2 := q.number("Timeout")
	req.Script, req.Timeout = string(script), time.Duration(seconds)*time.Second
	switch {
	case err != nil || q.Text("ContentEncoding") != "Base64":
		return nil, faultf(http.StatusBadRequest, "CmdContent.DecodeError", "The CommandContent can not be base64 decoded.")
	case len(content) > maxContent:
		return nil, &cloudsim.Refusal{Code: cloudsim.ScriptLong}
	case q.Text("Type") != "RunShellScript":
		return nil, invalid("Type")
	case err2 != nil || seconds < 10 || seconds > 86400:
		return nil, invalid("Timeout")
	case len(req.InstanceIDs) == 0 || len(req.InstanceIDs) > 50:
		return nil, invalid("InstanceId")
	case q.Text("RepeatMode") != "Once", q.Text("TerminationMode") != "ProcessTree":
		return nil, invalid("RepeatMode") // the others are not modelled
	}
	q.Text("Name")
	if err := q.rest(); err != nil {
		return nil, err
	}
	c, err := f.world.Send(req)
	return map[string]any{"CommandId": "c" + c.ID, "InvokeId": c.ID}, err
}

// describeInvocationResults gives what came of one command on one instance; what does
// not exist is passed over.
func (f *Face) describeInvocationResults(q *query) (map[string]any, error) {
	id, err1 := q.required("InvokeId")
	instance, err2 := q.required("InstanceId")
	encoding := q.Text("ContentEncoding")
	for _, err := range []error{err1, err2, q.rest()} {
		if err != nil {
			return nil, err
		}
	}
	results := []any{}
	v, err := f.world.Invocation(id, instance)
	switch {
	case err == nil:
		results = append(results, result(v, encoding))
	case cloudsim.Because(err).Code != cloudsim.NoCommand:
		return nil, err
	}
	return map[string]any{"Invocation": map[string]any{
		"InvocationResults": map[string]any{"InvocationResult": results}, "TotalCount": len(results), "PageNumber": 1, "PageSize": 10,
	}}, nil
}

func result(v cloudsim.Invocation, encoding string) map[string]any {
	record, status, code := invocationStatus(v)
	text := v.Stdout + v.Stderr // the agent has one pipe for both
	dropped := max(0, len(text)-maxOutput)
	text = text[:len(text)-dropped]
	if encoding != "PlainText" {
		text = base64.StdEncoding.EncodeToString([]byte(text))
	}
	r := map[string]any{
		"InvokeId": v.ID, "CommandId": "c" + v.ID, "InstanceId": v.InstanceID, "InvokeRecordStatus": record, "InvocationStatus": status,
		"ErrorCode": code, "Output": text, "Dropped": dropped, "StartTime": timeOf(v.Sent),
	}
	if v.ExitCode >= 0 {
		r["ExitCode"] = v.ExitCode
	}
	return r
}

// invocationStatus gives the states of a command on an instance (DescribeInvocationResults).
func invocationStatus(v cloudsim.Invocation) (record, status, code string) {
	switch v.State {
	case iaas.CommandSucceeded:
		return "Finished", "Success", ""
	case iaas.CommandFailed:
		return "Finished", "Failed", "ExitCodeNonzero"
	case iaas.CommandTimedOut:
		return "Failed", "Timeout", "ExecutionTimeout"
	case iaas.CommandLost:
		if !v.Delivered {
			return "Failed", "Aborted", "DeliveryTimeout"
		}
		return "Failed", "Error", "ExecutionInterrupted"
	}
	if !v.Delivered {
		return "Running", "Pending", ""
	}
	return "Running", "Running", ""
}

func (f *Face) describeCloudAssistantStatus(q *query) (map[string]any, error) {
	ids := q.List("InstanceId")
	if err := q.rest(); err != nil {
		return nil, err
	}
	if len(ids) == 0 || len(ids) > 50 {
		return nil, invalid("InstanceId")
	}
	all, err := f.world.Instances(ids, nil)
	if err != nil {
		return nil, err
	}
	list := []any{}
	for _, i := range all {
		if i.State == fleet.HostTerminated {
			return nil, &cloudsim.Refusal{Code: cloudsim.NoInstance, Resource: i.ID}
		}
		status := "false"
		if f.world.AgentAnswers(i.ID) {
			status = "true"
		}
		list = append(list, map[string]any{"InstanceId": i.ID, "CloudAssistantStatus": status, "OSType": "Linux"})
	}
	return map[string]any{"InstanceCloudAssistantStatusSet": map[string]any{"InstanceCloudAssistantStatus": list}, "TotalCount": len(list)}, nil
}
