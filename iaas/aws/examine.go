package aws

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas/cloud"
)

// examination is one look at what a region lacks.
type examination struct {
	cloud.Examination
	p            *Provider
	network      string // that of the subnets
	firewall     cloud.Firewall
	architecture string // that of the image
	machine      string // the type that is tried
	vCPUs        float64
	host, disk   string // of ours, to try rights on; empty if there is none
	command      string // a running host of ours, likewise
}

// Examine is iaas.Examiner's: credentials, zones and subnets, security groups and what they
// let through, image, types, rights (by dry runs), and quotas. Routes, network ACLs and
// VPC endpoints are not looked at.
func (p *Provider) Examine(ctx context.Context) []fleet.Check {
	e := &examination{p: p}
	if !e.credentials(ctx) {
		return e.Checks
	}
	e.subnets(ctx)
	e.groups(ctx)
	if len(e.firewall.Groups) > 0 {
		e.firewall.Examine(&e.Examination, e.p.cfg.Ports.First, e.p.cfg.Ports.First+1)
	} else if len(e.p.cfg.SecurityGroups) == 0 {
		e.Add("security groups", fleet.CheckUnknown, "those of the launch template are not looked at", "")
	}
	e.image(ctx)
	e.types(ctx)
	e.placement(ctx)
	e.launches(ctx)
	e.reads(ctx)
	e.own(ctx)
	e.changes(ctx)
	e.commands(ctx)
	e.quotas(ctx)
	return e.Checks
}

// judged adds a check that an error decides, and says whether there was none.
func (e *examination) judged(what, found string, err error) bool {
	return e.Judge(what, found, translate(what, err))
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
		e.Add("zone "+zone, fleet.CheckMissing, "the region has none of that name: "+strings.Join(there, ", "), "correct --aws-subnets")
	}
	return true
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
		e.Add(what, fleet.CheckMissing, "is not shown: it is another account's, or gone", "give the worker an image of this region that it may use")
	case out.Images[0].State != types.ImageStateAvailable:
		e.Add(what, fleet.CheckMissing, "it is "+string(out.Images[0].State), "wait for it, or give the worker another")
	default:
		e.architecture = string(out.Images[0].Architecture)
		e.Add(what, fleet.CheckOK, "available, for "+e.architecture, "")
	}
}

// types looks whether each zone sells the machine types on offer, and whether the image
// boots on them.
func (e *examination) types(ctx context.Context) {
	all, err := e.p.MachineTypes(ctx)
	switch {
	case err != nil:
		e.judged("machine types", "", err)
		return
	case len(all) == 0:
		e.Add("machine types", fleet.CheckMissing, "there are none", "correct --aws-machine-types")
		return
	}
	if len(e.p.cfg.Types) == 0 {
		e.Add("machine types", fleet.CheckOK, fmt.Sprintf("%d of the current generation; whether the image boots on each is not looked at", len(all)), "")
		e.machine = e.smallest(ctx)
		if i := slices.IndexFunc(all, func(t fleet.MachineType) bool { return t.Name == e.machine }); i >= 0 {
			e.vCPUs = all[i].VCPUs
		}
		return
	}
	e.machine, e.vCPUs = all[0].Name, all[0].VCPUs
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
			e.Add(what, fleet.CheckMissing, "the image, for "+e.architecture+", does not boot on it", "give the worker an image for it, or take it from --aws-machine-types")
		case len(without) == len(e.p.zones()):
			e.Add(what, fleet.CheckMissing, "no zone sells it", "take it from --aws-machine-types")
		case len(without) > 0:
			e.Add(what, fleet.CheckOK, "not sold in "+strings.Join(without, ", "), "")
		default:
			e.Add(what, fleet.CheckOK, "sold in every zone", "")
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
		e.Add("placement group "+name, fleet.CheckMissing, "its strategy is "+string(out.PlacementGroups[0].Strategy), "give the worker a spread group")
		return
	}
	e.judged("placement group "+name, "a spread group: seven hosts in each zone", err)
}
