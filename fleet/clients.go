package fleet

import (
	"cmp"
	"regexp"
	"slices"
	"time"
)

// ClientsSpec is the name that clients connect by, which the region's workers keep
// pointing at the members that serve (worker's --publish). Certificates are valid for it.
type ClientsSpec struct {
	// Record is a DNS name, as in orders.etcd.example.com. Empty: nothing is published.
	Record string `yaml:"record,omitempty" json:"record,omitempty"`
	// TTL is how long resolvers may keep what they were told.
	TTL Duration `yaml:"ttl,omitempty" json:"ttl,omitempty"`
}

// DefaultRecordTTL is how long clients may go on asking a member that left.
const DefaultRecordTTL = Duration(30 * time.Second)

var (
	hostPattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)+$`)
	// maxRecord leaves room within DNS's 253 for the name that says whose the record is.
	maxRecord = 240
)

// Validate gives everything that is wrong with it, below path.
func (c ClientsSpec) Validate(path string) Problems {
	var ps Problems
	switch {
	case c.Record == "" && c.TTL != 0:
		ps.add(path+".ttl", "has no meaning without a record")
	case c.Record == "":
	case !hostPattern.MatchString(c.Record) || len(c.Record) > maxRecord:
		ps.add(path+".record", "%q is not a DNS name such as orders.etcd.example.com, in lower case and of at most %d characters", c.Record, maxRecord)
	}
	if c.TTL != 0 {
		between(&ps, path+".ttl", c.TTL, Duration(time.Second), Duration(24*time.Hour))
		if time.Duration(c.TTL)%time.Second != 0 {
			ps.add(path+".ttl", "%s is not a whole number of seconds", c.TTL)
		}
	}
	return ps
}

// Record says where clients of a cluster are to connect, under one name.
type Record struct {
	// Cluster is whose the name is. A name that another cluster has is not taken.
	Cluster string `json:"cluster"`
	Name    string `json:"name"`
	// TTL is in whole seconds.
	TTL       Duration   `json:"ttl"`
	Endpoints []Endpoint `json:"endpoints"`
}

// Record gives a spec's record for some endpoints, in the order of their members.
func (s Spec) Record(endpoints []Endpoint) Record {
	endpoints = slices.Clone(endpoints)
	slices.SortFunc(endpoints, func(a, b Endpoint) int {
		return cmp.Or(cmp.Compare(MemberNumber(s.Name, a.Member), MemberNumber(s.Name, b.Member)), cmp.Compare(a.Member, b.Member))
	})
	return Record{Cluster: s.Name, Name: s.Clients.Record, TTL: cmp.Or(s.Clients.TTL, DefaultRecordTTL), Endpoints: endpoints}
}

// PublishRequest asks for a cluster's record to say where its clients are to connect.
type PublishRequest struct {
	Operation Operation `json:"operation"`
	// Endpoints are the members; none takes the record away.
	Endpoints []Endpoint `json:"endpoints,omitempty"`
}
