// Package aliyun is the provider for Alibaba Cloud: hosts are ECS instances, disks are
// cloud disks of Elastic Block Storage (ESSDs as a rule), and commands go through Cloud
// Assistant. One Provider is one region. Where the API leaves something to its callers,
// comments name the page of its reference that says so.
//
// The SDK's own habits that matter (alibaba-cloud-sdk-go v1.63.107): it signs by
// HMAC-SHA1 and puts every parameter into the URL, so that the URLs in its errors must
// not be shown; it speaks plain HTTP unless told otherwise; its calls take no context;
// its client may not be used by two goroutines at once. client.go deals with all of
// that. It tries nothing again, and neither does this package: callers do.
//
// Credentials come through the SDK's own default chain and are in no log and no error.
package aliyun

import (
	"context"
	"maps"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

// Config says what a region's hosts and disks are bought with.
type Config struct {
	Region string
	// VSwitches are where hosts go: a zone's ID to the ID of a vSwitch in it. These
	// zones are the ones on offer.
	VSwitches map[string]string
	// Image is of the architecture of all Types and must have cloud-init and the Cloud
	// Assistant agent, as the public images have.
	Image string
	// SecurityGroups are of the vSwitches' VPC.
	SecurityGroups []string
	// RAMRole is the name of the role that hosts have; none if empty.
	RAMRole string
	// DeploymentSet is the ID of one that spreads hosts over hardware; none if empty.
	DeploymentSet string
	// Types are the machine types on offer; all that the region has if empty.
	Types []string
	// Categories are the disk categories on offer; DefaultCategories if empty.
	Categories []string
	// KMSKey encrypts disks; the account's service key if empty. Disks are always encrypted.
	KMSKey string
	// KeepCharging keeps a stopped host's CPU, memory and address paid for, so that it
	// can be started again for sure. Otherwise only its disks are paid for meanwhile, and
	// a start may find no stock (StopInstance: StoppedMode).
	KeepCharging bool
	// UserData gives what a host does at its first boot (cloud-init), at most boot.Limit.
	// None if nil.
	UserData func(ctx context.Context) ([]byte, error)
	// Ports are those that members may have on a host. From 2379 on if empty.
	Ports fleet.PortRange
	// Endpoint is for an endpoint of one's own, as https://ecs-vpc.cn-hangzhou.aliyuncs.com.
	// Plain http:// is for this machine's own loopback addresses alone.
	Endpoint string
	// Credentials are for tests. The SDK's default chain if nil.
	Credentials credentials.CredentialsProvider
	// Transport is for tests. One that trusts the system's authorities if nil.
	Transport http.RoundTripper
	// Lag is how long a look may lag behind a change. 10 s if zero.
	Lag time.Duration
}

// DefaultCategories are ESSDs of each performance level; cloud_essd is PL1.
var DefaultCategories = []string{essd, essd + ":PL0", essd + ":PL2", essd + ":PL3"}

// seenWithin is Config.Lag's default: looks lag by seconds at most, as a rule.
const seenWithin = 10 * time.Second

// Provider is one region of Alibaba Cloud.
type Provider struct {
	cfg         Config
	scheme      string // https, or http to this machine
	host        string
	vpcHost     string // of the VPC service, which only Examine asks
	credentials *chain
	transport   http.RoundTripper
}

var _ iaas.Provider = (*Provider)(nil)

// Open gives the provider of a region. It asks the cloud nothing yet. Errors:
// fleet.Invalid for a configuration that cannot work.
func Open(cfg Config) (*Provider, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg.VSwitches = maps.Clone(cfg.VSwitches)
	cfg.Categories = slices.Clone(cfg.Categories)
	if len(cfg.Categories) == 0 {
		cfg.Categories = slices.Clone(DefaultCategories)
	}
	if cfg.Ports.Count == 0 {
		cfg.Ports = fleet.PortRange{First: 2379, Count: 100}
	}
	if cfg.Lag == 0 {
		cfg.Lag = seenWithin
	}
	p := &Provider{
		cfg: cfg, scheme: "https", host: "ecs." + cfg.Region + ".aliyuncs.com",
		credentials: newChain(cfg.Credentials), transport: cfg.Transport,
	}
	if cfg.Endpoint != "" {
		at, _ := url.Parse(cfg.Endpoint) // was checked
		p.scheme, p.host = at.Scheme, at.Host
	}
	if p.vpcHost = "vpc." + cfg.Region + ".aliyuncs.com"; p.scheme == "http" {
		p.vpcHost = p.host // a loopback address, which speaks for all services
	}
	if p.transport == nil {
		p.transport = newTransport()
	}
	return p, nil
}

// regionID is what the SDK takes, and what can be part of a host name.
var regionID = regexp.MustCompile(`^[a-z0-9-]+$`)

func (c Config) check() error {
	var ps fleet.Problems
	need := func(field string, missing bool, message string) {
		if missing {
			ps = append(ps, fleet.Problem{Path: field, Message: message})
		}
	}
	need("region", !regionID.MatchString(c.Region), "is missing or no region's ID")
	need("vSwitches", len(c.VSwitches) == 0, "is missing: name a vSwitch for each zone")
	for zone, vSwitch := range c.VSwitches {
		need("vSwitches", !strings.HasPrefix(vSwitch, "vsw-"), zone+": "+vSwitch+" is not the ID of a vSwitch")
	}
	need("image", c.Image == "", "is missing")
	need("securityGroups", len(c.SecurityGroups) == 0, "is missing")
	for _, category := range c.Categories {
		_, _, err := parseCategory(category)
		need("categories", err != nil, category+" is not a category, as cloud_essd or cloud_essd:PL2")
	}
	if c.Endpoint != "" {
		if problem := checkEndpoint(c.Endpoint); problem != "" {
			ps = append(ps, fleet.Problem{Path: "endpoint", Message: problem})
		}
	}
	return ps.Err("Alibaba Cloud")
}

// checkEndpoint says what is wrong with an endpoint: signatures are not secret, but what
// is answered is, and what is asked for may be replayed within its minutes.
func checkEndpoint(endpoint string) string {
	at, err := url.Parse(endpoint)
	if err != nil || at.Host == "" || at.Path != "" && at.Path != "/" || at.RawQuery != "" || at.User != nil {
		return "is not like https://host"
	}
	ip := net.ParseIP(at.Hostname())
	switch {
	case at.Scheme == "https":
		return ""
	case at.Scheme == "http" && ip != nil && ip.IsLoopback():
		return ""
	}
	return "must be https (http is for loopback addresses alone)"
}
