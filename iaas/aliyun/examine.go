package aliyun

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aliyun/alibaba-cloud-sdk-go/services/ecs"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/iaas/cloud"
)

var _ iaas.Examiner = (*Provider)(nil)

// examination is one look at what a region lacks.
type examination struct {
	cloud.Examination
	p             *Provider
	network       string // VPC of the vSwitches
	firewall      cloud.Firewall
	architecture  string            // that of the image: arm64 or x86_64
	architectures map[string]string // of the types on offer, likewise
	machine       string            // the type that is tried
	vCPUs         float64
	host, disk    string // of ours, to try rights on; empty if there is none
	command       string // a running host of ours, likewise
}

// Examine is iaas.Examiner's: credentials, zones and vSwitches, security groups and what
// they let through, image, types, disk categories, deployment set, rights (by dry runs where ECS has them),
// and quotas. Routes, network ACLs and NAT gateways are not looked at.
func (p *Provider) Examine(ctx context.Context) []fleet.Check {
	e := &examination{p: p}
	if !e.credentials(ctx) {
		return e.Checks
	}
	e.vSwitches(ctx)
	e.groups(ctx)
	if len(e.firewall.Groups) > 0 {
		e.firewall.Examine(&e.Examination, p.cfg.Ports.First, p.cfg.Ports.First+1)
	}
	e.image(ctx)
	e.types(ctx)
	e.categories(ctx)
	e.deploymentSet(ctx)
	e.own(ctx)
	e.launches(ctx)
	e.rights(ctx)
	e.quotas(ctx)
	return e.Checks
}

func (e *examination) credentials(ctx context.Context) bool {
	const what = "credentials"
	out, err := call(ctx, e.p, what, (*ecs.Client).DescribeZones, ecs.CreateDescribeZonesRequest())
	if !e.Judge(what, "Alibaba Cloud takes them in "+e.p.cfg.Region, err) {
		return false
	}
	var there []string
	for _, z := range out.Zones.Zone {
		there = append(there, z.ZoneId)
	}
	for _, zone := range e.p.zones() {
		if !slices.Contains(there, zone) {
			e.Add("zone "+zone, fleet.CheckMissing, "the region has none of that name: "+strings.Join(there, ", "), "correct --aliyun-vswitches")
		}
	}
	return true
}

func (e *examination) image(ctx context.Context) {
	id := e.p.cfg.Image
	what := "image " + id
	in := ecs.CreateDescribeImagesRequest()
	in.ImageId, in.Status = id, "Creating,Waiting,Available,UnAvailable,CreateFailed,Deprecated"
	out, err := call(ctx, e.p, what, (*ecs.Client).DescribeImages, in)
	switch {
	case err != nil:
		e.Judge(what, "", err)
	case len(out.Images.Image) != 1:
		e.Add(what, fleet.CheckMissing, "it is not shown: it is of another region or account, or gone", "give the worker an image of this region that it may use")
	case out.Images.Image[0].Status != "Available":
		e.Add(what, fleet.CheckMissing, "it is "+out.Images.Image[0].Status, "give the worker another")
	case !out.Images.Image[0].IsSupportCloudinit:
		e.Add(what, fleet.CheckMissing, "it has no cloud-init, which prepares hosts", "give the worker an image with cloud-init and the Cloud Assistant agent")
	default:
		e.architecture = out.Images.Image[0].Architecture
		e.Add(what, fleet.CheckOK, "available, with cloud-init, for "+e.architecture, "")
	}
}

// architectures are those of images (DescribeImages) by those of types (DescribeInstanceTypes).
var architectures = map[string]string{"X86": "x86_64", "ARM": "arm64"}

