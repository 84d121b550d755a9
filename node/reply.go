package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// MaxScript is how long a Script may be, in bytes: what the narrowest of the
// clouds' run-command services carries (Alibaba Cloud Assistant's 16 KB of
// base64), the same as iaas.MaxScript.
const MaxScript = 12 << 10

// endOfRequest ends the request in a Script. JSON on one line never looks like it.
const endOfRequest = "FLOTILLA_REQUEST"

// Script gives the shell script that runs a verb on a host, for the cloud's
// run-command service. A nil request stands for an empty one. Errors:
// fleet.Invalid when it would be longer than MaxScript.
func Script(verb string, request any) (string, error) {
	if request == nil {
		request = struct{}{}
	}
	text, err := json.Marshal(request)
	if err != nil {
		return "", fleet.Errorf(fleet.Invalid, "command "+verb, "its request cannot be written: %w", err)
	}
	// Services give scripts a short PATH, or none; a PATH that is there goes first.
	script := "#!/bin/sh\n" +
		`PATH="${PATH:-/usr/bin:/bin}:/usr/local/bin:/opt/flotilla/bin"` + "\n" +
		"export PATH\n" +
		"exec flotilla-node " + verb + " <<'" + endOfRequest + "'\n" +
		string(text) + "\n" +
		endOfRequest + "\n"
	if len(script) > MaxScript {
		return "", fleet.Errorf(fleet.Invalid, "command "+verb, "it is %d bytes long; clouds carry %d", len(script), MaxScript)
	}
	return script, nil
}

// ParseReply reads what a verb wrote to standard output on a host: the result,
// or the *fleet.Error that it ended with. What stands before the reply's line,
// such as a greeting of the host's, is skipped. Errors besides the verb's own:
// fleet.Unavailable when there is no whole reply, which is what a killed or
// missing flotilla-node looks like.
func ParseReply[T any](stdout, host string) (*T, error) {
	resource := "host " + host
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	last := strings.TrimSpace(lines[len(lines)-1])
	if last == "" {
		return nil, fleet.Errorf(fleet.Unavailable, resource, "flotilla-node wrote no reply").
			WithRemedy("see what the command wrote to standard error; is flotilla-node installed there?")
	}
	var reply Reply[T]
	if err := json.Unmarshal([]byte(last), &reply); err != nil {
		return nil, fleet.Errorf(fleet.Unavailable, resource, "flotilla-node's reply is cut short or is none: %q", shorten(last))
	}
	switch {
	case reply.Error != nil && reply.Result == nil:
		e := reply.Error
		return nil, &fleet.Error{Kind: e.Kind, Resource: e.Resource, Message: e.Message, Remedy: e.Remedy}
	case reply.Result != nil && reply.Error == nil:
		return reply.Result, nil
	}
	return nil, fleet.Errorf(fleet.Unavailable, resource, "flotilla-node's reply has neither a result nor an error: %q", shorten(last))
}

func shorten(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}

// WriteReply writes a verb's outcome as one line of JSON.
func WriteReply[T any](w io.Writer, result *T, err error) error {
	reply := Reply[T]{Result: result}
	if err != nil {
		reply = Reply[T]{Error: replyError(err)}
	} else if result == nil {
		reply.Result = new(T)
	}
	text, err := json.Marshal(reply)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", text)
	return err
}

func replyError(err error) *ReplyError {
	var e *fleet.Error
	if !errors.As(err, &e) {
		return &ReplyError{Kind: fleet.Unavailable, Resource: "host", Message: err.Error()}
	}
	return &ReplyError{Kind: e.Kind, Resource: e.Resource, Message: e.Message, Remedy: e.Remedy}
}
