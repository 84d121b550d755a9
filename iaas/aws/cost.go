package aws

import (
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

var _ iaas.Estimator = (*Provider)(nil)

// List prices on demand in us-east-1 follow the vCPUs and the memory of a type closely:
// these two figures, in US dollars for an hour, give those of the Graviton 3 families (c7g,
// m7g, r7g) within 4 %. x86 costs about a fifth more, other regions up to a half.
const (
	vCPUHour = 0.0305
	gibHour  = 0.0029
	month    = 730 // hours
)

// diskMonth is what a GiB costs for a month in us-east-1, by volume type, without
// provisioned IOPS and throughput.
var diskMonth = map[string]float64{"gp3": 0.08, "gp2": 0.10, "io1": 0.125, "io2": 0.125, "st1": 0.045, "sc1": 0.015, "standard": 0.05}

// HostCost is about what a host costs for a month, its disks apart.
func (p *Provider) HostCost(t fleet.MachineType) float64 {
	return month * (t.VCPUs*vCPUHour + float64(t.Memory)/float64(fleet.GiB)*gibHour)
}

// DiskCost is about what a disk costs for a month.
func (p *Provider) DiskCost(d fleet.Disk) float64 {
	return diskMonth[d.Category] * float64(d.Size) / float64(fleet.GiB)
}
