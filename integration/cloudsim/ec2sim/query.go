package ec2sim

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/form"
)

const (
	version   = "2016-11-15"
	namespace = "http://ec2.amazonaws.com/doc/2016-11-15/"
)

// fault is an error of EC2's own, about the request and not the world.
type fault struct {
	code    string
	status  int
	message string
}

func (e *fault) Error() string { return e.code + ": " + e.message }

func faultf(code, format string, args ...any) error {
	return &fault{code, http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// query is the form of a call.
type query struct{ *form.Form }

func newQuery(values url.Values) *query {
	return &query{form.New(values, "Action", "Version", "DryRun")}
}

func (q *query) required(key string) (string, error) {
	value := q.Text(key)
	if value == "" {
		return "", faultf("MissingParameter", "The request must contain the parameter %s", key)
	}
	return value, nil
}

func (q *query) number(key string) (int, error) {
	text := q.Text(key)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, faultf("InvalidParameterValue", "Value (%s) for parameter %s is invalid.", text, key)
	}
	return n, nil
}

// tags gives prefix.1.Key and prefix.1.Value and so on.
func (q *query) tags(prefix string) (map[string]string, error) {
	tags := map[string]string{}
	for _, pair := range q.Pairs(prefix) {
		key, value := pair[0], pair[1]
		if err := checkTag(key, value); err != nil {
			return nil, err
		}
		if _, twice := tags[key]; twice {
			return nil, faultf("InvalidParameterValue", "Duplicate tag key '%s' specified.", key)
		}
		tags[key] = value
	}
	if len(tags) > 50 {
		return nil, faultf("TagLimitExceeded", "You have reached the maximum number of tags for a resource: 50.")
	}
	return tags, nil
}

// checkTag holds a tag to the restrictions of "Tag your Amazon EC2 resources".
func checkTag(key, value string) error {
	switch {
	case key == "" || len(key) > 127 || strings.HasPrefix(key, "aws:"):
		return faultf("InvalidParameterValue", "Value ( %s ) for parameter key is invalid. Tag keys cannot be empty, longer than 127 characters or begin with aws:", key)
	case len(value) > 255:
		return faultf("InvalidParameterValue", "Value ( %s ) for parameter value is invalid. Tag value exceeds the maximum length of 255 characters", value)
	}
	return nil
}

// specifiedTags gives the tags of TagSpecification for a type of resource.
func (q *query) specifiedTags(resource string) (map[string]string, error) {
	var tags map[string]string
	for n := 1; ; n++ {
		prefix := fmt.Sprintf("TagSpecification.%d", n)
		if !q.Has(prefix + ".ResourceType") {
			return tags, nil
		}
		kind := q.Text(prefix + ".ResourceType")
		given, err := q.tags(prefix + ".Tag")
		if err != nil {
			return nil, err
		}
		switch kind {
		case resource:
			tags = given
		case "instance", "volume", "network-interface", "snapshot":
		default:
			return nil, faultf("InvalidParameterValue", "'%s' is not a valid taggable resource type for this operation.", kind)
		}
	}
}

// rest refuses what a request has beside what was read from it.
func (q *query) rest() error {
	if key := q.Unread(); key != "" {
		return faultf("UnknownParameter", "The parameter %s is not recognized", key)
	}
	return nil
}

// fingerprint is what a client token is good for.
func (q *query) fingerprint() string { return q.Fingerprint("ClientToken", "DryRun") }

// filters gives Filter.n, each a name and its values, with which a view is matched.
func (q *query) filters() (map[string][]string, error) {
	all := map[string][]string{}
	for n := 1; q.Has(fmt.Sprintf("Filter.%d.Name", n)); n++ {
		name := q.Text(fmt.Sprintf("Filter.%d.Name", n))
		values := q.List(fmt.Sprintf("Filter.%d.Value", n))
		if len(values) == 0 {
			return nil, faultf("InvalidParameterValue", "The filter '%s' has no values", name)
		}
		all[name] = values
	}
	return all, nil
}

// page gives MaxResults and NextToken, within the API page's limits.
func (q *query) page(ids []string) (size int, token string, err error) {
	size, err = q.number("MaxResults")
	token = q.Text("NextToken")
	switch {
	case err != nil:
		return 0, "", err
	case len(ids) > 0 && size > 0:
		return 0, "", faultf("InvalidParameterCombination", "The parameter MaxResults cannot be used with resource IDs")
	case size != 0 && (size < 5 || size > 1000):
		return 0, "", faultf("InvalidParameterValue", "Value ( %d ) for parameter maxResults is invalid. Expecting a value between 5 and 1000.", size)
	}
	return cmp.Or(size, 1000), token, nil
}

// matchFilters matches a view by its fields and tags; a filter that is not known is refused.
func matchFilters(filters map[string][]string, known []string) error {
	for name := range filters {
		if !slices.Contains(known, name) && name != "tag-key" && !strings.HasPrefix(name, "tag:") {
			return faultf("InvalidParameterValue", "The filter '%s' is invalid", name)
		}
	}
	return nil
}

func matches(filters map[string][]string, fields, tags map[string]string) bool {
	for name, values := range filters {
		var have []string
		if key, ok := strings.CutPrefix(name, "tag:"); ok {
			if value, ok := tags[key]; ok {
				have = []string{value}
			}
		} else if name == "tag-key" {
			have = slices.Collect(maps.Keys(tags))
		} else {
			have = []string{fields[name]}
		}
		if !slices.ContainsFunc(have, func(h string) bool {
			return slices.ContainsFunc(values, func(v string) bool { return wild(v, h) })
		}) {
			return false
		}
	}
	return true
}

// wild matches the wildcards of filters: * and ?, unless escaped.
func wild(pattern, text string) bool {
	if pattern == "" {
		return text == ""
	}
	switch pattern[0] {
	case '*':
		return wild(pattern[1:], text) || text != "" && wild(pattern, text[1:])
	case '?':
		return text != "" && wild(pattern[1:], text[1:])
	case '\\':
		if len(pattern) > 1 {
			pattern = pattern[1:]
		}
	}
	return text != "" && pattern[0] == text[0] && wild(pattern[1:], text[1:])
}

func (f *Face) serveEC2(rw http.ResponseWriter, r *http.Request, body []byte) {
	values, err := url.ParseQuery(string(body))
	if err != nil || r.Method != http.MethodPost {
		writeFault(rw, faultf("MalformedQueryString", "The query string contains a syntax error."))
		return
	}
	switch problem := checkSignature(r, body, f.world.Region(), "ec2", f.world.Secret, time.Now()); problem {
	case "":
	case notSigned:
		writeFault(rw, faultf("MissingAuthenticationToken", "The request must contain valid credentials."))
		return
	case incomplete:
		writeFault(rw, faultf("IncompleteSignature", "%s", problem))
		return
	case expired:
		writeFault(rw, faultf("RequestExpired", "Request has expired."))
		return
	default:
		writeFault(rw, &fault{"AuthFailure", http.StatusUnauthorized, "AWS was not able to validate the provided access credentials"})
		return
	}
	name := values.Get("Action")
	action, ok := actions[name]
	if !ok || values.Get("Version") != version {
		writeFault(rw, faultf("InvalidAction", "The action %s is not valid for this web service.", name))
		return
	}
	q := newQuery(values)
	call := cloudsim.Call{
		Action: name, Changes: !strings.HasPrefix(name, "Describe"), Token: values.Get("ClientToken"),
		ID: cmp.Or(values.Get("InstanceId"), values.Get("InstanceId.1"), values.Get("VolumeId"), values.Get("SnapshotId"), values.Get("ResourceId.1")),
	}
	// An error of the request's own is rendered as it is; the log has it as a failure.
	var own *fault
	f.world.Answer(rw, r, call, func() (cloudsim.Reply, error) {
		if values.Get("DryRun") == "true" && name != "RunInstances" && name != "CreateVolume" {
			return cloudsim.Reply{}, &cloudsim.Refusal{Code: cloudsim.DryRun} // rights were checked on the way in
		}
		answer, err := action(f, q)
		if e, is := err.(*fault); is { //nolint:errorlint // never wrapped
			own = e
		}
		if err != nil {
			return cloudsim.Reply{}, err
		}
		return render(http.StatusOK, answer), nil
	}, func(refusal *cloudsim.Refusal) cloudsim.Reply {
		if own != nil {
			return faultReply(own)
		}
		return faultReply(faultOf(name, refusal))
	})
}

func render(status int, answer any) cloudsim.Reply {
	body, err := xml.Marshal(answer)
	if err != nil {
		return cloudsim.Reply{Status: http.StatusInternalServerError, Body: []byte(err.Error())}
	}
	return cloudsim.Reply{Status: status, ContentType: "text/xml;charset=UTF-8", Body: append([]byte(xml.Header), body...)}
}

// errorResponse is the body of an error ("Error codes for the Amazon EC2 API").
type errorResponse struct {
	XMLName   xml.Name `xml:"Response"`
	Code      string   `xml:"Errors>Error>Code"`
	Message   string   `xml:"Errors>Error>Message"`
	RequestID string   `xml:"RequestID"`
}

func faultReply(e *fault) cloudsim.Reply {
	return render(e.status, errorResponse{Code: e.code, Message: e.message, RequestID: requestID()})
}

func writeFault(rw http.ResponseWriter, err error) {
	reply := faultReply(err.(*fault)) //nolint:errorlint // every caller gives one
	rw.Header().Set("Content-Type", reply.ContentType)
	rw.WriteHeader(reply.Status)
	_, _ = rw.Write(reply.Body)
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
