package dnssim

import (
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/ec2sim"
)

const (
	route53Region = "us-east-1"
	maxBody       = 32 << 10 // "Maximum characters in a ChangeResourceRecordSets request"
)

// Route53 serves the zone as Route 53 does.
func (z *Zone) Route53() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /2013-04-01/hostedzone/{id}/rrset", z.signed("ChangeResourceRecordSets", z.changeSets))
	mux.HandleFunc("GET /2013-04-01/hostedzone/{id}/rrset", z.signed("ListResourceRecordSets", z.listSets))
	mux.HandleFunc("GET /2013-04-01/change/{id}", z.signed("GetChange", z.getChange))
	return mux
}

type recordSet struct {
	Name string `xml:"Name"`
	Type string `xml:"Type"`
	TTL  int64  `xml:"TTL"`
	// Records has an element for each value; a path to Value would put all values into one.
	Records []resourceRecord `xml:"ResourceRecords>ResourceRecord"`
	// Rest is what is not modelled.
	Rest []struct{ XMLName xml.Name } `xml:",any" json:"-"`
}

type resourceRecord struct {
	Value string `xml:"Value"`
}

func (s recordSet) values() (all []string) {
	for _, r := range s.Records {
		all = append(all, r.Value)
	}
	return all
}

type changeInfo struct {
	ID          string `xml:"Id"`
	Status      string `xml:"Status"`
	SubmittedAt string `xml:"SubmittedAt"`
}

// denial is an error as Route 53 renders it.
type denial struct {
	status        int
	code, message string
}

func (d *denial) Error() string { return d.code + ": " + d.message }

func deny(status int, code, format string, args ...any) *denial {
	return &denial{status, code, fmt.Sprintf(format, args...)}
}

func (d *denial) reply() cloudsim.Reply {
	return asXML(d.status, struct {
		XMLName   xml.Name `xml:"https://route53.amazonaws.com/doc/2013-04-01/ ErrorResponse"`
		Type      string   `xml:"Error>Type"`
		Code      string   `xml:"Error>Code"`
		Message   string   `xml:"Error>Message"`
		RequestID string   `xml:"RequestId"`
	}{Type: "Sender", Code: d.code, Message: d.message, RequestID: "b25f48e8-84fd-11e6-80d9-574e0c4664cb"})
}

func asXML(status int, v any) cloudsim.Reply {
	body, err := xml.Marshal(v)
	if err != nil {
		return cloudsim.Reply{Status: http.StatusInternalServerError, Body: []byte(err.Error())}
	}
	return cloudsim.Reply{Status: status, ContentType: "text/xml", Body: append([]byte(xml.Header), body...)}
}

// signed checks who calls, and has the world answer.
func (z *Zone) signed(action string, do func(r *http.Request, body []byte) (any, *denial)) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, maxBody))
		if err != nil {
			http.Error(rw, "the request cannot be read", http.StatusBadRequest)
			return
		}
		var own *denial
		z.world.Answer(rw, r, cloudsim.Call{Action: action, Changes: r.Method == http.MethodPost}, func() (cloudsim.Reply, error) {
			if wrong := ec2sim.Signed(r, body, route53Region, "route53", z.world.Secret, time.Now()); wrong != "" {
				own = deny(http.StatusForbidden, "SignatureDoesNotMatch", "%s", wrong)
				return cloudsim.Reply{}, own
			}
			answer, no := do(r, body)
			if no != nil {
				own = no
				return cloudsim.Reply{}, no
			}
			return asXML(http.StatusOK, answer), nil
		}, func(refusal *cloudsim.Refusal) cloudsim.Reply {
			switch {
			case own != nil:
				return own.reply()
			case refusal.Code == cloudsim.Throttled:
				return deny(http.StatusBadRequest, "Throttling", "Rate exceeded").reply()
			case refusal.Code == cloudsim.NotAllowed:
				return deny(http.StatusForbidden, "AccessDenied", "User is not authorized to perform: route53:%s", action).reply()
			}
			return deny(http.StatusInternalServerError, "InternalFailure", "internal error").reply()
		})
	}
}

