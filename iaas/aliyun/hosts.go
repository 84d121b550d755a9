package aliyun

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/ecs"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/iaas/boot"
	"github.com/flotilla-etcd/flotilla/iaas/cloud"
)

// LaunchHost runs an instance. ECS remembers the token and answers with the same ID
// again, and with nothing but the ID; what the instance is comes from a look. A released
// instance is shown to nobody any more: one that cannot be seen for as long as looks lag
// has ended.
func (p *Provider) LaunchHost(ctx context.Context, req iaas.LaunchHostRequest) (fleet.Host, error) {
	resource := "host " + req.Name
	in, err := p.launch(ctx, resource, req)
	if err != nil {
		return fleet.Host{}, err
	}
	out, err := call(ctx, p, resource, (*ecs.Client).RunInstances, in)
	if is(err, mismatches...) {
		return p.boughtBefore(ctx, req, err)
	}
	if err != nil {
		return fleet.Host{}, err
	}
	if len(out.InstanceIdSets.InstanceIdSet) != 1 {
		return fleet.Host{}, fleet.Errorf(fleet.Unavailable, resource, "ECS answered with %d instances, not one", len(out.InstanceIdSets.InstanceIdSet))
	}
	id := out.InstanceIdSets.InstanceIdSet[0]
	var h fleet.Host
	seen, err := p.await(ctx, func(ctx context.Context) (err error) { h, err = p.Host(ctx, id); return err })
	if err != nil || seen {
		return h, translate(resource, err)
	}
	h = fleet.Host{
		ID: id, Name: req.Name, Region: p.cfg.Region, Zone: req.Zone, Type: req.Type, State: fleet.HostTerminated,
		Ports: p.cfg.Ports, Tags: map[string]string{fleet.TagToken: req.Token}, Reason: "it was released",
	}
	for key, value := range req.Tags {
		h.Tags[key] = value
	}
	return h, nil
}

// mismatches are how ECS says that a token was used for another request.
var mismatches = []string{"IdempotentParameterMismatch", "IdempotenceParamNotMatch"}

// boughtBefore gives the instance that a token bought with the same request under another
// configuration: the image is a newer one since, or a link in the user data was signed
// anew. ECS takes that for another request (mismatch).
func (p *Provider) boughtBefore(ctx context.Context, req iaas.LaunchHostRequest, mismatch error) (fleet.Host, error) {
	hosts, err := p.ListHosts(ctx, iaas.Tags{fleet.TagToken: req.Token})
	if err != nil {
		return fleet.Host{}, err
	}
	for _, h := range hosts {
		if cloud.Bought(h, req) {
			return h, nil
		}
	}
	return fleet.Host{}, mismatch
}

// await looks until something is found, and says whether it was while looks lag.
func (p *Provider) await(ctx context.Context, look func(context.Context) error) (bool, error) {
	return cloud.Await(ctx, p.cfg.Lag, func(ctx context.Context) (bool, error) {
		err := look(ctx)
		if fleet.Is(err, fleet.NotFound) {
			return false, nil
		}
		return err == nil, err
	})
}

// launch makes the request for an instance. ECS takes a token again only with the same
// request, so it is the same each time that it is made, as long as the configuration is.
func (p *Provider) launch(ctx context.Context, resource string, req iaas.LaunchHostRequest) (*ecs.RunInstancesRequest, error) {
	c := p.cfg
	if err := cloud.CheckToken(resource, req.Token); err != nil {
		return nil, err
	}
	vSwitch, ok := c.VSwitches[req.Zone]
	if !ok {
		return nil, fleet.Errorf(fleet.Invalid, resource, "zone %q has no vSwitch in this worker's configuration", req.Zone).
			WithRemedy("choose one of %s, or give the worker a vSwitch of the zone", strings.Join(p.zones(), ", "))
	}
	tags, err := bought(resource, req.Name, req.Token, req.Tags)
	if err != nil {
		return nil, err
	}
	in := ecs.CreateRunInstancesRequest()
	in.ClientToken, in.Amount, in.MinAmount = req.Token, requests.NewInteger(1), requests.NewInteger(1)
	in.InstanceChargeType = "PostPaid"
	in.InstanceName, in.InstanceType, in.ImageId = shown(req.Name), req.Type, c.Image
	in.ZoneId, in.VSwitchId, in.SecurityGroupIds = req.Zone, vSwitch, &c.SecurityGroups
	in.SystemDiskCategory = essd
	in.RamRoleName, in.DeploymentSetId = c.RAMRole, c.DeploymentSet
	// Tokens only: a server-side request forgery in whatever runs on the host must not
	// get at the role's credentials ("View instance metadata": security hardening mode).
	in.HttpEndpoint, in.HttpTokens = "enabled", "required"
	if c.UserData != nil {
		data, err := c.UserData(ctx)
		switch {
		case err != nil:
			return nil, err
		case len(data) > boot.Limit:
			return nil, fleet.Errorf(fleet.Invalid, resource, "its user data is %d bytes long, and ECS takes %d", len(data), boot.Limit)
		}
		in.UserData = base64.StdEncoding.EncodeToString(data)
	}
	in.Tag = &[]ecs.RunInstancesTag{}
	for _, t := range tags {
		*in.Tag = append(*in.Tag, ecs.RunInstancesTag{Key: t.key, Value: t.value})
	}
	return in, nil
}

