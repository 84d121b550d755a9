package aws

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/iaas/boot"
	"github.com/flotilla-etcd/flotilla/iaas/cloud"
)

// LaunchHost runs an instance. EC2 remembers the token and gives the same instance again.
func (p *Provider) LaunchHost(ctx context.Context, req iaas.LaunchHostRequest) (fleet.Host, error) {
	resource := "host " + req.Name
	if err := cloud.CheckToken(resource, req.Token); err != nil {
		return fleet.Host{}, err
	}
	call, cancel := bounded(ctx)
	defer cancel()
	in, err := p.launch(call, resource, req)
	if err != nil {
		return fleet.Host{}, err
	}
	out, err := p.ec2.RunInstances(call, in)
	if is(err, "IdempotentParameterMismatch") {
		return p.boughtBefore(ctx, resource, req, err)
	}
	if err != nil {
		return fleet.Host{}, translate(resource, err)
	}
	if len(out.Instances) != 1 {
		return fleet.Host{}, fleet.Errorf(fleet.Unavailable, resource, "EC2 answered with %d instances, not one", len(out.Instances))
	}
	return p.host(out.Instances[0]), nil
}

// boughtBefore gives the instance that a token bought with the same request under another
// configuration: the image is a newer one since, or a link in the user data was signed
// anew. EC2 takes that for another request (mismatch).
func (p *Provider) boughtBefore(ctx context.Context, resource string, req iaas.LaunchHostRequest, mismatch error) (fleet.Host, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	out, err := p.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{Filters: filtersFor(iaas.Tags{fleet.TagToken: req.Token})})
	if err != nil {
		return fleet.Host{}, translate(resource, err)
	}
	for _, r := range out.Reservations {
		for _, i := range r.Instances {
			if h := p.host(i); cloud.Bought(h, req) {
				return h, nil
			}
		}
	}
	return fleet.Host{}, translate(resource, mismatch)
}

// launch makes the request for an instance. EC2 takes a token again only with the same
// request, so it is the same each time that it is made, as long as the configuration is.
func (p *Provider) launch(ctx context.Context, resource string, req iaas.LaunchHostRequest) (*ec2.RunInstancesInput, error) {
	c := p.cfg
	subnet, ok := c.Subnets[req.Zone]
	if !ok {
		return nil, fleet.Errorf(fleet.Invalid, resource, "zone %q has no subnet in this worker's configuration", req.Zone).
			WithRemedy("choose one of %s, or give the worker a subnet of the zone", strings.Join(p.zones(), ", "))
	}
	in := &ec2.RunInstancesInput{
		ClientToken: aws.String(req.Token), MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		InstanceType: types.InstanceType(req.Type), SubnetId: aws.String(subnet),
		TagSpecifications: bought(types.ResourceTypeInstance, req.Name, req.Token, req.Tags),
		// Tokens only: a server-side request forgery in whatever runs on the host
		// must not get at the role's credentials ("Use the Instance Metadata Service").
		MetadataOptions: &types.InstanceMetadataOptionsRequest{
			HttpTokens: types.HttpTokensStateRequired, HttpEndpoint: types.InstanceMetadataEndpointStateEnabled,
			HttpPutResponseHopLimit: aws.Int32(1),
		},
		SecurityGroupIds: c.SecurityGroups,
	}
	if c.LaunchTemplate != "" {
		in.LaunchTemplate = &types.LaunchTemplateSpecification{Version: aws.String("$Default")}
		if strings.HasPrefix(c.LaunchTemplate, "lt-") {
			in.LaunchTemplate.LaunchTemplateId = aws.String(c.LaunchTemplate)
		} else {
			in.LaunchTemplate.LaunchTemplateName = aws.String(c.LaunchTemplate)
		}
	}
	if c.Image != "" {
		in.ImageId = aws.String(c.Image)
	}
	if c.InstanceProfile != "" {
		in.IamInstanceProfile = &types.IamInstanceProfileSpecification{Name: aws.String(c.InstanceProfile)}
		if strings.HasPrefix(c.InstanceProfile, "arn:") {
			in.IamInstanceProfile = &types.IamInstanceProfileSpecification{Arn: aws.String(c.InstanceProfile)}
		}
	}
	if c.PlacementGroup != "" {
		in.Placement = &types.Placement{GroupName: aws.String(c.PlacementGroup)}
	}
	if c.UserData == nil {
		return in, nil
	}
	data, err := c.UserData(ctx)
	switch {
	case err != nil:
		return nil, err
	case len(data) > boot.Limit:
		return nil, fleet.Errorf(fleet.Invalid, resource, "its user data is %d bytes long, and EC2 takes %d", len(data), boot.Limit)
	}
	in.UserData = aws.String(base64.StdEncoding.EncodeToString(data))
	return in, nil
}

// Host gives one host.
func (p *Provider) Host(ctx context.Context, id string) (fleet.Host, error) {
	i, err := p.instance(ctx, id)
	if err != nil {
		return fleet.Host{}, err
	}
	return p.host(i), nil
}

