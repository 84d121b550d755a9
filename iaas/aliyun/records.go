package aliyun

import (
	"context"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/alidns"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas/cloud"
)

// RecordsConfig says where the names of clients are.
type RecordsConfig struct {
	// Domain is one that the account manages, as in example.com.
	Domain string
	// Endpoint is for an endpoint of one's own; plain http:// is for this machine's own
	// loopback addresses alone.
	Endpoint string
	// Credentials are for tests. The SDK's default chain if nil.
	Credentials credentials.CredentialsProvider
}

var domainName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+$`)

const (
	// recordsRegion is what the SDK wants; the service is one for all regions.
	recordsRegion = "cn-hangzhou"
	// recordsPage is the most that a page has (DescribeSubDomainRecords).
	recordsPage = 500
)

// Records are the names in one domain of Alibaba Cloud DNS. A cluster's name has an A
// record for each member, and beside it a TXT record that says whose it is.
type Records struct {
	cfg          RecordsConfig
	scheme, host string
	credentials  *chain
	transport    http.RoundTripper
}

// OpenRecords opens a domain. It asks the cloud nothing yet. Errors: fleet.Invalid for a
// configuration that cannot work.
func OpenRecords(cfg RecordsConfig) (*Records, error) {
	if !domainName.MatchString(cfg.Domain) {
		return nil, fleet.Errorf(fleet.Invalid, "Alibaba Cloud DNS", "%q is not a domain, as in example.com", cfg.Domain)
	}
	r := &Records{cfg: cfg, scheme: "https", host: "alidns.aliyuncs.com", credentials: newChain(cfg.Credentials), transport: newTransport()}
	if cfg.Endpoint != "" {
		if problem := checkEndpoint(cfg.Endpoint); problem != "" {
			return nil, fleet.Errorf(fleet.Invalid, "Alibaba Cloud DNS", "the endpoint %s", problem)
		}
		r.scheme, r.host, _ = strings.Cut(strings.TrimSuffix(cfg.Endpoint, "/"), "://")
	}
	return r, nil
}

// Publish implements endpoints.Publisher. Records change one by one: what is new is added
// before anything old is removed, so that at every moment the name says members that are
// there, and all of them at the end. Servers know of a change within a second as a rule,
// and there is nothing to ask them by.
func (r *Records) Publish(ctx context.Context, record fleet.Record) error {
	resource := "record " + record.Name
	prefix, inside := strings.CutSuffix(record.Name, "."+r.cfg.Domain)
	if !inside {
		return fleet.Errorf(fleet.Invalid, resource, "it is not in the domain %s, which the workers publish in", r.cfg.Domain).
			WithRemedy("choose a name in it (clients.record), or give the workers another domain (--publish)")
	}
	values, err := cloud.Addresses(record)
	if err != nil {
		return err
	}
	owner, mark := cloud.RecordOwner(record)
	there, err := r.list(ctx, resource, record.Name, "A")
	if err != nil {
		return err
	}
	marks, err := r.list(ctx, resource, owner, "TXT")
	if err != nil {
		return err
	}
	ours := slices.ContainsFunc(marks, func(m alidns.Record) bool { return m.Value == mark })
	if !ours && len(there)+len(marks) > 0 {
		return fleet.Errorf(fleet.Conflict, resource, "it is there, and not %s's", record.Cluster).
			WithRemedy("remove it, or give %s another name (clients.record)", record.Cluster)
	}
	ttl := int(time.Duration(record.TTL).Seconds())
	if len(values) > 0 && !ours { // first, so that what follows is ours whatever ends here
		if err := r.add(ctx, resource, "_flotilla."+prefix, "TXT", mark, ttl); err != nil {
			return err
		}
	}
	for _, v := range values {
		i := slices.IndexFunc(there, func(have alidns.Record) bool { return have.Value == v })
		switch {
		case i < 0:
			err = r.add(ctx, resource, prefix, "A", v, ttl)
		case there[i].TTL != int64(ttl):
			err = r.update(ctx, resource, there[i], ttl)
		}
		if err != nil {
			return err
		}
	}
	var old []alidns.Record
	for _, have := range there {
		if !slices.Contains(values, have.Value) {
			old = append(old, have)
		}
	}
	if len(values) == 0 { // last, for the same reason
		old = append(old, marks...)
	}
	for _, have := range old {
		if err := r.remove(ctx, resource, have.RecordId); err != nil {
			return err
		}
	}
	return nil
}

// list gives the records of a name and type.
func (r *Records) list(ctx context.Context, resource, name, kind string) ([]alidns.Record, error) {
	var all []alidns.Record
	for page := 1; ; page++ {
		request := alidns.CreateDescribeSubDomainRecordsRequest()
		request.SubDomain, request.DomainName, request.Type = name, r.cfg.Domain, kind
		request.PageNumber, request.PageSize = requests.NewInteger(page), requests.NewInteger(recordsPage)
		answer, err := callRecords(ctx, r, resource, (*alidns.Client).DescribeSubDomainRecords, request)
		if err != nil {
			return nil, err
		}
		all = append(all, answer.DomainRecords.Record...)
		if len(answer.DomainRecords.Record) == 0 || int64(len(all)) >= answer.TotalCount {
			return all, nil
		}
	}
}

func (r *Records) add(ctx context.Context, resource, prefix, kind, value string, ttl int) error {
	request := alidns.CreateAddDomainRecordRequest()
	request.DomainName, request.RR, request.Type, request.Value, request.TTL = r.cfg.Domain, prefix, kind, value, requests.NewInteger(ttl)
	_, err := callRecords(ctx, r, resource, (*alidns.Client).AddDomainRecord, request)
	if is(err, "DomainRecordDuplicate") {
		return nil // an attempt whose answer was lost
	}
	return explainTTL(err)
}

func (r *Records) update(ctx context.Context, resource string, have alidns.Record, ttl int) error {
	request := alidns.CreateUpdateDomainRecordRequest()
	request.RecordId, request.RR, request.Type, request.Value, request.TTL = have.RecordId, have.RR, have.Type, have.Value, requests.NewInteger(ttl)
	_, err := callRecords(ctx, r, resource, (*alidns.Client).UpdateDomainRecord, request)
	if is(err, "DomainRecordDuplicate") {
		return nil // it says so already
	}
	return explainTTL(err)
}

func (r *Records) remove(ctx context.Context, resource, id string) error {
	request := alidns.CreateDeleteDomainRecordRequest()
	request.RecordId = id
	_, err := callRecords(ctx, r, resource, (*alidns.Client).DeleteDomainRecord, request)
	if is(err, "DomainRecordNotBelongToUser", "InvalidRR.NoExist") {
		return nil // it is gone
	}
	return err
}

// explainTTL says what to do where the edition of the domain has no TTL that short.
func explainTTL(err error) error {
	if e, ok := err.(*fleet.Error); ok && is(err, "QuotaExceeded.TTL") { //nolint:errorlint // translate gives it as it is
		return e.WithRemedy("choose a longer clients.ttl: 10m is the least of a free domain")
	}
	return err
}

// callRecords makes one call of Alibaba Cloud DNS, as call does of ECS.
func callRecords[Q requests.AcsRequest, A any](
	ctx context.Context, r *Records, resource string, do func(*alidns.Client, Q) (A, error), request Q,
) (A, error) {
	return within(ctx, resource, func(ctx context.Context) (A, error) {
		c := &alidns.Client{}
		cfg := sdk.NewConfig().WithScheme(r.scheme).WithTimeout(callTimeout)
		cfg.Transport = carrier{ctx, r.transport}
		if err := c.InitWithOptions(recordsRegion, cfg, r.credentials); err != nil {
			var none A
			return none, err
		}
		c.Domain = r.host
		c.SetReadTimeout(callTimeout)
		c.SetCloseTrace(true) // a tracer would be told the URL
		request.SetScheme(r.scheme)
		return do(c, request)
	})
}
