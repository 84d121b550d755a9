package ecssim

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/flotilla-etcd/flotilla/integration/cloudsim/form"
)

// common are the parameters that any call has ("Common parameters").
var common = []string{
	"Action", "Version", "RegionId", "Format", "AccessKeyId", "SecurityToken", "Timestamp",
	"Signature", "SignatureMethod", "SignatureVersion", "SignatureNonce", "SignatureType",
}

// query is the parameters of a call.
type query struct{ *form.Form }

func newQuery(values url.Values, dryRun bool) *query {
	known := common
	if dryRun {
		known = append([]string{"DryRun"}, common...)
	}
	return &query{form.New(values, known...)}
}

func (q *query) required(key string) (string, error) {
	value := q.Text(key)
	if value == "" {
		return "", faultf(http.StatusBadRequest, "MissingParameter", `The input parameter "%s" that is mandatory for processing this request is not supplied.`, key)
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
		return 0, invalid(key)
	}
	return n, nil
}

func invalid(key string) *fault {
	return faultf(http.StatusBadRequest, "InvalidParameter", `The specified parameter "%s" is not valid.`, key)
}

// rest refuses what a request has beside what was read from it.
func (q *query) rest() error {
	if key := q.Unread(); key != "" {
		return faultf(http.StatusBadRequest, "InvalidParameter", `The specified parameter "%s" is not modelled.`, key)
	}
	return nil
}

// fingerprint is what a client token is good for: what is not of this one try.
func (q *query) fingerprint() string {
	return q.Fingerprint(append([]string{"ClientToken", "DryRun"}, common...)...)
}

// tags gives Tag.n, held to the limits of TagResources.
func (q *query) tags() (map[string]string, error) {
	tags := map[string]string{}
	for _, pair := range q.Pairs("Tag") {
		key, value := pair[0], pair[1]
		_, twice := tags[key]
		switch {
		case twice:
			return nil, faultf(http.StatusBadRequest, "Duplicate.TagKey", "The Tag.N.Key contain duplicate key.")
		case key == "" || len(key) > 128 || strings.HasPrefix(key, "aliyun") || strings.HasPrefix(key, "acs:") || strings.Contains(key, "://"):
			return nil, faultf(http.StatusBadRequest, "InvalidTagKey.Malformed", "The specified Tag.n.Key is not valid.")
		case len(value) > 128 || strings.Contains(value, "://"):
			return nil, faultf(http.StatusBadRequest, "InvalidTagValue.Malformed", "The specified Tag.n.Value is not valid.")
		}
		tags[key] = value
	}
	if len(tags) > 20 {
		return nil, faultf(http.StatusBadRequest, "InvalidTagCount", "The specified tags are beyond the permitted range.")
	}
	return tags, nil
}

// hasAll says whether a resource has all tags of a filter.
func hasAll(tags, wanted map[string]string) bool {
	for key, value := range wanted {
		if have, ok := tags[key]; !ok || have != value {
			return false
		}
	}
	return true
}

// ids gives a parameter that is a JSON array of at most 100 IDs; nil if it is missing.
func (q *query) ids(key string) (map[string]bool, error) {
	text := q.Text(key)
	if text == "" {
		return nil, nil //nolint:nilnil // no IDs are all
	}
	var list []string
	if err := json.Unmarshal([]byte(text), &list); err != nil || len(list) > 100 {
		return nil, faultf(http.StatusForbidden, "InvalidParameter."+key, "The specified parameter %s is not valid.", key)
	}
	all := map[string]bool{}
	for _, id := range list {
		all[id] = true
	}
	return all, nil
}

// page gives MaxResults, 1 to 100 and 10 if it is missing, and NextToken.
func (q *query) page() (size int, token string, err error) {
	size, err = q.number("MaxResults")
	if err == nil && (size < 0 || size > 100) {
		err = invalid("MaxResults")
	}
	return cmp.Or(size, 10), q.Text("NextToken"), err
}

// filter is what a list was asked to show: only those with these IDs (nil: all), tags,
// zone and one property more, and which page of them.
type filter struct {
	ids         map[string]bool
	tags        map[string]string
	zone, other string
	size        int
	token       string
}

// filter reads all of a list's query: the names of its IDs and of its other property.
func (q *query) filter(ids, other string) (f filter, err error) {
	if f.ids, err = q.ids(ids); err != nil {
		return f, err
	}
	if f.tags, err = q.tags(); err != nil {
		return f, err
	}
	if f.size, f.token, err = q.page(); err != nil {
		return f, err
	}
	f.zone, f.other = q.Text("ZoneId"), q.Text(other)
	return f, q.rest()
}

func (f filter) shows(id string, tags map[string]string, zone, other string) bool {
	return (f.ids == nil || f.ids[id]) && hasAll(tags, f.tags) &&
		(f.zone == "" || f.zone == zone) && (f.other == "" || f.other == other)
}
