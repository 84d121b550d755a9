package aws_test

import (
	"net/http/httptest"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/iaas/aws"
	"github.com/flotilla-etcd/flotilla/iaas/iaastest"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/ec2sim"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/simtest"
)

func TestMain(m *testing.M) { simtest.Main(m) }

const region = "us-east-1"

// serve gives the address of a world's face.
func serve(t *testing.T, w *cloudsim.World, cfg ec2sim.Config) string {
	t.Helper()
	s := httptest.NewServer(ec2sim.New(w, cfg))
	t.Cleanup(s.Close)
	return s.URL
}

// config is what an operator would configure for a region of ec2sim.
func config(endpoint string, cfg ec2sim.Config) aws.Config {
	c := aws.Config{
		Region: region, Subnets: map[string]string{}, Image: cfg.Images[0].ID, SecurityGroups: []string{cfg.Groups[0].ID},
		InstanceProfile: cfg.Profiles[0], Types: []string{"m7g.medium", "m7g.large"}, Categories: []string{"gp3", "gp2"},
		EC2Endpoint: endpoint, SSMEndpoint: endpoint, QuotasEndpoint: endpoint,
	}
	for _, s := range cfg.Subnets {
		c.Subnets[s.Zone] = s.ID
	}
	for id, secret := range cfg.Keys {
		c.Credentials = staticCredentials(id, secret)
	}
	return c
}

func staticCredentials(id, secret string) sdk.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(id, secret, "")
}

func open(t *testing.T, cfg aws.Config) *aws.Provider {
	t.Helper()
	p, err := aws.Open(t.Context(), cfg)
	require.NoError(t, err)
	return p
}

// The suite against a region that lags and is as strict as EC2.
func TestSuite(t *testing.T) {
	cfg := ec2sim.Region(region)
	w := simtest.World(t, cfg.Config)
	p := open(t, config(serve(t, w, cfg), cfg))
	iaastest.Run(t, func(*testing.T) iaastest.Env {
		return iaastest.Env{
			Provider: p, Patience: time.Minute, Poll: 50 * time.Millisecond,
			AbsentHost: "i-0fffffffffffffff1", AbsentDisk: "vol-0fffffffffffffff1", AbsentSnapshot: "snap-0fffffffffffffff1",
		}
	})
}
