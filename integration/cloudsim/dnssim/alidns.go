package dnssim

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/ecssim"
)

// common are the parameters that any call has ("Common parameters").
var common = []string{
	"Action", "Version", "RegionId", "Format", "AccessKeyId", "SecurityToken", "Timestamp",
	"Signature", "SignatureMethod", "SignatureVersion", "SignatureNonce", "SignatureType",
}

// rpc is an action of Alibaba Cloud DNS with the parameters that are modelled.
type rpc struct {
	known []string
	do    func(z *Zone, form url.Values) (map[string]any, *denial)
}

var actions = map[string]rpc{
	"DescribeSubDomainRecords": {[]string{"SubDomain", "DomainName", "Type", "PageNumber", "PageSize"}, (*Zone).describe},
	"AddDomainRecord":          {[]string{"DomainName", "RR", "Type", "Value", "TTL"}, (*Zone).addRecord},
	"UpdateDomainRecord":       {[]string{"RecordId", "RR", "Type", "Value", "TTL"}, (*Zone).updateRecord},
	"DeleteDomainRecord":       {[]string{"RecordId"}, (*Zone).deleteRecord},
}

// Alidns serves the zone as Alibaba Cloud DNS does.
func (z *Zone) Alidns() http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		err := r.ParseForm()
		name := r.Form.Get("Action")
		var own *denial
		z.world.Answer(rw, r, cloudsim.Call{Action: name, Changes: !strings.HasPrefix(name, "Describe")}, func() (cloudsim.Reply, error) {
			if err == nil {
				var answer map[string]any
				if answer, own = z.call(r.Method, r.Form, name); own == nil {
					return asJSON(http.StatusOK, answer), nil
				}
				return cloudsim.Reply{}, own
			}
			return cloudsim.Reply{}, err
		}, func(refusal *cloudsim.Refusal) cloudsim.Reply {
			switch {
			case own != nil:
			case refusal.Code == cloudsim.Throttled:
				own = deny(http.StatusBadRequest, "Throttling.User", "Request was denied due to user flow control.")
			case refusal.Code == cloudsim.NotAllowed:
				own = deny(http.StatusForbidden, "Forbidden.RAM", "User not authorized to operate on the specified resource.")
			default:
				own = deny(http.StatusInternalServerError, "InternalError", "The request processing has failed due to some unknown error.")
			}
			return asJSON(own.status, map[string]any{"Code": own.code, "Message": own.message, "HostId": "alidns.aliyuncs.com"})
		})
	})
}

func asJSON(status int, answer map[string]any) cloudsim.Reply {
	answer["RequestId"] = strings.ToUpper(rand.Text())
	body, err := json.Marshal(answer)
	if err != nil {
		return cloudsim.Reply{Status: http.StatusInternalServerError, Body: []byte(err.Error())}
	}
	return cloudsim.Reply{Status: status, ContentType: "application/json;charset=utf-8", Body: body}
}