// Host gives one host.
func (p *Provider) Host(ctx context.Context, id string) (fleet.Host, error) {
	resource := cloud.Label("host", "", id)
	if id == "" {
		return fleet.Host{}, fleet.Errorf(fleet.NotFound, resource, "a host without an ID does not exist")
	}
	in := ecs.CreateDescribeInstancesRequest()
	in.InstanceIds = idList(id)
	out, err := call(ctx, p, resource, (*ecs.Client).DescribeInstances, in)
	if err != nil {
		return fleet.Host{}, err
	}
	for _, i := range out.Instances.Instance {
		if i.InstanceId == id {
			return p.hostOf(i), nil
		}
	}
	return fleet.Host{}, fleet.Errorf(fleet.NotFound, resource, "there is none")
}

// idList is how the Describe actions take IDs: as a JSON array.
func idList(ids ...string) string {
	text, _ := json.Marshal(ids) // of strings, which always works
	return string(text)
}

// pageSize is the most that a page of DescribeInstances and DescribeDisks has.
const pageSize = 100

// ListHosts gives the hosts with these tags, page by page.
func (p *Provider) ListHosts(ctx context.Context, tags iaas.Tags) ([]fleet.Host, error) {
	hosts := []fleet.Host{}
	for next := ""; ; {
		in := ecs.CreateDescribeInstancesRequest()
		in.MaxResults, in.NextToken = requests.NewInteger(pageSize), next
		in.Tag = &[]ecs.DescribeInstancesTag{}
		for _, t := range filters(tags) {
			*in.Tag = append(*in.Tag, ecs.DescribeInstancesTag{Key: t.key, Value: t.value})
		}
		out, err := call(ctx, p, "list of hosts", (*ecs.Client).DescribeInstances, in)
		if err != nil {
			return nil, err
		}
		for _, i := range out.Instances.Instance {
			if h := p.hostOf(i); ours(h.Tags, tags) {
				hosts = append(hosts, h)
			}
		}
		if next = out.NextToken; next == "" {
			break
		}
	}
	slices.SortStableFunc(hosts, func(a, b fleet.Host) int { return a.Launched.Compare(b.Launched) })
	return hosts, nil
}

// StopHost stops an instance; its disks stay.
func (p *Provider) StopHost(ctx context.Context, id string) error {
	resource := cloud.Label("host", "", id)
	in := ecs.CreateStopInstanceRequest()
	in.InstanceId, in.StoppedMode = id, "StopCharging"
	if p.cfg.KeepCharging {
		in.StoppedMode = "KeepCharging"
	}
	_, err := call(ctx, p, resource, (*ecs.Client).StopInstance, in)
	return p.unless(ctx, id, err, fleet.HostRunning, fleet.HostStopping, fleet.HostStopped)
}

// StartHost starts a stopped instance. One that was stopped without being paid for and
// has no room in its zone now is fleet.OutOfCapacity: it can only start there.
func (p *Provider) StartHost(ctx context.Context, id string) error {
	in := ecs.CreateStartInstanceRequest()
	in.InstanceId = id
	_, err := call(ctx, p, cloud.Label("host", "", id), (*ecs.Client).StartInstance, in)
	return p.unless(ctx, id, err, fleet.HostStopped, fleet.HostPending, fleet.HostRunning)
}