func (z *Zone) own(r *http.Request) *denial {
	if id := r.PathValue("id"); id != z.ID {
		return deny(http.StatusNotFound, "NoSuchHostedZone", "No hosted zone found with ID: %s", id)
	}
	return nil
}

// inZone gives a name without the dot at its end, if it may be in the zone.
func (z *Zone) inZone(name string) (string, *denial) {
	name = strings.TrimSuffix(name, ".")
	if name != z.Domain && !strings.HasSuffix(name, "."+z.Domain) {
		return "", deny(http.StatusBadRequest, "InvalidChangeBatch", "[RRSet with DNS name %s. is not permitted in zone %s.]", name, z.Domain)
	}
	return name, nil
}

// changeSets makes all changes of a batch, or none.
func (z *Zone) changeSets(r *http.Request, body []byte) (any, *denial) {
	if no := z.own(r); no != nil {
		return nil, no
	}
	var request struct {
		XMLName xml.Name `xml:"https://route53.amazonaws.com/doc/2013-04-01/ ChangeResourceRecordSetsRequest"`
		Comment string   `xml:"ChangeBatch>Comment"`
		Changes []struct {
			Action string    `xml:"Action"`
			Set    recordSet `xml:"ResourceRecordSet"`
		} `xml:"ChangeBatch>Changes>Change"`
	}
	if err := xml.Unmarshal(body, &request); err != nil || len(request.Changes) == 0 {
		return nil, deny(http.StatusBadRequest, "InvalidInput", "the batch cannot be read: %v", err)
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	before, lowest := slices.Clone(z.entries), maps.Clone(z.lowest)
	for _, c := range request.Changes {
		if no := z.changeSet(c.Action, c.Set); no != nil {
			z.entries, z.lowest = before, lowest
			return nil, no
		}
	}
	z.next++
	id := fmt.Sprintf("C%013d", z.next)
	z.changes[id] = z.Pending
	return struct {
		XMLName xml.Name   `xml:"https://route53.amazonaws.com/doc/2013-04-01/ ChangeResourceRecordSetsResponse"`
		Info    changeInfo `xml:"ChangeInfo"`
	}{Info: z.info(id)}, nil
}

// changeSet makes one change. z.mu is held.
func (z *Zone) changeSet(action string, set recordSet) *denial {
	name, no := z.inZone(set.Name)
	if no != nil {
		return no
	}
	refuse := func(format string, args ...any) *denial {
		return deny(http.StatusBadRequest, "InvalidChangeBatch", "["+format+"]", args...)
	}
	if len(set.Rest) > 0 {
		return refuse("%s is not modelled", set.Rest[0].XMLName.Local)
	}
	for _, value := range set.values() {
		ip, err := netip.ParseAddr(value)
		text, unquoted := strconv.Unquote(value)
		switch {
		case set.Type == "A" && (err != nil || !ip.Is4()):
			return refuse("Invalid Resource Record: FATAL problem: ARRDATAIllegalIPv4Address (Value is not a valid IPv4 address) encountered with '%s'", value)
		case set.Type == "TXT" && (unquoted != nil || len(text) > 255):
			return refuse("Invalid Resource Record: FATAL problem: InvalidCharacterString (Value should be enclosed in quotation marks) encountered with '%s'", value)
		case set.Type != "A" && set.Type != "TXT":
			return refuse("type %s is not modelled", set.Type)
		}
	}
	if len(set.Records) == 0 || set.TTL <= 0 || len(slices.Compact(slices.Sorted(slices.Values(set.values())))) != len(set.Records) {
		return refuse("%s has no TTL, no value or one twice", set.Name)
	}
	have := z.set(name, set.Type)
	same := func(e Entry) bool { return e.Name == name && e.Type == set.Type }
	switch action {
	case "DELETE":
		wanted := slices.Sorted(slices.Values(set.values()))
		if have == nil || have.TTL != set.TTL || !slices.Equal(have.values(), wanted) {
			return refuse("Tried to delete resource record set [name='%s.', type='%s'] but the values provided do not match the current values", name, set.Type)
		}
		z.drop(same)
		return nil
	case "CREATE":
		if have != nil {
			return refuse("Tried to create resource record set [name='%s.', type='%s'] but it already exists", name, set.Type)
		}
	case "UPSERT": // one step: nobody sees the name without a value
		z.entries = slices.DeleteFunc(z.entries, same)
	default:
		return deny(http.StatusBadRequest, "InvalidInput", "%q is no action", action)
	}
	for _, value := range set.values() {
		z.add(Entry{Name: name, Type: set.Type, Value: value, TTL: set.TTL})
	}
	if _, had := z.lowest[name]; had {
		z.lowest[name] = min(z.lowest[name], len(z.lookup(name, "A")))
	}
	return nil
}

// set gives a name's values of a type as one set; nil if it has none. z.mu is held.
func (z *Zone) set(name, kind string) *recordSet {
	values := z.lookup(name, kind)
	if len(values) == 0 {
		return nil
	}
	i := slices.IndexFunc(z.entries, func(e Entry) bool { return e.Name == name && e.Type == kind })
	found := &recordSet{Name: name + ".", Type: kind, TTL: z.entries[i].TTL}
	for _, v := range values {
		found.Records = append(found.Records, resourceRecord{v})
	}
	return found
}

// listSets lists sets from a name and type on, by reversed labels as Route 53 does.
func (z *Zone) listSets(r *http.Request, _ []byte) (any, *denial) {
	if no := z.own(r); no != nil {
		return nil, no
	}
	query := r.URL.Query()
	for key := range query {
		if !slices.Contains([]string{"name", "type", "maxitems"}, key) {
			return nil, deny(http.StatusBadRequest, "InvalidInput", "%s is not modelled", key)
		}
	}
	most, err := strconv.Atoi(query.Get("maxitems"))
	if err != nil || most < 1 || most > 300 || query.Get("type") != "" && query.Get("name") == "" {
		return nil, deny(http.StatusBadRequest, "InvalidInput", "maxitems or type is invalid")
	}
	key := func(name, kind string) string {
		labels := strings.Split(strings.TrimSuffix(name, "."), ".")
		slices.Reverse(labels)
		return strings.Join(labels, "\x00") + "\x01" + kind
	}
	from := key(query.Get("name"), query.Get("type"))
	z.mu.Lock()
	defer z.mu.Unlock()
	found := map[string]*recordSet{}
	for _, e := range z.entries {
		if k := key(e.Name, e.Type); k >= from {
			found[k] = z.set(e.Name, e.Type)
		}
	}
	answer := struct {
		XMLName   xml.Name     `xml:"https://route53.amazonaws.com/doc/2013-04-01/ ListResourceRecordSetsResponse"`
		Sets      []*recordSet `xml:"ResourceRecordSets>ResourceRecordSet"`
		Truncated bool         `xml:"IsTruncated"`
		MaxItems  int          `xml:"MaxItems"`
	}{MaxItems: most, Truncated: len(found) > most}
	for _, k := range slices.Sorted(maps.Keys(found)) {
		if len(answer.Sets) < most {
			answer.Sets = append(answer.Sets, found[k])
		}
	}
	return answer, nil
}

func (z *Zone) getChange(r *http.Request, _ []byte) (any, *denial) {
	z.mu.Lock()
	defer z.mu.Unlock()
	id := r.PathValue("id")
	if _, known := z.changes[id]; !known {
		return nil, deny(http.StatusNotFound, "NoSuchChange", "Could not find resource with ID: %s", id)
	}
	answer := z.info(id)
	z.changes[id]--
	return struct {
		XMLName xml.Name   `xml:"https://route53.amazonaws.com/doc/2013-04-01/ GetChangeResponse"`
		Info    changeInfo `xml:"ChangeInfo"`
	}{Info: answer}, nil
}

// info says how a change stands. z.mu is held.
func (z *Zone) info(id string) changeInfo {
	status := "INSYNC"
	if z.changes[id] > 0 {
		status = "PENDING"
	}
	return changeInfo{"/change/" + id, status, time.Now().UTC().Format(time.RFC3339)}
}

// InSync says whether all changes of Route 53 were waited for.
func (z *Zone) InSync() bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, left := range z.changes {
		if left >= 0 { // the answer that it is known was not asked for
			return false
		}
	}
	return len(z.changes) > 0
}
