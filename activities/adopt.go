package activities

import (
	"context"
	"fmt"
	"slices"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/node"
)

// AdoptHost tags a host and its disk as the cluster's, and waits until the tags show.
// What carries the tags of another cluster is fleet.Blocked.
func (c *Compute) AdoptHost(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	tags := iaas.Tags{fleet.TagCluster: r.Operation.Cluster, fleet.TagUID: r.Operation.UID, fleet.TagMember: r.Step.Member}
	err := c.adopt(ctx, "host "+r.Step.HostID, tags, func(ctx context.Context) (map[string]string, error) {
		host, err := c.Provider.Host(ctx, r.Step.HostID)
		return host.Tags, err
	}, func(ctx context.Context) error { return c.Provider.TagHost(ctx, r.Step.HostID, tags) })
	if err == nil {
		err = c.adopt(ctx, "disk "+r.Step.DiskID, tags, func(ctx context.Context) (map[string]string, error) {
			disk, err := c.Provider.Disk(ctx, r.Step.DiskID)
			return disk.Tags, err
		}, func(ctx context.Context) error { return c.Provider.TagDisk(ctx, r.Step.DiskID, tags) })
	}
	return note(r.Step.HostID+", "+r.Step.DiskID, err)
}

// adopt gives a resource tags that it does not have yet.
func (c *Compute) adopt(
	ctx context.Context, resource string, tags iaas.Tags,
	look func(ctx context.Context) (map[string]string, error), tag func(ctx context.Context) error,
) error {
	return poll(ctx, func(ctx context.Context) (bool, int, string, error) {
		now, err := look(ctx)
		if err != nil {
			return false, -1, "", err
		}
		missing := false
		for key, value := range tags {
			if now[key] != "" && now[key] != value {
				return false, -1, "", fleet.Errorf(fleet.Blocked, resource, "it carries the tag %s=%s of something else", key, now[key]).
					WithRemedy("see whose it is, and take the tag off if it is nobody's")
			}
			missing = missing || now[key] == ""
		}
		if !missing {
			return true, 100, "", nil
		}
		return false, -1, resource + ": tagging", ignore(tag(ctx), fleet.Conflict)
	})
}

// AdoptMember takes a running member over from whatever runs it, on the data that it
// has, and waits until it is in sync. There is no way back, so it is tried again for
// as long as the step may take.
func (h *Hosts) AdoptMember(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	return note(h.adoptMember(ctx, r))
}

func (h *Hosts) adoptMember(ctx context.Context, r fleet.StepRequest) (string, error) {
	op, step := r.Operation, r.Step
	var adopted []fleet.AdoptedMember
	if op.Options.Adopt != nil {
		adopted = op.Options.Adopt.Members
	}
	i := slices.IndexFunc(adopted, func(m fleet.AdoptedMember) bool { return m.Name == step.Member })
	if i < 0 || step.Run == nil {
		return "", fleet.Errorf(fleet.Invalid, step.String(), "the operation does not say where %s is and how it is to run", step.Member)
	}
	host, err := h.Provider.Host(ctx, step.HostID)
	if err != nil {
		return "", err
	}
	_, err = call[fleet.MemberReport](ctx, h.Provider, host, node.VerbAdopt, node.AdoptRequest{
		Cluster: op.Cluster, UID: op.UID, DiskID: step.DiskID, DataDir: adopted[i].DataDir, Unit: adopted[i].Unit,
		Start: startRequest(op, step),
	})
	text, err := h.awaitBack(ctx, r, host, err, fleet.Unavailable)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("taken over from %s: %s", adopted[i].DataDir, text), nil
}