// unless forgives a call that met an instance which is where it was to be brought, or on
// its way: ECS refuses these. A look that still shows the state from before, in which
// the call would not have been refused, lags behind.
func (p *Provider) unless(ctx context.Context, id string, err error, before fleet.HostState, arrived ...fleet.HostState) error {
	if !is(err, "IncorrectInstanceStatus") {
		return err
	}
	there, looked := cloud.Await(ctx, p.cfg.Lag, func(ctx context.Context) (bool, error) {
		h, looked := p.Host(ctx, id)
		switch {
		case looked != nil:
			return false, looked
		case slices.Contains(arrived, h.State):
			return true, nil
		case h.State != before:
			return false, fleet.Errorf(fleet.Conflict, cloud.Label("host", h.Name, id), "it is %s", h.State)
		}
		return false, nil
	})
	if looked != nil {
		return translate(cloud.Label("host", "", id), looked)
	}
	if there {
		return nil
	}
	return err
}

// ResizeHost changes the type of a stopped instance.
func (p *Provider) ResizeHost(ctx context.Context, id, machineType string) error {
	h, err := p.Host(ctx, id)
	resource := cloud.Label("host", h.Name, id)
	switch {
	case err != nil:
		return err
	case h.Type == machineType:
		return nil
	case h.State != fleet.HostStopped:
		return fleet.Errorf(fleet.Conflict, resource, "it is %s, and only a stopped host can be resized", h.State).
			WithRemedy("stop it first")
	}
	in := ecs.CreateModifyInstanceSpecRequest()
	in.InstanceId, in.InstanceType = id, machineType
	_, err = call(ctx, p, resource, (*ecs.Client).ModifyInstanceSpec, in)
	return err
}

// TagHost adds tags to an instance.
func (p *Provider) TagHost(ctx context.Context, id string, tags iaas.Tags) error {
	if len(tags) == 0 {
		_, err := p.Host(ctx, id)
		return err
	}
	return p.tag(ctx, cloud.Label("host", "", id), "instance", id, tags)
}

// TerminateHost releases an instance, also one that runs. Data disks were attached with
// DeleteWithInstance=false, so ECS detaches and keeps them (DeleteInstance; not those of
// an instance that is locked for security).
func (p *Provider) TerminateHost(ctx context.Context, id string) error {
	in := ecs.CreateDeleteInstanceRequest()
	in.InstanceId, in.Force = id, requests.NewBoolean(true)
	_, err := call(ctx, p, cloud.Label("host", "", id), (*ecs.Client).DeleteInstance, in)
	if fleet.Is(err, fleet.NotFound) {
		return nil
	}
	return err
}

// hostOf gives an instance in our words.
func (p *Provider) hostOf(i ecs.Instance) fleet.Host {
	h := fleet.Host{
		ID: i.InstanceId, Region: p.cfg.Region, Zone: i.ZoneId, Type: i.InstanceType, Ports: p.cfg.Ports,
		State: fleet.HostUnknown, Launched: parseTime(i.CreationTime),
	}
	h.Tags, h.Name = unlisted(i.Tags.Tag, i.InstanceName)
	if addresses := i.VpcAttributes.PrivateIpAddress.IpAddress; len(addresses) > 0 {
		h.Address = addresses[0]
	}
	if state, ok := hostStates[i.Status]; ok {
		h.State = state
	}
	for _, lock := range i.OperationLocks.LockReason { // financial, security, recycling and the like
		h.Reason = strings.Join([]string{"locked:", lock.LockReason, lock.LockMsg}, " ")
	}
	return h
}

// hostStates are those of an instance ("Instance lifecycle").
var hostStates = map[string]fleet.HostState{
	"Pending":  fleet.HostPending,
	"Starting": fleet.HostPending,
	"Running":  fleet.HostRunning,
	"Stopping": fleet.HostStopping,
	"Stopped":  fleet.HostStopped,
}

// parseTime reads ECS's times: to the minute for instances, to the second for disks.
func parseTime(text string) time.Time {
	for _, layout := range []string{"2006-01-02T15:04Z", time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil {
			return t
		}
	}
	return time.Time{}
}