func (p *Provider) instance(ctx context.Context, id string) (types.Instance, error) {
	resource := cloud.Label("host", "", id)
	if id == "" {
		return types.Instance{}, fleet.Errorf(fleet.NotFound, resource, "a host without an ID does not exist")
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	out, err := p.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	if err != nil {
		return types.Instance{}, translate(resource, err)
	}
	for _, r := range out.Reservations {
		for _, i := range r.Instances {
			if aws.ToString(i.InstanceId) == id {
				return i, nil
			}
		}
	}
	return types.Instance{}, fleet.Errorf(fleet.NotFound, resource, "there is none")
}

// ListHosts gives the hosts with these tags, page by page.
func (p *Provider) ListHosts(ctx context.Context, tags iaas.Tags) ([]fleet.Host, error) {
	hosts := []fleet.Host{}
	pages := ec2.NewDescribeInstancesPaginator(p.ec2, &ec2.DescribeInstancesInput{
		MaxResults: aws.Int32(pageSize),
		Filters: append(filtersFor(tags), filter("instance-state-name",
			"pending", "running", "shutting-down", "stopping", "stopped")),
	})
	for pages.HasMorePages() {
		out, err := nextPage(ctx, pages.NextPage)
		if err != nil {
			return nil, translate("list of hosts", err)
		}
		for _, r := range out.Reservations {
			for _, i := range r.Instances {
				if h := p.host(i); cloud.Matches(h.Tags, tags) && h.State != fleet.HostTerminated {
					hosts = append(hosts, h)
				}
			}
		}
	}
	slices.SortStableFunc(hosts, func(a, b fleet.Host) int { return a.Launched.Compare(b.Launched) })
	return hosts, nil
}

// pageSize is how much one call lists: EC2 takes up to 1000, and is slower to answer.
const pageSize = 500

// nextPage gets a page, each within its own deadline.
func nextPage[T, O any](ctx context.Context, next func(context.Context, ...func(*O)) (T, error)) (T, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	return next(ctx)
}

// StopHost stops an instance; its root and data volumes stay.
func (p *Provider) StopHost(ctx context.Context, id string) error {
	call, cancel := bounded(ctx)
	defer cancel()
	_, err := p.ec2.StopInstances(call, &ec2.StopInstancesInput{InstanceIds: []string{id}})
	return p.refusedState(ctx, id, err)
}

// StartHost starts a stopped instance. One that has no room in its zone now is
// fleet.OutOfCapacity: it keeps its disks and can only start there.
func (p *Provider) StartHost(ctx context.Context, id string) error {
	call, cancel := bounded(ctx)
	defer cancel()
	_, err := p.ec2.StartInstances(call, &ec2.StartInstancesInput{InstanceIds: []string{id}})
	return p.refusedState(ctx, id, err)
}

// refusedState tells a host that has ended from one that is on its way elsewhere.
func (p *Provider) refusedState(ctx context.Context, id string, err error) error {
	resource := cloud.Label("host", "", id)
	if is(err, "IncorrectInstanceState") {
		h, looked := p.Host(ctx, id)
		if looked == nil && h.State == fleet.HostTerminated {
			return fleet.Errorf(fleet.NotFound, resource, "it was terminated")
		}
	}
	return translate(resource, err)
}

// ResizeHost changes the type of a stopped instance.
func (p *Provider) ResizeHost(ctx context.Context, id, machineType string) error {
	h, err := p.Host(ctx, id)
	switch {
	case err != nil:
		return err
	case h.State == fleet.HostTerminated:
		return fleet.Errorf(fleet.NotFound, cloud.Label("host", h.Name, id), "it was terminated")
	case h.Type == machineType:
		return nil
	case h.State != fleet.HostStopped:
		return fleet.Errorf(fleet.Conflict, cloud.Label("host", h.Name, id), "it is %s, and only a stopped host can be resized", h.State).
			WithRemedy("stop it first")
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	_, err = p.ec2.ModifyInstanceAttribute(ctx, &ec2.ModifyInstanceAttributeInput{
		InstanceId: aws.String(id), InstanceType: &types.AttributeValue{Value: aws.String(machineType)},
	})
	return translate(cloud.Label("host", h.Name, id), err)
}

// TagHost adds tags to an instance.
func (p *Provider) TagHost(ctx context.Context, id string, tags iaas.Tags) error {
	if len(tags) == 0 {
		_, err := p.Host(ctx, id)
		return err
	}
	return p.tag(ctx, cloud.Label("host", "", id), id, tags)
}

// TerminateHost ends an instance. Data volumes were attached by us, so EC2 detaches and
// keeps them (TerminateInstances: DeleteOnTermination is false for these).
func (p *Provider) TerminateHost(ctx context.Context, id string) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	_, err := p.ec2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{id}})
	err = translate(cloud.Label("host", "", id), err)
	if fleet.Is(err, fleet.NotFound) {
		return nil
	}
	return err
}

// host gives an instance in our words.
func (p *Provider) host(i types.Instance) fleet.Host {
	h := fleet.Host{
		ID: aws.ToString(i.InstanceId), Region: p.cfg.Region, Type: string(i.InstanceType), State: fleet.HostUnknown,
		Address: aws.ToString(i.PrivateIpAddress), Ports: p.cfg.Ports, Launched: aws.ToTime(i.LaunchTime),
		Reason: aws.ToString(i.StateTransitionReason),
	}
	h.Tags, h.Name = unlisted(i.Tags)
	if i.Placement != nil {
		h.Zone = aws.ToString(i.Placement.AvailabilityZone)
	}
	if i.StateReason != nil {
		h.Reason = aws.ToString(i.StateReason.Message)
	}
	if i.State != nil {
		if state, ok := hostStates[i.State.Name]; ok {
			h.State = state
		}
	}
	return h
}

var hostStates = map[types.InstanceStateName]fleet.HostState{
	types.InstanceStateNamePending:      fleet.HostPending,
	types.InstanceStateNameRunning:      fleet.HostRunning,
	types.InstanceStateNameStopping:     fleet.HostStopping,
	types.InstanceStateNameStopped:      fleet.HostStopped,
	types.InstanceStateNameShuttingDown: fleet.HostTerminating,
	types.InstanceStateNameTerminated:   fleet.HostTerminated,
}
