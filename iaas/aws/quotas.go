package aws

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/servicequotas"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas/cloud"
)

// Quotas by their codes in Service Quotas, and the families that share the first one:
// "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", in vCPUs, and
// "Storage for General Purpose SSD (gp3) volumes", in TiB.
const (
	standardQuota    = "L-1216C47A"
	standardFamilies = "acdhimrtz"
	gp3Quota         = "L-7A658B76"
)

// diskForRoom is the size of a disk, in GiB, that a quota is to have room for.
const diskForRoom = 20

// quotas says whether the account's quotas leave room for one cluster more. What is used
// is counted from all that runs in the region, whoever's it is.
func (e *examination) quotas(ctx context.Context) {
	const vCPUs, storage = "quota of vCPUs (" + standardQuota + ")", "quota of gp3 storage (" + gp3Quota + ")"
	if e.machine == "" || !standard(e.machine) {
		e.Add(vCPUs, fleet.CheckUnknown, "the machine types are of a family with a quota of its own; see it in Service Quotas", "")
	} else if quota, ok := e.quota(ctx, vCPUs, "ec2", standardQuota); ok {
		if used, err := e.usedVCPUs(ctx); err != nil {
			e.judged(vCPUs, "", err)
		} else {
			e.Room(vCPUs, "vCPUs", quota, used, cloud.HostsOfCluster*e.vCPUs)
		}
	}
	if quota, ok := e.quota(ctx, storage, "ebs", gp3Quota); ok {
		if used, err := e.usedGiB(ctx); err != nil {
			e.judged(storage, "", err)
		} else {
			e.Room(storage, "GiB", quota*1024, used, cloud.HostsOfCluster*diskForRoom)
		}
	}
}

// standard says whether a machine type is of a family of the standard quota: its name
// begins with the family's letter and a generation, as in m7g and not in mac2 or inf2.
func standard(machine string) bool {
	return len(machine) > 1 && strings.Contains(standardFamilies, machine[:1]) && machine[1] >= '0' && machine[1] <= '9'
}

// quota gives a quota's value. One that cannot be had is no fault of the region's: what is
// over it is refused when it is bought.
func (e *examination) quota(ctx context.Context, what, service, code string) (float64, bool) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	out, err := e.p.quotas.GetServiceQuota(ctx, &servicequotas.GetServiceQuotaInput{ServiceCode: aws.String(service), QuotaCode: aws.String(code)})
	if err != nil || out.Quota == nil || out.Quota.Value == nil {
		said := "Service Quotas gave no value"
		if err != nil {
			said = translate(what, err).Error()
		}
		e.Add(what, fleet.CheckUnknown, said, "")
		return 0, false
	}
	return *out.Quota.Value, true
}

func (e *examination) usedVCPUs(ctx context.Context) (float64, error) {
	used := 0.0
	pages := ec2.NewDescribeInstancesPaginator(e.p.ec2, &ec2.DescribeInstancesInput{
		MaxResults: aws.Int32(1000), Filters: []types.Filter{filter("instance-state-name", "pending", "running")},
	})
	for pages.HasMorePages() {
		call, cancel := bounded(ctx)
		page, err := pages.NextPage(call)
		cancel()
		if err != nil {
			return 0, err
		}
		for _, r := range page.Reservations {
			for _, i := range r.Instances {
				if i.CpuOptions != nil && i.InstanceLifecycle == "" && standard(string(i.InstanceType)) {
					used += float64(aws.ToInt32(i.CpuOptions.CoreCount) * aws.ToInt32(i.CpuOptions.ThreadsPerCore))
				}
			}
		}
	}
	return used, nil
}

func (e *examination) usedGiB(ctx context.Context) (float64, error) {
	used := 0.0
	pages := ec2.NewDescribeVolumesPaginator(e.p.ec2, &ec2.DescribeVolumesInput{
		MaxResults: aws.Int32(500), Filters: []types.Filter{filter("volume-type", "gp3")},
	})
	for pages.HasMorePages() {
		call, cancel := bounded(ctx)
		page, err := pages.NextPage(call)
		cancel()
		if err != nil {
			return 0, err
		}
		for _, v := range page.Volumes {
			used += float64(aws.ToInt32(v.Size))
		}
	}
	return used, nil
}
