package aws

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

// What rights are tried on where the region has no host or disk of ours: ones that there
// are not. Who has rights to what carries our tags only is refused then, so that a refusal
// tells nothing.
const (
	noHost    = "i-00000000000000000"
	noDisk    = "vol-00000000000000000"
	noCommand = "00000000-0000-4000-8000-000000000000"
)

// examination is one look at what a region lacks.
type examination struct {
	p            *Provider
	checks       []fleet.Check
	network      string // that of the subnets
	architecture string // that of the image
	machine      string // the type that is tried
	host, disk   string // of ours, to try rights on; empty if there is none
	command      string // a running host of ours, likewise
}

// Examine is iaas.Examiner's: credentials, zones and subnets, security groups, image,
// types, rights (by dry runs), and room for more hosts. Quotas are another service's, and
// how traffic is filtered is not looked at.
func (p *Provider) Examine(ctx context.Context) []fleet.Check {
	e := &examination{p: p}
	if !e.credentials(ctx) {
		return e.checks
	}
	e.subnets(ctx)
	e.groups(ctx)
	e.image(ctx)
	e.types(ctx)
	e.placement(ctx)
	e.launches(ctx)
	e.reads(ctx)
	e.own(ctx)
	e.changes(ctx)
	e.commands(ctx)
	e.add("quotas of vCPUs and of storage", fleet.CheckUnknown, "not asked for; AWS refuses what is over one when it is bought", "")
	return e.checks
}

func (e *examination) add(what string, state fleet.CheckState, found, remedy string) {
	e.checks = append(e.checks, fleet.Check{What: what, State: state, Found: found, Remedy: remedy})
}

// judged adds a check that an error decides, and says whether there was none.
func (e *examination) judged(what, found string, err error) bool {
	if err == nil {
		e.add(what, fleet.CheckOK, found, "")
		return true
	}
	state := fleet.CheckMissing
	if kind := fleet.KindOf(translate(what, err)); kind == fleet.Unavailable || kind == fleet.Throttled {
		state = fleet.CheckUnknown
	}
	said := codeOf(err)
	if message := messageOf(err); message != "" {
		said = strings.TrimPrefix(said+": "+message, ": ")
	}
	if said == "" {
		said = translate(what, err).Error()
	}
	e.add(what, state, said, remedies[codeOf(err)])
	return false
}

func (e *examination) credentials(ctx context.Context) bool {
	ctx, cancel := bounded(ctx)
	defer cancel()
	out, err := e.p.ec2.DescribeAvailabilityZones(ctx, &ec2.DescribeAvailabilityZonesInput{})
	if !e.judged("credentials", "AWS takes them in "+e.p.cfg.Region, err) {
		return false
	}
	var there []string
	for _, z := range out.AvailabilityZones {
		there = append(there, aws.ToString(z.ZoneName))
	}
	for _, zone := range e.p.zones() {
		if slices.Contains(there, zone) {
			continue
		}
		e.add("zone "+zone, fleet.CheckMissing, "the region has none of that name: "+strings.Join(there, ", "), "correct --aws-subnets")
	}
	return true
}

func (e *examination) subnets(ctx context.Context) {
	for _, zone := range e.p.zones() {
		id := e.p.cfg.Subnets[zone]
		what := "subnet " + id
		call, cancel := bounded(ctx)
		out, err := e.p.ec2.DescribeSubnets(call, &ec2.DescribeSubnetsInput{SubnetIds: []string{id}})
		cancel()
		switch {
		case err != nil || len(out.Subnets) != 1:
			e.judged(what, "is not shown", err)
			continue
		case aws.ToString(out.Subnets[0].AvailabilityZone) != zone:
			e.add(what, fleet.CheckMissing, "it is in zone "+aws.ToString(out.Subnets[0].AvailabilityZone)+", not in "+zone, "correct --aws-subnets")
			continue
		}
		s := out.Subnets[0]
		free, network := aws.ToInt32(s.AvailableIpAddressCount), aws.ToString(s.VpcId)
		switch {
		case e.network != "" && network != e.network:
			e.add(what, fleet.CheckMissing, "it is in network "+network+", others are in "+e.network, "name subnets of one network, or of networks that reach each other")
		case free < leastAddresses:
			e.add(what, fleet.CheckMissing, fmt.Sprintf("it has %d addresses left", free), "give the zone a larger subnet")
		default:
			e.add(what, fleet.CheckOK, fmt.Sprintf("in zone %s, %d addresses left", zone, free), "")
		}
		e.network = network
	}
}

