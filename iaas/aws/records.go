package aws

import (
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas/cloud"
)

// RecordsConfig says where the names of clients are.
type RecordsConfig struct {
	// Zone is the ID of a hosted zone, public or private, as in Z0123456789ABC.
	Zone string
	// Endpoint is for an endpoint of one's own.
	Endpoint string
	// Credentials are for tests. The SDK's default chain if nil.
	Credentials aws.CredentialsProvider
	// Poll is how often a change is asked about. 2 s if zero.
	Poll time.Duration
}

const (
	// recordsRegion is where Route 53 is, for all regions ("Route 53 endpoints and quotas").
	recordsRegion = "us-east-1"
	// inSyncWithin is how long all of its servers may take to know of a change; it is 60 s
	// as a rule ("How Amazon Route 53 routes traffic").
	inSyncWithin = 4 * time.Minute
	// recordsPoll is within the five requests a second of an account.
	recordsPoll = 2 * time.Second
)

var hostedZone = regexp.MustCompile(`^Z[A-Z0-9]{1,31}$`)

// Records are the names in one hosted zone of Route 53. A cluster's name has A records,
// and beside it a TXT record that says whose it is.
type Records struct {
	cfg    RecordsConfig
	client *route53.Client
}

// OpenRecords opens a hosted zone. It asks AWS nothing yet. Errors: fleet.Invalid for a
// configuration that cannot work.
func OpenRecords(ctx context.Context, cfg RecordsConfig) (*Records, error) {
	if !hostedZone.MatchString(cfg.Zone) {
		return nil, fleet.Errorf(fleet.Invalid, "Route 53", "%q is not the ID of a hosted zone, as in Z0123456789ABC", cfg.Zone)
	}
	if cfg.Poll == 0 {
		cfg.Poll = recordsPoll
	}
	options := []func(*config.LoadOptions) error{config.WithRegion(recordsRegion), config.WithRetryer(retryer)}
	if cfg.Credentials != nil {
		options = append(options, config.WithCredentialsProvider(cfg.Credentials))
	}
	loaded, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "AWS", "its configuration cannot be loaded: %w", err)
	}
	return &Records{cfg, route53.NewFromConfig(loaded, func(o *route53.Options) { o.BaseEndpoint = endpoint(cfg.Endpoint, o.BaseEndpoint) })}, nil
}

// Publish implements endpoints.Publisher: all of a name changes in one step, and it
// returns when all of Route 53's servers know.
func (r *Records) Publish(ctx context.Context, record fleet.Record) error {
	resource := "record " + record.Name
	values, err := cloud.Addresses(record)
	if err != nil {
		return err
	}
	owner, mark := cloud.RecordOwner(record)
	there, err := r.find(ctx, resource, record.Name, types.RRTypeA)
	if err != nil {
		return err
	}
	marked, err := r.find(ctx, resource, owner, types.RRTypeTxt)
	if err != nil {
		return err
	}
	ours := marked != nil && slices.ContainsFunc(marked.ResourceRecords, func(v types.ResourceRecord) bool { return aws.ToString(v.Value) == strconv.Quote(mark) })
	if !ours && (there != nil || marked != nil) {
		return fleet.Errorf(fleet.Conflict, resource, "it is there in zone %s, and not %s's", r.cfg.Zone, record.Cluster).
			WithRemedy("remove it, or give %s another name (clients.record)", record.Cluster)
	}
	var changes []types.Change
	if len(values) == 0 {
		for _, set := range []*types.ResourceRecordSet{there, marked} {
			if set != nil {
				changes = append(changes, types.Change{Action: types.ChangeActionDelete, ResourceRecordSet: set})
			}
		}
	} else {
		// Also when it says so already: an attempt that was killed may not have waited.
		changes = []types.Change{
			upsert(owner, types.RRTypeTxt, record.TTL, strconv.Quote(mark)), upsert(record.Name, types.RRTypeA, record.TTL, values...),
		}
	}
	if len(changes) == 0 {
		return nil
	}
	return r.change(ctx, resource, changes)
}

// find gives the set of a name and type; nil if there is none.
func (r *Records) find(ctx context.Context, resource, name string, kind types.RRType) (*types.ResourceRecordSet, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	answer, err := r.client.ListResourceRecordSets(ctx, &route53.ListResourceRecordSetsInput{
		HostedZoneId: &r.cfg.Zone, StartRecordName: &name, StartRecordType: kind, MaxItems: aws.Int32(1),
	})
	if err != nil {
		return nil, translate(resource, err)
	}
	for i, set := range answer.ResourceRecordSets { // the list begins there, or with the next one
		if strings.TrimSuffix(aws.ToString(set.Name), ".") == name && set.Type == kind {
			if set.SetIdentifier != nil || set.AliasTarget != nil {
				return nil, fleet.Errorf(fleet.Conflict, resource, "it is an alias or has a routing policy").
					WithRemedy("remove it, or choose another name (clients.record)")
			}
			return &answer.ResourceRecordSets[i], nil
		}
	}
	return nil, nil //nolint:nilnil // there is none
}

func upsert(name string, kind types.RRType, ttl fleet.Duration, values ...string) types.Change {
	set := &types.ResourceRecordSet{Name: &name, Type: kind, TTL: aws.Int64(int64(time.Duration(ttl).Seconds()))}
	for _, v := range values {
		set.ResourceRecords = append(set.ResourceRecords, types.ResourceRecord{Value: aws.String(v)})
	}
	return types.Change{Action: types.ChangeActionUpsert, ResourceRecordSet: set}
}

// change makes changes in one step and waits until they are known everywhere.
func (r *Records) change(ctx context.Context, resource string, changes []types.Change) error {
	ctx, cancel := context.WithTimeout(ctx, inSyncWithin)
	defer cancel()
	info, err := r.begin(ctx, resource, changes)
	for err == nil && info.Status != types.ChangeStatusInsync {
		select {
		case <-ctx.Done():
			return fleet.Errorf(fleet.Unavailable, resource, "its change %s is not known to all servers of Route 53 yet: %w", aws.ToString(info.Id), contextError(ctx.Err()))
		case <-time.After(r.cfg.Poll):
		}
		info, err = r.changeInfo(ctx, resource, info.Id)
	}
	return err
}

func (r *Records) begin(ctx context.Context, resource string, changes []types.Change) (*types.ChangeInfo, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	answer, err := r.client.ChangeResourceRecordSets(ctx, &route53.ChangeResourceRecordSetsInput{
		HostedZoneId: &r.cfg.Zone, ChangeBatch: &types.ChangeBatch{Changes: changes, Comment: aws.String("flotilla")},
	})
	if err != nil {
		return nil, translate(resource, err)
	}
	return answer.ChangeInfo, nil
}

func (r *Records) changeInfo(ctx context.Context, resource string, id *string) (*types.ChangeInfo, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	answer, err := r.client.GetChange(ctx, &route53.GetChangeInput{Id: id})
	if err != nil {
		return nil, translate(resource, err)
	}
	return answer.ChangeInfo, nil
}
