package aliyun_test

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/iaas/aliyun"
	"github.com/flotilla-etcd/flotilla/iaas/iaastest"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/ecssim"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/simtest"
)

func TestMain(m *testing.M) { simtest.Main(m) }

const region = "cn-hangzhou"

// serve gives the address of a world's face.
func serve(t *testing.T, w *cloudsim.World) string {
	t.Helper()
	s := httptest.NewServer(ecssim.New(w))
	t.Cleanup(s.Close)
	return s.URL
}

// config is what an operator would configure for a region of ecssim.
func config(endpoint string, cfg cloudsim.Config) aliyun.Config {
	c := aliyun.Config{
		Region: region, VSwitches: map[string]string{}, Image: cfg.Images[0].ID, SecurityGroups: []string{cfg.Groups[0].ID},
		RAMRole: cfg.Profiles[0], DeploymentSet: cfg.Placements[0].ID, Types: []string{"ecs.g8y.large", "ecs.g8y.xlarge"},
		Endpoint: endpoint, Lag: time.Second,
	}
	for _, s := range cfg.Subnets {
		c.VSwitches[s.Zone] = s.ID
	}
	for id, secret := range cfg.Keys {
		c.Credentials = credentials.NewStaticAKCredentialsProvider(id, secret)
	}
	return c
}

func open(t *testing.T, cfg aliyun.Config) *aliyun.Provider {
	t.Helper()
	p, err := aliyun.Open(cfg)
	require.NoError(t, err)
	return p
}

// The suite against a region that lags and is as strict as ECS.
func TestSuite(t *testing.T) {
	cfg := ecssim.Region(region)
	w := simtest.World(t, cfg)
	c := config(serve(t, w), cfg)
	c.DeploymentSet = "" // the suite has more hosts in a zone than one takes
	c.Categories = []string{"cloud_essd:PL0", "cloud_essd", "cloud_essd:PL2"}
	p := open(t, c)
	iaastest.Run(t, func(*testing.T) iaastest.Env {
		return iaastest.Env{
			Provider: p, Patience: time.Minute, Poll: 50 * time.Millisecond,
			AbsentHost: "i-bp1ffffffffffffffff", AbsentDisk: "d-bp1ffffffffffffffff", AbsentSnapshot: "s-bp1ffffffffffffffff",
		}
	})
}