// leastAddresses is what a cluster that is being changed takes of one subnet, and a few.
const leastAddresses = 8

func (e *examination) groups(ctx context.Context) {
	for _, id := range e.p.cfg.SecurityGroups {
		what := "security group " + id
		call, cancel := bounded(ctx)
		out, err := e.p.ec2.DescribeSecurityGroups(call, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{id}})
		cancel()
		switch {
		case err != nil || len(out.SecurityGroups) != 1:
			e.judged(what, "is not shown", err)
		case e.network != "" && aws.ToString(out.SecurityGroups[0].VpcId) != e.network:
			e.add(what, fleet.CheckMissing, "it is of network "+aws.ToString(out.SecurityGroups[0].VpcId)+", the subnets are in "+e.network,
				"name a security group of the subnets' network")
		default:
			e.add(what, fleet.CheckOK, "of the subnets' network; its rules are not looked at", "")
		}
	}
}

func (e *examination) image(ctx context.Context) {
	id := e.p.cfg.Image
	if id == "" {
		return // the launch template has it
	}
	what := "image " + id
	call, cancel := bounded(ctx)
	defer cancel()
	out, err := e.p.ec2.DescribeImages(call, &ec2.DescribeImagesInput{ImageIds: []string{id}})
	switch {
	case err != nil:
		e.judged(what, "", err)
	case len(out.Images) != 1:
		e.add(what, fleet.CheckMissing, "is not shown: it is another account's, or gone", "give the worker an image of this region that it may use")
	case out.Images[0].State != types.ImageStateAvailable:
		e.add(what, fleet.CheckMissing, "it is "+string(out.Images[0].State), "wait for it, or give the worker another")
	default:
		e.architecture = string(out.Images[0].Architecture)
		e.add(what, fleet.CheckOK, "available, for "+e.architecture, "")
	}
}

// types looks whether each zone sells the machine types on offer, and whether the image
// boots on them.
func (e *examination) types(ctx context.Context) {
	all, err := e.p.MachineTypes(ctx)
	if err != nil || len(all) == 0 {
		e.judged("machine types", "there are none", err)
		return
	}
	if len(e.p.cfg.Types) == 0 {
		e.add("machine types", fleet.CheckOK, fmt.Sprintf("%d of the current generation; whether the image boots on each is not looked at", len(all)), "")
		e.machine = e.smallest(ctx)
		return
	}
	e.machine = all[0].Name
	boots := e.bootable(ctx, e.p.cfg.Types)
	for _, t := range all {
		what := "machine type " + t.Name
		var without []string
		for _, zone := range e.p.zones() {
			sold, err := e.p.Available(ctx, zone, t.Name)
			if err != nil {
				e.judged(what, "", err)
				continue
			}
			if !sold {
				without = append(without, zone)
			}
		}
		switch {
		case boots != nil && !boots[t.Name]:
			e.add(what, fleet.CheckMissing, "the image, for "+e.architecture+", does not boot on it", "give the worker an image for it, or take it from --aws-machine-types")
		case len(without) == len(e.p.zones()):
			e.add(what, fleet.CheckMissing, "no zone sells it", "take it from --aws-machine-types")
		case len(without) > 0:
			e.add(what, fleet.CheckOK, "not sold in "+strings.Join(without, ", "), "")
		default:
			e.add(what, fleet.CheckOK, "sold in every zone", "")
		}
	}
}

// bootable gives the types that the image boots on; nil if that is not known.
func (e *examination) bootable(ctx context.Context, names []string) map[string]bool {
	if e.architecture == "" {
		return nil
	}
	in := &ec2.DescribeInstanceTypesInput{Filters: []types.Filter{filter("processor-info.supported-architecture", e.architecture)}}
	for _, n := range names {
		in.InstanceTypes = append(in.InstanceTypes, types.InstanceType(n))
	}
	call, cancel := bounded(ctx)
	defer cancel()
	out, err := e.p.ec2.DescribeInstanceTypes(call, in)
	if err != nil {
		return nil // said with the types themselves
	}
	boots := map[string]bool{}
	for _, t := range out.InstanceTypes {
		boots[string(t.InstanceType)] = true
	}
	return boots
}

