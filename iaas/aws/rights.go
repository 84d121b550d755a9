package aws

import (
	"cmp"
	"context"

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
	noCopy    = "snap-00000000000000000"
	noCommand = "00000000-0000-4000-8000-000000000000"
)

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
		{"DescribeSnapshots", func(ctx context.Context) error {
			_, err := e.p.ec2.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{DryRun: aws.Bool(true), OwnerIds: []string{"self"}})
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
		{"CreateSnapshot", func(ctx context.Context) error {
			_, err := e.p.ec2.CreateSnapshot(ctx, &ec2.CreateSnapshotInput{
				DryRun: dry, VolumeId: disk, TagSpecifications: bought(types.ResourceTypeSnapshot, "doctor", "doctor", iaas.Tags{fleet.TagCluster: "doctor"}),
			})
			return err
		}},
		{"CreateTags", func(ctx context.Context) error {
			_, err := e.p.ec2.CreateTags(ctx, &ec2.CreateTagsInput{DryRun: dry, Resources: []string{volume}, Tags: listed(map[string]string{fleet.TagCluster: "doctor"})})
			return err
		}},
	} {
		e.tryOn(ctx, c.action, e.host != "" && e.disk != "", c.call)
	}
	e.tryOn(ctx, "DeleteSnapshot", false, func(ctx context.Context) error {
		_, err := e.p.ec2.DeleteSnapshot(ctx, &ec2.DeleteSnapshotInput{DryRun: dry, SnapshotId: aws.String(noCopy)})
		return err
	})
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
		e.Add(what, fleet.CheckUnknown, "refused on what does not exist, as it is where rights hang on our tags; it is found out when there is a host", "")
		return
	}
	e.judged(what, "AWS says so", err)
}
