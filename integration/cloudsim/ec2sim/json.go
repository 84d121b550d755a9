package ec2sim

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
)

// service is one that speaks JSON 1.1.
type service struct {
	target  string // of its actions, without the last part
	signing string // its name in signatures
	actions map[string]func(f *Face, body []byte) (any, error)
	faultOf func(*cloudsim.Refusal) *jsonFault
}

// jsonFault is an error of such a service, by the name of its shape.
type jsonFault struct {
	name    string
	status  int
	message string
}

func (e *jsonFault) Error() string { return e.name + ": " + e.message }

func jsonErrorf(name, message string) error { return &jsonFault{name, http.StatusBadRequest, message} }

func (f *Face) serveJSON(rw http.ResponseWriter, r *http.Request, s service, name string, body []byte) {
	fail := func(e *jsonFault) {
		reply := e.reply()
		rw.Header().Set("Content-Type", reply.ContentType)
		rw.WriteHeader(reply.Status)
		_, _ = rw.Write(reply.Body)
	}
	switch checkSignature(r, body, f.world.Region(), s.signing, f.world.Secret, time.Now()) {
	case "":
	case notSigned:
		fail(&jsonFault{"MissingAuthenticationTokenException", http.StatusBadRequest, "Missing Authentication Token"})
		return
	case incomplete:
		fail(&jsonFault{"IncompleteSignatureException", http.StatusBadRequest, "The signature is incomplete"})
		return
	case unknownKey:
		fail(&jsonFault{"UnrecognizedClientException", http.StatusBadRequest, "The security token included in the request is invalid."})
		return
	default:
		fail(&jsonFault{"InvalidSignatureException", http.StatusBadRequest, "The request signature we calculated does not match the signature you provided."})
		return
	}
	action, ok := s.actions[name]
	if !ok {
		fail(&jsonFault{"UnknownOperationException", http.StatusBadRequest, ""})
		return
	}
	var about struct {
		InstanceID  string   `json:"InstanceId"`
		InstanceIDs []string `json:"InstanceIds"`
	}
	_ = json.Unmarshal(body, &about) // the action says what is wrong with it
	id := strings.Join(append(about.InstanceIDs, about.InstanceID), "")
	var own *jsonFault
	f.world.Answer(rw, r, cloudsim.Call{Action: name, Changes: name == "SendCommand", ID: id}, func() (cloudsim.Reply, error) {
		answer, err := action(f, body)
		if e, is := err.(*jsonFault); is { //nolint:errorlint // never wrapped
			own = e
		}
		if err != nil {
			return cloudsim.Reply{}, err
		}
		return jsonReply(http.StatusOK, answer), nil
	}, func(refusal *cloudsim.Refusal) cloudsim.Reply {
		if own != nil {
			return own.reply()
		}
		return s.faultOf(refusal).reply()
	})
}

func (e *jsonFault) reply() cloudsim.Reply {
	return jsonReply(e.status, map[string]string{"__type": e.name, "message": e.message})
}

func jsonReply(status int, answer any) cloudsim.Reply {
	body, err := json.Marshal(answer)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"__type":"InternalServerError"}`)
	}
	return cloudsim.Reply{Status: status, ContentType: "application/x-amz-json-1.1", Body: body}
}

func parse(body []byte, into any) error {
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return jsonErrorf("SerializationException", err.Error())
	}
	return nil
}
