package aliyun

import (
	"context"
	"strconv"

	"github.com/aliyun/alibaba-cloud-sdk-go/services/ecs"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas/cloud"
)

// Attributes of an account (DescribeAccountAttributes): vCPUs of pay-as-you-go instances,
// and GiB of pay-as-you-go data disks. The page calls the latter deprecated, without saying
// what is answered in their place.
const (
	maxVCPUs    = "max-postpaid-instance-vcpu-count"
	usedVCPUs   = "used-postpaid-instance-vcpu-count"
	maxStorage  = "max-postpaid-yundisk-capacity"
	usedStorage = "used-postpaid-yundisk-capacity"
)

// diskForRoom is the size of a disk, in GiB, that a quota is to have room for.
const diskForRoom = 20

// quotas says whether the account's quotas leave room for one cluster more.
func (e *examination) quotas(ctx context.Context) {
	const vCPUs = "quota of pay-as-you-go vCPUs"
	values, err := e.attributes(ctx, maxVCPUs, usedVCPUs)
	if !e.room(vCPUs, "vCPUs", values, attribute{name: maxVCPUs}, attribute{name: usedVCPUs}, cloud.HostsOfCluster*e.vCPUs) {
		e.untold(vCPUs, err)
	}
	values, err = e.attributes(ctx, maxStorage, usedStorage)
	for _, category := range e.kinds() {
		what, told := "quota of pay-as-you-go "+category, false
		room := func(what, zone string) {
			if e.room(what, "GiB", values, attribute{maxStorage, category, zone}, attribute{usedStorage, category, zone}, cloud.HostsOfCluster*diskForRoom) {
				told = true
			}
		}
		room(what, "")
		for _, zone := range e.p.zones() {
			room(what+" in "+zone, zone)
		}
		if !told {
			e.untold(what, err)
		}
	}
}

// room adds the check of a quota, if it was told with what is used of it.
func (e *examination) room(what, unit string, values map[attribute]float64, most, used attribute, need float64) bool {
	quota, told := values[most]
	taken, both := values[used]
	if told && both {
		e.Room(what, unit, quota, taken, need)
	}
	return told && both
}

// untold adds the check of a quota that is not known. That is no fault: what is over it is
// refused when it is bought.
func (e *examination) untold(what string, err error) {
	found := "ECS does not tell it: see it in Quota Center"
	if err != nil {
		found = err.Error()
	}
	e.Add(what, fleet.CheckUnknown, found, "")
}

// attribute names a value: some are of a category of disks, and some of a zone.
type attribute struct{ name, category, zone string }

// attributes gives those attributes of the account that are numbers.
func (e *examination) attributes(ctx context.Context, names ...string) (map[attribute]float64, error) {
	in := ecs.CreateDescribeAccountAttributesRequest()
	in.AttributeName = &names
	out, err := call(ctx, e.p, "quotas", (*ecs.Client).DescribeAccountAttributes, in)
	if err != nil {
		return nil, err
	}
	values := map[attribute]float64{}
	for _, item := range out.AccountAttributeItems.AccountAttributeItem {
		for _, v := range item.AttributeValues.ValueItem {
			if n, err := strconv.ParseFloat(v.Value, 64); err == nil {
				values[attribute{item.AttributeName, v.DiskCategory, v.ZoneId}] = n
			}
		}
	}
	return values, nil
}