// smallest gives a type that the image boots on, to try a purchase with.
func (e *examination) smallest(ctx context.Context) string {
	in := &ec2.DescribeInstanceTypesInput{MaxResults: aws.Int32(typesPage), Filters: []types.Filter{filter("current-generation", "true"), filter("hypervisor", "nitro")}}
	if e.architecture != "" {
		in.Filters = append(in.Filters, filter("processor-info.supported-architecture", e.architecture))
	}
	call, cancel := bounded(ctx)
	defer cancel()
	out, err := e.p.ec2.DescribeInstanceTypes(call, in)
	if err != nil || len(out.InstanceTypes) == 0 {
		return ""
	}
	least := slices.MinFunc(out.InstanceTypes, func(a, b types.InstanceTypeInfo) int {
		return int(memoryOf(a) - memoryOf(b))
	})
	return string(least.InstanceType)
}

func memoryOf(t types.InstanceTypeInfo) int64 {
	if t.MemoryInfo == nil {
		return 0
	}
	return aws.ToInt64(t.MemoryInfo.SizeInMiB)
}

func (e *examination) placement(ctx context.Context) {
	name := e.p.cfg.PlacementGroup
	if name == "" {
		return
	}
	call, cancel := bounded(ctx)
	defer cancel()
	out, err := e.p.ec2.DescribePlacementGroups(call, &ec2.DescribePlacementGroupsInput{GroupNames: []string{name}})
	if err == nil && len(out.PlacementGroups) == 1 && out.PlacementGroups[0].Strategy != types.PlacementStrategySpread {
		e.add("placement group "+name, fleet.CheckMissing, "its strategy is "+string(out.PlacementGroups[0].Strategy), "give the worker a spread group")
		return
	}
	e.judged("placement group "+name, "a spread group: seven hosts in each zone", err)
}

// launches tries what buys: in every zone, with all that a host is bought with.
func (e *examination) launches(ctx context.Context) {
	for _, zone := range e.p.zones() {
		what := "right and means to buy a host in " + zone
		call, cancel := bounded(ctx)
		in, err := e.p.launch(call, what, iaas.LaunchHostRequest{Token: "doctor", Name: "doctor", Zone: zone, Type: e.machine, Tags: iaas.Tags{fleet.TagCluster: "doctor"}})
		if err == nil {
			in.DryRun, in.ClientToken = aws.Bool(true), nil
			_, err = e.p.ec2.RunInstances(call, in)
		}
		cancel()
		e.judged(what, "a dry run says so", allowed(err))
	}
	for _, zone := range e.p.zones()[:1] {
		call, cancel := bounded(ctx)
		_, err := e.p.ec2.CreateVolume(call, &ec2.CreateVolumeInput{
			DryRun: aws.Bool(true), AvailabilityZone: aws.String(zone), Size: aws.Int32(10), VolumeType: types.VolumeType(e.p.cfg.Categories[0]),
			Encrypted: aws.Bool(true), TagSpecifications: bought(types.ResourceTypeVolume, "doctor", "doctor", iaas.Tags{fleet.TagCluster: "doctor"}),
			KmsKeyId: optional(e.p.cfg.KMSKey),
		})
		cancel()
		e.judged("right and means to buy a disk", "a dry run says so", allowed(err))
	}
}

func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// allowed takes what a call says that may be made for a success: that it would have been
// done, or that what it is about is not there or in another state.
func allowed(err error) error {
	code := codeOf(err)
	switch kind, _ := kindOf(code); {
	case code == "DryRunOperation", code == "InvalidInstanceId", kind == fleet.NotFound, kind == fleet.Conflict:
		return nil
	}
	return err
}

// reads tries what only looks.
func (e *examination) reads(ctx context.Context) {
	for _, c := range []struct {
		action string
		call   func(ctx context.Context) error
	}{
		{"DescribeInstances", func(ctx context.Context) error {
			_, err := e.p.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{DryRun: aws.Bool(true)})
			return err
		}},
		{"DescribeVolumes", func(ctx context.Context) error {
			_, err := e.p.ec2.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{DryRun: aws.Bool(true)})
			return err
		}},
		{"DescribeVolumesModifications", func(ctx context.Context) error {
			_, err := e.p.ec2.DescribeVolumesModifications(ctx, &ec2.DescribeVolumesModificationsInput{DryRun: aws.Bool(true)})
			return err
		}},
	} {
		e.try(ctx, c.action, c.call)
	}
}

// own finds a host and a disk of ours.
func (e *examination) own(ctx context.Context) {
	if hosts, err := e.p.ListHosts(ctx, nil); err == nil {
		for _, h := range hosts {
			if e.host = h.ID; h.State == fleet.HostRunning {
				e.command = h.ID
			}
		}
	}
	if disks, err := e.p.ListDisks(ctx, nil); err == nil && len(disks) > 0 {
		e.disk = disks[0].ID
	}
}

