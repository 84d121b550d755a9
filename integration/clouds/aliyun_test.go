package clouds

import (
	"net/http"
	"strings"
	"testing"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas/aliyun"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/ecssim"
)

// onAliyun starts a worker for a region of Alibaba Cloud.
func onAliyun(t *testing.T, o setup) *stand {
	cfg := ecssim.Region("cn-hangzhou")
	cfg.Keys = o.keysOr(cfg.Keys)
	s, endpoint := onCloud(t, o, cfg, func(w *cloudsim.World) http.Handler { return ecssim.New(w) })
	c := aliyun.Config{
		Region: cfg.Region, VSwitches: map[string]string{}, Image: cfg.Images[0].ID, SecurityGroups: []string{cfg.Groups[0].ID},
		RAMRole: cfg.Profiles[0], DeploymentSet: cfg.Placements[0].ID, Types: []string{"ecs.g8y.large", "ecs.g8y.xlarge"}, Endpoint: endpoint,
	}
	var vSwitches, zones, env []string
	for _, n := range cfg.Subnets {
		c.VSwitches[n.Zone] = n.ID
		vSwitches, zones = append(vSwitches, n.Zone+"="+n.ID), append(zones, n.Zone)
	}
	for id, secret := range cfg.Keys {
		c.Credentials = credentials.NewStaticAKCredentialsProvider(id, secret)
		env = []string{"ALIBABA_CLOUD_ACCESS_KEY_ID=" + id, "ALIBABA_CLOUD_ACCESS_KEY_SECRET=" + secret}
	}
	provider, err := aliyun.Open(c)
	require.NoError(t, err)
	s.serve(provider, fleet.Spec{
		Provider: "aliyun", Region: cfg.Region, Zones: zones,
		Machine: fleet.MachineSpec{Type: "ecs.g8y.large", Disk: fleet.DiskSpec{Category: "cloud_essd:PL0"}},
	}, "ecs.g8y.xlarge", append([]string{
		"--aliyun-vswitches", strings.Join(vSwitches, ","), "--aliyun-image", c.Image, "--aliyun-security-groups", c.SecurityGroups[0],
		"--aliyun-ram-role", c.RAMRole, "--aliyun-deployment-set", c.DeploymentSet,
		"--aliyun-machine-types", strings.Join(c.Types, ","), "--aliyun-endpoint", endpoint,
	}, o.flags...), env)
	return s
}
