package workers

import (
	"github.com/spf13/pflag"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/iaas/aliyun"
)

// Aliyun is what a worker is told of provider aliyun.
type Aliyun struct {
	aliyun.Config
	UserDataFile string
}

func (a *Aliyun) flags(f *pflag.FlagSet) {
	f.StringToStringVar(&a.VSwitches, "aliyun-vswitches", nil, "provider aliyun: `zone=vSwitch` for each zone on offer, as in cn-hangzhou-g=vsw-1,cn-hangzhou-h=vsw-2")
	f.StringVar(&a.Image, "aliyun-image", "", "provider aliyun: image of hosts")
	f.StringSliceVar(&a.SecurityGroups, "aliyun-security-groups", nil, "provider aliyun: security groups of hosts")
	f.StringVar(&a.RAMRole, "aliyun-ram-role", "", "provider aliyun: name of the RAM role of hosts (default: none)")
	f.StringVar(&a.DeploymentSet, "aliyun-deployment-set", "", "provider aliyun: deployment set of hosts, which spreads them over hardware (default: none)")
	f.StringSliceVar(&a.Types, "aliyun-machine-types", nil, "provider aliyun: instance types on offer (default: all of the region)")
	f.StringSliceVar(&a.Categories, "aliyun-disk-categories", aliyun.DefaultCategories, "provider aliyun: disk categories on offer; cloud_essd is PL1")
	f.StringVar(&a.KMSKey, "aliyun-kms-key", "", "provider aliyun: key that encrypts disks (default: the account's service key)")
	f.BoolVar(&a.KeepCharging, "aliyun-keep-charging", false, "provider aliyun: keep paying for stopped hosts, so that they can be started for sure")
	f.StringVar(&a.UserDataFile, "aliyun-user-data", "", "provider aliyun: `file` of what hosts do at their first boot, in place of what --host-node has them do")
	f.StringVar(&a.Endpoint, "aliyun-endpoint", "", "provider aliyun: ECS endpoint of one's own, as in https://ecs-vpc.cn-hangzhou.aliyuncs.com")
}

// check says what is missing for buying hosts.
func (a *Aliyun) check() fleet.Problems {
	var ps fleet.Problems
	if len(a.VSwitches) == 0 {
		need(&ps, "aliyun-vswitches", "", "hosts go to the vSwitch of their zone")
	}
	need(&ps, "aliyun-image", a.Image, "hosts boot it")
	if len(a.SecurityGroups) == 0 {
		need(&ps, "aliyun-security-groups", "", "members are reached through them")
	}
	return ps
}

// open opens the region. boots is what hosts do at their first boot, unless a file says so.
func (a *Aliyun) open(region string, boots userData) (iaas.Provider, error) {
	cfg := a.Config
	cfg.Region = region
	var err error
	if cfg.UserData, err = boots.orFile(a.UserDataFile); err != nil {
		return nil, err
	}
	return aliyun.Open(cfg)
}
