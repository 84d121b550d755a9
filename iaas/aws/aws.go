// Package aws is the provider for Amazon Web Services: hosts are EC2 instances, disks
// are EBS volumes, and commands go through Systems Manager Run Command. One Provider is
// one region. Where the API leaves something to its callers, comments name the page of
// its reference that says so.
//
// Credentials come through the SDK's own default chain and are in no log and no error.
package aws

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/servicequotas"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

// Config says what a region's hosts and disks are bought with.
type Config struct {
	Region string
	// Subnets are where hosts go: a zone's name to the ID of a subnet in it. These
	// zones are the ones on offer.
	Subnets map[string]string
	// LaunchTemplate is an ID (lt-…) or a name; what else is set here goes before it.
	LaunchTemplate string
	// Image is an AMI of the architecture of all Types; left to the template if empty.
	Image          string
	SecurityGroups []string
	// InstanceProfile is a name or an ARN. It must let the host's agent speak to SSM.
	InstanceProfile string
	// PlacementGroup is a spread group's name; it takes seven hosts in each zone.
	PlacementGroup string
	// Types are the machine types on offer; all of the current generation if empty.
	Types []string
	// Categories are the volume types on offer. gp3 if empty.
	Categories []string
	// IOPS and Throughput (MiB/s) are provisioned for gp3; zero is what gp3 has anyway.
	IOPS, Throughput int
	// KMSKey encrypts disks; the account's default key for EBS if empty. Disks are
	// always encrypted.
	KMSKey string
	// UserData gives what a host does at its first boot (cloud-init), at most boot.Limit.
	// None if nil.
	UserData func(ctx context.Context) ([]byte, error)
	// Ports are those that members may have on a host. From 2379 on if empty.
	Ports fleet.PortRange
	// EC2Endpoint, SSMEndpoint and QuotasEndpoint (of Service Quotas, which only Examine
	// asks) are for endpoints of one's own (VPC endpoints, tests).
	EC2Endpoint, SSMEndpoint, QuotasEndpoint string
	// Credentials are for tests. The SDK's default chain if nil.
	Credentials aws.CredentialsProvider
	Log         *zap.Logger
}

const (
	// callTimeout bounds one call with its retries. Callers wait 20 s.
	callTimeout = 18 * time.Second
	// tries are few: callers try again, at a pace that learns (iaas/pace).
	tries = 3
	// longestPause between two tries keeps all of them within a call's time.
	longestPause = 2 * time.Second
)

// Provider is one region of AWS.
type Provider struct {
	cfg    Config
	ec2    *ec2.Client
	ssm    *ssm.Client
	quotas *servicequotas.Client
	log    *zap.Logger
	sent   *ledger // of commands
	copied *ledger // of disk snapshots
}

var _ iaas.Provider = (*Provider)(nil)

// Open gives the provider of a region. It asks AWS nothing yet. Errors: fleet.Invalid
// for a configuration that cannot work.
func Open(ctx context.Context, cfg Config) (*Provider, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg.Subnets = maps.Clone(cfg.Subnets)
	cfg.Categories = slices.Clone(cfg.Categories)
	if len(cfg.Categories) == 0 {
		cfg.Categories = []string{"gp3"}
	}
	if cfg.Ports.Count == 0 {
		cfg.Ports = fleet.PortRange{First: 2379, Count: 100}
	}
	options := []func(*config.LoadOptions) error{
		config.WithRegion(cfg.Region),
		config.WithRetryer(retryer),
	}
	if cfg.Credentials != nil {
		options = append(options, config.WithCredentialsProvider(cfg.Credentials))
	}
	loaded, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "AWS", "its configuration cannot be loaded: %w", err)
	}
	p := &Provider{cfg: cfg, log: cfg.Log, sent: newLedger(), copied: newLedger()}
	if p.log == nil {
		p.log = zap.NewNop()
	}
	p.ec2 = ec2.NewFromConfig(loaded, func(o *ec2.Options) { o.BaseEndpoint = endpoint(cfg.EC2Endpoint, o.BaseEndpoint) })
	p.ssm = ssm.NewFromConfig(loaded, func(o *ssm.Options) { o.BaseEndpoint = endpoint(cfg.SSMEndpoint, o.BaseEndpoint) })
	p.quotas = servicequotas.NewFromConfig(loaded, func(o *servicequotas.Options) {
		o.BaseEndpoint = endpoint(cfg.QuotasEndpoint, o.BaseEndpoint)
	})
	return p, nil
}

func endpoint(ours string, theirs *string) *string {
	if ours == "" {
		return theirs
	}
	return &ours
}

func (c Config) check() error {
	var ps fleet.Problems
	need := func(field string, missing bool, message string) {
		if missing {
			ps = append(ps, fleet.Problem{Path: field, Message: message})
		}
	}
	need("region", c.Region == "", "is missing")
	need("subnets", len(c.Subnets) == 0, "is missing: name a subnet for each zone")
	for zone, subnet := range c.Subnets {
		need("subnets", !strings.HasPrefix(subnet, "subnet-"), zone+": "+subnet+" is not the ID of a subnet")
	}
	if c.LaunchTemplate == "" {
		need("image", c.Image == "", "is missing, and there is no launch template")
		need("securityGroups", len(c.SecurityGroups) == 0, "is missing, and there is no launch template")
		need("instanceProfile", c.InstanceProfile == "", "is missing, and there is no launch template: hosts must be allowed to speak to SSM")
	}
	return ps.Err("AWS")
}

// retryer tries again what the SDK does, but not what has no room: its status is 500,
// and only another zone or type helps.
func retryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts, o.MaxBackoff = tries, longestPause
		o.Retryables = append([]retry.IsErrorRetryable{retry.IsErrorRetryableFunc(func(err error) aws.Ternary {
			if kind, ok := kindOf(codeOf(err)); ok && kind == fleet.OutOfCapacity {
				return aws.FalseTernary
			}
			return aws.UnknownTernary
		})}, o.Retryables...)
	})
}

// bounded gives a call its deadline.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, callTimeout)
}
