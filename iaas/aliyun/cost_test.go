package aliyun_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas/aliyun"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/simtest"
)

// Prices are the list's, for a month, in the currency of the account's site.
func TestCosts(t *testing.T) {
	s := newStand(t, simtest.Bodiless)
	prices := s.Provider.(*aliyun.Provider)
	for _, c := range []struct {
		host fleet.Host
		want string // with a system disk of 40 GiB at 0.0021 for a GiB and hour
	}{
		{fleet.Host{Type: "ecs.g8y.large", State: fleet.HostRunning}, "426.32 CNY"},
		{fleet.Host{Type: "ecs.g8y.xlarge", State: fleet.HostPending}, "791.32 CNY"},
		{fleet.Host{Type: "ecs.g8y.xlarge", State: fleet.HostStopped}, "61.32 CNY"},
	} {
		cost, err := prices.HostCost(t.Context(), c.host)
		require.NoError(t, err)
		require.Equal(t, c.want, cost.String())
	}
	for category, want := range map[string]string{"cloud_essd": "766.50 CNY", "cloud_essd:PL0": "383.25 CNY", "cloud_essd:PL2": "1533.00 CNY", "cloud_efficiency": "182.50 CNY"} {
		cost, err := prices.DiskCost(t.Context(), fleet.Disk{Category: category, Size: 500 * fleet.GiB})
		require.NoError(t, err)
		require.Equal(t, want, cost.String(), category)
	}
	cost, err := prices.DiskSnapshotCost(t.Context(), fleet.DiskSnapshot{Size: 20 * fleet.GiB})
	require.NoError(t, err)
	require.Equal(t, "at most 2.40 CNY", cost.String())
	keeps := newStand(t, simtest.Bodiless, func(c *aliyun.Config) { c.KeepCharging = true }).Provider.(*aliyun.Provider)
	cost, err = keeps.HostCost(t.Context(), fleet.Host{Type: "ecs.g8y.xlarge", State: fleet.HostStopped})
	require.NoError(t, err)
	require.Equal(t, "791.32 CNY", cost.String())
}

// A price that cannot be had is an error, never a cost of nothing.
func TestCostsThatAreNotKnown(t *testing.T) {
	s := newStand(t, simtest.Bodiless)
	prices := s.Provider.(*aliyun.Provider)
	_, err := prices.HostCost(t.Context(), fleet.Host{Type: "ecs.r8y.large"}) // PriceNotFound
	require.True(t, fleet.Is(err, fleet.NotFound), "%v", err)
	_, err = prices.HostCost(t.Context(), fleet.Host{Type: "ecs.x"})
	require.True(t, fleet.Is(err, fleet.Invalid), "%v", err)
	_, err = prices.DiskCost(t.Context(), fleet.Disk{Category: "cloud_essd:PL3", Size: 20 * fleet.GiB})
	require.True(t, fleet.Is(err, fleet.Invalid), "%v", err)
	heal := s.World.Inject(cloudsim.Fault{Kind: cloudsim.Deny, Target: cloudsim.Target{Action: "DescribePrice"}})
	_, err = prices.DiskCost(t.Context(), fleet.Disk{Category: "cloud_essd", Size: 20 * fleet.GiB})
	require.True(t, fleet.Is(err, fleet.Denied), "%v", err)
	_, noPrice := prices.DiskSnapshotCost(t.Context(), fleet.DiskSnapshot{Size: 20 * fleet.GiB})
	require.True(t, fleet.Is(noPrice, fleet.Denied), "%v", noPrice)
	checks := examine(t, s)
	heal()
	require.Empty(t, simtest.Lacking(checks), "no operation needs prices")
	require.Contains(t, checks, fleet.Check{
		What: "right to DescribePrice", State: fleet.CheckUnknown, Found: "flotilla sweep cannot say what things cost: " + err.Error(),
	})

	w, onWire := onWire(t)
	for _, answer := range []string{
		`{"RequestId": "R", "PriceInfo": {}}`,
		`{"RequestId": "R", "PriceInfo": {"Price": {"OriginalPrice": 0, "TradePrice": 0, "DiscountPrice": 0, "Currency": "CNY"}}}`,
		`{"RequestId": "R", "PriceInfo": {"Price": {"OriginalPrice": 1.5, "TradePrice": 1.5, "DiscountPrice": 0}}}`,
	} {
		w.Answers("DescribePrice", answer)
		_, err := onWire.HostCost(t.Context(), fleet.Host{Type: "ecs.g6.large"})
		require.True(t, fleet.Is(err, fleet.NotFound), "%s: %v", answer, err)
	}
	for currency, want := range map[string]string{"USD": "at most 0.35 USD", "EUR": ""} {
		w.Answers("DescribePrice", `{"RequestId": "R", "PriceInfo": {"Price": {"OriginalPrice": 1.5, "TradePrice": 1.5, "DiscountPrice": 0, "Currency": "`+currency+`"}}}`)
		cost, err := onWire.DiskSnapshotCost(t.Context(), fleet.DiskSnapshot{Size: 20 * fleet.GiB})
		if want == "" {
			require.True(t, fleet.Is(err, fleet.NotFound), "%v", err)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, want, cost.String())
	}
}