// changes tries what changes something, by dry runs.
func (e *examination) changes(ctx context.Context) {
	id, volume := cmp.Or(e.host, noHost), cmp.Or(e.disk, noDisk)
	dry, hosts, disk := aws.Bool(true), []string{id}, aws.String(volume)
	for _, c := range []struct {
		action string
		call   func(ctx context.Context) error
	}{
		{"StartInstances", func(ctx context.Context) error {
			_, err := e.p.ec2.StartInstances(ctx, &ec2.StartInstancesInput{DryRun: dry, InstanceIds: hosts})
			return err
		}},
		{"StopInstances", func(ctx context.Context) error {
			_, err := e.p.ec2.StopInstances(ctx, &ec2.StopInstancesInput{DryRun: dry, InstanceIds: hosts})
			return err
		}},
		{"TerminateInstances", func(ctx context.Context) error {
			_, err := e.p.ec2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{DryRun: dry, InstanceIds: hosts})
			return err
		}},
		{"ModifyInstanceAttribute", func(ctx context.Context) error {
			_, err := e.p.ec2.ModifyInstanceAttribute(ctx, &ec2.ModifyInstanceAttributeInput{
				DryRun: dry, InstanceId: aws.String(id), InstanceType: &types.AttributeValue{Value: aws.String(e.machine)},
			})
			return err
		}},
		{"AttachVolume", func(ctx context.Context) error {
			_, err := e.p.ec2.AttachVolume(ctx, &ec2.AttachVolumeInput{DryRun: dry, VolumeId: disk, InstanceId: aws.String(id), Device: aws.String("/dev/sdf")})
			return err
		}},
		{"DetachVolume", func(ctx context.Context) error {
			_, err := e.p.ec2.DetachVolume(ctx, &ec2.DetachVolumeInput{DryRun: dry, VolumeId: disk})
			return err
		}},
		{"ModifyVolume", func(ctx context.Context) error {
			_, err := e.p.ec2.ModifyVolume(ctx, &ec2.ModifyVolumeInput{DryRun: dry, VolumeId: disk, Size: aws.Int32(10)})
			return err
		}},
		{"DeleteVolume", func(ctx context.Context) error {
			_, err := e.p.ec2.DeleteVolume(ctx, &ec2.DeleteVolumeInput{DryRun: dry, VolumeId: disk})
			return err
		}},
		{"CreateTags", func(ctx context.Context) error {
			_, err := e.p.ec2.CreateTags(ctx, &ec2.CreateTagsInput{DryRun: dry, Resources: []string{volume}, Tags: listed(map[string]string{fleet.TagCluster: "doctor"})})
			return err
		}},
	} {
		e.tryOn(ctx, c.action, e.host != "" && e.disk != "", c.call)
	}
}

// commands tries SSM, which has no dry runs, with a command that does nothing.
func (e *examination) commands(ctx context.Context) {
	e.tryOn(ctx, "SendCommand", e.command != "", func(ctx context.Context) error {
		_, err := e.p.ssm.SendCommand(ctx, &ssm.SendCommandInput{
			DocumentName: aws.String(document), InstanceIds: []string{cmp.Or(e.command, noHost)}, Parameters: map[string][]string{"commands": {"true"}},
		})
		return err
	})
	e.try(ctx, "GetCommandInvocation", func(ctx context.Context) error {
		_, err := e.p.ssm.GetCommandInvocation(ctx, &ssm.GetCommandInvocationInput{CommandId: aws.String(noCommand), InstanceId: aws.String(noHost)})
		return err
	})
	e.try(ctx, "ListCommands", func(ctx context.Context) error {
		_, err := e.p.ssm.ListCommands(ctx, &ssm.ListCommandsInput{InstanceId: aws.String(noHost), MaxResults: aws.Int32(1)})
		return err
	})
}

func (e *examination) try(ctx context.Context, action string, call func(ctx context.Context) error) {
	e.tryOn(ctx, action, true, call)
}

// tryOn tries a right. real says that it is tried on a resource of ours.
func (e *examination) tryOn(ctx context.Context, action string, real bool, call func(ctx context.Context) error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	what, err := "right to "+action, allowed(call(ctx))
	if kind, _ := kindOf(codeOf(err)); kind == fleet.Denied && !real {
		e.add(what, fleet.CheckUnknown, "refused on what does not exist, as it is where rights hang on our tags; it is found out when there is a host", "")
		return
	}
	e.judged(what, "AWS says so", err)
}
