package workers

import (
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/iaas/local"
)

// TestPaceIsMeasured puts two regions of clouds at a pace and reads what is said of them.
func TestPaceIsMeasured(t *testing.T) {
	m, err := newMetrics()
	require.NoError(t, err)
	open := func(provider, region string) iaas.Provider {
		cloud, err := local.Open(local.Config{Root: t.TempDir()})
		require.NoError(t, err)
		require.NoError(t, cloud.SetThrottle(t.Context(), 3))
		p, err := paced(Config{Provider: provider, Region: region}, cloud, m)
		require.NoError(t, err)
		return p
	}
	require.IsType(t, &local.Provider{}, open("local", "local-1"), "this machine needs no pace")
	aws, aliyun := open("aws", "eu-central-1"), open("aliyun", "cn-hangzhou")
	for range 6 {
		_, _ = aws.Zones(t.Context())
	}
	_, _ = aliyun.CreateDisk(t.Context(), iaas.CreateDiskRequest{Token: "t"})
	w := httptest.NewRecorder()
	promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, line := range []string{
		`flotilla_cloud_calls_total{class="read",provider="aws",region="eu-central-1"} 6`,
		`flotilla_cloud_throttled_total{class="read",provider="aws",region="eu-central-1"} 2`,
		`flotilla_cloud_waiting{class="read",provider="aws",region="eu-central-1"} 0`,
		`flotilla_cloud_calls_total{class="mutate",provider="aliyun",region="cn-hangzhou"} 1`,
		`flotilla_cloud_pace{class="mutate",provider="aliyun",region="cn-hangzhou"}`,
		`flotilla_cloud_waited_seconds_total{class="read",provider="aws",region="eu-central-1"}`,
	} {
		require.Contains(t, w.Body.String(), line)
	}
}