// types looks whether each zone sells the machine types on offer, and whether the image
// boots on them.
func (e *examination) types(ctx context.Context) {
	all, err := e.p.MachineTypes(ctx)
	switch {
	case err != nil:
		e.Judge("machine types", "", err)
		return
	case len(all) == 0:
		e.Add("machine types", fleet.CheckMissing, "there are none", "correct --aliyun-machine-types")
		return
	}
	if e.machine, e.vCPUs = all[0].Name, all[0].VCPUs; len(e.p.cfg.Types) == 0 {
		e.machine = "" // all that the region has: which of them is fit for the image is not known
		e.Add("machine types", fleet.CheckOK, fmt.Sprintf("%d that the region has; whether the image boots on each is not looked at", len(all)), "")
		return
	}
	for _, t := range all {
		what := "machine type " + t.Name
		var without []string
		for _, zone := range e.p.zones() {
			sold, err := e.p.Available(ctx, zone, t.Name)
			if err != nil {
				e.Judge(what, "", err)
			} else if !sold {
				without = append(without, zone)
			}
		}
		switch boots := e.boots(ctx, t.Name); {
		case boots != "" && e.architecture != "" && boots != e.architecture:
			e.Add(what, fleet.CheckMissing, "the image, for "+e.architecture+", does not boot on it", "give the worker an image for it, or take it from --aliyun-machine-types")
		case len(without) == len(e.p.zones()):
			e.Add(what, fleet.CheckMissing, "no zone sells it now", "take it from --aliyun-machine-types, or add a zone")
		case len(without) > 0:
			e.Add(what, fleet.CheckOK, "not sold now in "+strings.Join(without, ", "), "")
		default:
			e.Add(what, fleet.CheckOK, "sold in every zone", "")
		}
	}
}

// boots gives the architecture of images that boot on a type; empty if it is not known.
func (e *examination) boots(ctx context.Context, machine string) string {
	if e.architectures == nil {
		e.architectures = map[string]string{}
		in := ecs.CreateDescribeInstanceTypesRequest()
		in.InstanceTypes = &e.p.cfg.Types
		out, err := call(ctx, e.p, "machine types", (*ecs.Client).DescribeInstanceTypes, in)
		if err != nil {
			return "" // said with the types themselves
		}
		for _, t := range out.InstanceTypes.InstanceType {
			e.architectures[t.InstanceTypeId] = architectures[t.CpuArchitecture]
		}
	}
	return e.architectures[machine]
}

// categories looks whether each zone sells the disk categories on offer. Performance levels
// are not told apart (DescribeAvailableResource).
func (e *examination) categories(ctx context.Context) {
	for _, category := range e.kinds() {
		what := "disk category " + category
		var without []string
		failed := false
		for _, zone := range e.p.zones() {
			sold, err := e.p.sells(ctx, zone, category)
			if err != nil {
				failed = true
				e.Judge(what, "", err)
			} else if !sold {
				without = append(without, zone)
			}
		}
		switch {
		case len(without) == len(e.p.zones()):
			e.Add(what, fleet.CheckMissing, "no zone sells it now", "add a zone, or give the worker other categories (--aliyun-disk-categories)")
		case len(without) > 0:
			e.Add(what, fleet.CheckOK, "not sold now in "+strings.Join(without, ", "), "")
		case !failed:
			e.Add(what, fleet.CheckOK, "sold in every zone", "")
		}
	}
}

// kinds are the disk categories on offer, whatever their levels.
func (e *examination) kinds() []string {
	var all []string
	for _, name := range e.p.cfg.Categories {
		if category, _, err := parseCategory(name); err == nil && !slices.Contains(all, category) {
			all = append(all, category)
		}
	}
	return all
}

func (e *examination) deploymentSet(ctx context.Context) {
	id := e.p.cfg.DeploymentSet
	if id == "" {
		return
	}
	what := "deployment set " + id
	in := ecs.CreateDescribeDeploymentSetsRequest()
	in.DeploymentSetIds = idList(id)
	out, err := call(ctx, e.p, what, (*ecs.Client).DescribeDeploymentSets, in)
	switch {
	case err != nil:
		e.Judge(what, "", err)
	case len(out.DeploymentSets.DeploymentSet) != 1:
		e.Add(what, fleet.CheckMissing, "it is not shown", "give the worker a deployment set of this region")
	case !strings.HasPrefix(out.DeploymentSets.DeploymentSet[0].DeploymentStrategy, "Availability"):
		e.Add(what, fleet.CheckMissing, "its strategy is "+out.DeploymentSets.DeploymentSet[0].DeploymentStrategy, "give the worker one of strategy Availability")
	default:
		e.Add(what, fleet.CheckOK, "spreads hosts: 20 in each zone", "")
	}
}

// own finds a host and a disk of ours.
func (e *examination) own(ctx context.Context) {
	if hosts, err := e.p.ListHosts(ctx, nil); e.Judge("right to DescribeInstances", "Alibaba Cloud says so", err) {
		for _, h := range hosts {
			if e.host = h.ID; h.State == fleet.HostRunning {
				e.command = h.ID
			}
		}
	}
	if disks, err := e.p.ListDisks(ctx, nil); e.Judge("right to DescribeDisks", "Alibaba Cloud says so", err) && len(disks) > 0 {
		e.disk = disks[0].ID
	}
}