// call checks who calls and with what, and does it.
func (z *Zone) call(method string, form url.Values, name string) (map[string]any, *denial) {
	if code := ecssim.Signed(method, form, z.world.Secret, time.Now()); code != "" {
		return nil, deny(http.StatusBadRequest, code, "the signature was refused")
	}
	action, ok := actions[name]
	if !ok || form.Get("Version") != "2015-01-09" {
		return nil, deny(http.StatusBadRequest, "InvalidParameter", `The specified parameter "Action or Version" is not valid.`)
	}
	for key := range form {
		if !slices.Contains(common, key) && !slices.Contains(action.known, key) {
			return nil, deny(http.StatusBadRequest, "InvalidParameter", `The specified parameter "%s" is not modelled.`, key)
		}
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	nonce := form.Get("SignatureNonce")
	if z.nonces[nonce] {
		return nil, deny(http.StatusBadRequest, "SignatureNonceUsed", "The request signature nonce has been used.")
	}
	z.nonces[nonce] = true
	return action.do(z, form)
}

// describe lists the records of one name, page by page.
func (z *Zone) describe(form url.Values) (map[string]any, *denial) {
	page, _ := strconv.Atoi(form.Get("PageNumber"))
	size, _ := strconv.Atoi(form.Get("PageSize"))
	if form.Get("DomainName") != z.Domain {
		return nil, deny(http.StatusBadRequest, "InvalidDomainName.NoExist", "The specified domain name does not exist. Refresh the page and try again.")
	}
	if page < 1 || size < 1 || size > 500 {
		return nil, deny(http.StatusBadRequest, "InvalidParameter", `The specified parameter "PageSize" is not valid.`)
	}
	all := []map[string]any{}
	for _, e := range z.entries {
		if e.Name == form.Get("SubDomain") && (form.Get("Type") == "" || form.Get("Type") == e.Type) {
			all = append(all, map[string]any{
				"RecordId": e.id, "RR": strings.TrimSuffix(e.Name, "."+z.Domain), "DomainName": z.Domain, "Type": e.Type,
				"Value": e.Value, "TTL": e.TTL, "Status": "ENABLE", "Line": "default", "Locked": false, "Weight": 1,
			})
		}
	}
	from := min((page-1)*size, len(all))
	return map[string]any{
		"TotalCount": len(all), "PageNumber": page, "PageSize": size,
		"DomainRecords": map[string]any{"Record": all[from:min(from+size, len(all))]},
	}, nil
}

// entry gives what a call says of a record, held to the rules of AddDomainRecord.
func (z *Zone) entry(form url.Values) (Entry, *denial) {
	e := Entry{Name: form.Get("RR") + "." + z.Domain, Type: form.Get("Type"), Value: form.Get("Value")}
	var err error
	if e.TTL, err = strconv.ParseInt(form.Get("TTL"), 10, 64); err != nil || e.TTL > 86400 {
		return e, deny(http.StatusBadRequest, "InvalidTTL", "The specified TTL is invalid.")
	}
	ip, err := netip.ParseAddr(e.Value)
	switch {
	case form.Get("RR") == "":
		return e, deny(http.StatusBadRequest, "InvalidRR.Format", "The specified RR is invalid.")
	case e.TTL < z.MinTTL:
		return e, deny(http.StatusBadRequest, "QuotaExceeded.TTL", "The TTL value exceeds the limit.")
	case e.Type != "A" && e.Type != "TXT":
		return e, deny(http.StatusBadRequest, "InvalidType", "the type is not modelled")
	case e.Type == "A" && (err != nil || !ip.Is4()), e.Value == "":
		return e, deny(http.StatusBadRequest, "DnsRecordInvalid", "The DNS record is invalid.")
	}
	return e, nil
}

// duplicate says that there is such a record already. z.mu is held.
func (z *Zone) duplicate(e Entry, sameTTL bool) *denial {
	if slices.ContainsFunc(z.entries, func(have Entry) bool {
		return have.Name == e.Name && have.Type == e.Type && have.Value == e.Value && (!sameTTL || have.TTL == e.TTL)
	}) {
		return deny(http.StatusBadRequest, "DomainRecordDuplicate", "The DNS record already exists.")
	}
	return nil
}

func (z *Zone) addRecord(form url.Values) (map[string]any, *denial) {
	if form.Get("DomainName") != z.Domain {
		return nil, deny(http.StatusBadRequest, "InvalidDomainName.NoExist", "The specified domain name does not exist. Refresh the page and try again.")
	}
	e, no := z.entry(form)
	if no == nil {
		no = z.duplicate(e, false)
	}
	if no != nil {
		return nil, no
	}
	return map[string]any{"RecordId": z.add(e)}, nil
}

func (z *Zone) updateRecord(form url.Values) (map[string]any, *denial) {
	e, no := z.entry(form)
	i := slices.IndexFunc(z.entries, func(have Entry) bool { return have.id == form.Get("RecordId") })
	switch {
	case no != nil:
		return nil, no
	case i < 0:
		return nil, notOurs
	}
	if no := z.duplicate(e, true); no != nil {
		return nil, no
	}
	e.id = z.entries[i].id
	z.entries[i] = e
	return map[string]any{"RecordId": e.id}, nil
}

var notOurs = deny(http.StatusForbidden, "DomainRecordNotBelongToUser", "The DNS record does not belong to the current user.")

func (z *Zone) deleteRecord(form url.Values) (map[string]any, *denial) {
	id := form.Get("RecordId")
	if z.drop(func(e Entry) bool { return e.id == id }) == 0 {
		return nil, notOurs
	}
	return map[string]any{"RecordId": id}, nil
}
