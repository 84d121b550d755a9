package workers

import (
	"context"

	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/iaas/aws"
)

// AWS is what a worker is told of provider aws.
type AWS struct {
	aws.Config
	UserDataFile string
}

func (a *AWS) flags(f *pflag.FlagSet) {
	f.StringToStringVar(&a.Subnets, "aws-subnets", nil, "provider aws: `zone=subnet` for each zone on offer, as in us-east-1a=subnet-1,us-east-1b=subnet-2")
	f.StringVar(&a.LaunchTemplate, "aws-launch-template", "", "provider aws: ID or name of a launch template; its default version is used")
	f.StringVar(&a.Image, "aws-image", "", "provider aws: AMI of hosts")
	f.StringSliceVar(&a.SecurityGroups, "aws-security-groups", nil, "provider aws: security groups of hosts")
	f.StringVar(&a.InstanceProfile, "aws-instance-profile", "", "provider aws: name or ARN of the instance profile of hosts, which lets them use SSM")
	f.StringVar(&a.PlacementGroup, "aws-placement-group", "", "provider aws: spread placement group of hosts")
	f.StringSliceVar(&a.Types, "aws-machine-types", nil, "provider aws: instance types on offer (default: all of the current generation)")
	f.StringSliceVar(&a.Categories, "aws-disk-categories", []string{"gp3"}, "provider aws: volume types on offer")
	f.IntVar(&a.IOPS, "aws-iops", 0, "provider aws: provisioned IOPS of gp3 disks (default: gp3's own)")
	f.IntVar(&a.Throughput, "aws-throughput", 0, "provider aws: provisioned MiB/s of gp3 disks (default: gp3's own)")
	f.StringVar(&a.KMSKey, "aws-kms-key", "", "provider aws: key that encrypts disks (default: the account's for EBS)")
	f.StringVar(&a.UserDataFile, "aws-user-data", "", "provider aws: `file` of what hosts do at their first boot, in place of what --host-node has them do")
	f.StringVar(&a.EC2Endpoint, "aws-ec2-endpoint", "", "provider aws: EC2 endpoint of one's own")
	f.StringVar(&a.SSMEndpoint, "aws-ssm-endpoint", "", "provider aws: SSM endpoint of one's own")
	f.StringVar(&a.QuotasEndpoint, "aws-quotas-endpoint", "", "provider aws: Service Quotas endpoint of one's own, which the doctor asks")
}

// check says what is missing for buying hosts.
func (a *AWS) check() fleet.Problems {
	var ps fleet.Problems
	if len(a.Subnets) == 0 {
		need(&ps, "aws-subnets", "", "hosts go to the subnet of their zone")
	}
	if a.LaunchTemplate == "" {
		need(&ps, "aws-image", a.Image, "hosts boot it, and there is no launch template")
		need(&ps, "aws-instance-profile", a.InstanceProfile, "it lets hosts use SSM, and there is no launch template")
		if len(a.SecurityGroups) == 0 {
			need(&ps, "aws-security-groups", "", "members are reached through them, and there is no launch template")
		}
	}
	return ps
}

// open opens the region. boots is what hosts do at their first boot, unless a file says so.
func (a *AWS) open(ctx context.Context, region string, boots userData, log *zap.Logger) (iaas.Provider, error) {
	cfg := a.Config
	cfg.Region, cfg.Log = region, log.Named("aws")
	var err error
	if cfg.UserData, err = boots.orFile(a.UserDataFile); err != nil {
		return nil, err
	}
	return aws.Open(ctx, cfg)
}
