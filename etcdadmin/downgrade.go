package etcdadmin

import (
	"context"
	"encoding/json"
	"errors"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// EnableDowngrade has the cluster lower its version and its storage to a minor, as
// 3.6, which is the one before its own. Members may be restarted with a release of
// that minor once their storage is there (ObservedMember.Storage), some seconds
// later. A downgrade to it that is enabled already is a success, and so is a cluster
// whose members all run it. Errors: fleet.Invalid when etcd cannot go from here to
// there; fleet.Conflict while another downgrade is enabled, or the cluster's version
// is still on its way up.
func (c *Client) EnableDowngrade(ctx context.Context, minor string) error {
	resource := "downgrade to " + minor
	if fleet.Minor(minor+".0") != minor {
		return fleet.Errorf(fleet.Invalid, resource, "%q is not a minor version, as 3.6 is", minor)
	}
	seen, err := c.look(ctx)
	if err != nil {
		return err
	}
	switch enabled := downgrade(seen); {
	case enabled == minor, allRun(seen, minor):
		return nil
	case enabled != "":
		return fleet.Errorf(fleet.Conflict, resource, "a downgrade to %s is enabled already", enabled).WithRemedy("finish it or cancel it first")
	}
	if s := speaker(seen); s != nil && fleet.Minor(s.Version) == "3.5" {
		return fleet.Errorf(fleet.Invalid, resource, "member %s runs etcd %s, and downgrades begin with 3.6", called(s.ObservedMember), s.Version)
	}
	version, err := c.ClusterVersion(ctx)
	switch {
	case err != nil:
		return err
	case fleet.Minor(version) == minor:
		// Its members were upgraded a moment ago; etcd refuses for good what it would take then.
		return fleet.Errorf(fleet.Conflict, resource, "the cluster as a whole still works at %s", version).
			WithRemedy("it goes up with its members within seconds")
	}
	for _, action := range []clientv3.DowngradeAction{clientv3.DowngradeValidate, clientv3.DowngradeEnable} {
		err := c.change(ctx, seen, resource, func(ctx context.Context, client *clientv3.Client) error {
			_, err := client.Downgrade(ctx, action, minor)
			return err
		})
		if err != nil {
			return c.downgraded(ctx, minor, err)
		}
	}
	return nil
}

// CancelDowngrade takes EnableDowngrade back, after which storage rises again. No
// downgrade is a success: etcd itself cancels one when all members run its minor.
func (c *Client) CancelDowngrade(ctx context.Context) error {
	const resource = "end of the downgrade"
	seen, err := c.look(ctx)
	if err != nil {
		return err
	}
	if l := leader(seen); l != nil && l.status.DowngradeInfo != nil && downgrade(seen) == "" {
		return nil
	}
	err = c.change(ctx, seen, resource, func(ctx context.Context, client *clientv3.Client) error {
		_, err := client.Downgrade(ctx, clientv3.DowngradeCancel, "")
		return err
	})
	if errors.Is(err, rpctypes.ErrNoInflightDowngrade) {
		return nil
	}
	if err != nil {
		return c.downgraded(ctx, "", err)
	}
	// Since 3.6 the answer is a success even if it failed.
	return c.downgraded(ctx, "", fleet.Errorf(fleet.Unavailable, resource, "etcd took the request, and the downgrade is still enabled").
		WithRemedy("it is asked again"))
}

// downgraded gives an error, unless the cluster is as it was to become.
func (c *Client) downgraded(ctx context.Context, want string, err error) error {
	if ctx.Err() != nil {
		return err
	}
	if seen, lookErr := c.look(ctx); lookErr == nil && speaker(seen) != nil && downgrade(seen) == want {
		return nil
	}
	return err
}

// allRun says whether every member answers and runs a minor.
func allRun(seen []sight, minor string) bool {
	for _, s := range seen {
		if fleet.Minor(s.Version) != minor {
			return false
		}
	}
	return len(seen) > 0
}

// ClusterVersion gives the version that the cluster as a whole works at, as 3.6.0,
// by the word of its leader. It is the lowest minor of its members, some seconds
// after the last of them has changed, and decides what they may be upgraded to.
// Errors: fleet.Unavailable when no leader answers or none is decided yet.
func (c *Client) ClusterVersion(ctx context.Context) (string, error) {
	seen, err := c.look(ctx)
	if err != nil {
		return "", err
	}
	l := leader(seen)
	if l == nil {
		return "", fleet.Errorf(fleet.Unavailable, "version of the "+c.resource(), "its leader does not answer, or there is none")
	}
	resource := "version by member " + called(l.ObservedMember) + " at " + l.endpoint
	body, err := c.get(ctx, l.endpoint, "/version", resource)
	if err != nil {
		return "", err
	}
	var answer struct {
		Cluster string `json:"etcdcluster"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return "", fleet.Errorf(fleet.Unavailable, resource, "the answer cannot be understood: %w", err)
	}
	if fleet.Minor(answer.Cluster) == "" { // "not_decided"
		return "", fleet.Errorf(fleet.Unavailable, resource, "the cluster has not decided on a version yet: %q", answer.Cluster)
	}
	return answer.Cluster, nil
}
