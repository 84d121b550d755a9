package workers

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What protects a cluster is shown until the cluster is gone.
func TestProtectionIsShown(t *testing.T) {
	m, err := newMetrics()
	require.NoError(t, err)
	p, err := m.watchProtection()
	require.NoError(t, err)
	at := time.Unix(1_770_000_000, 0)
	p.Backup("orders", at, 6*time.Hour)
	p.Rehearsal("orders", at.Add(time.Minute), true)
	p.Copied("orders", at.Add(-time.Hour))
	p.Changes("orders", at.Add(time.Hour))
	p.Backup("billing", at, 0)
	p.Rehearsal("billing", at, false)
	shown := func() map[string]float64 {
		families, err := m.registry.Gather()
		require.NoError(t, err)
		all := map[string]float64{}
		for _, f := range families {
			for _, s := range f.GetMetric() {
				for _, l := range s.GetLabel() {
					if l.GetName() == "cluster" {
						all[f.GetName()+" "+l.GetValue()] = s.GetGauge().GetValue()
					}
				}
			}
		}
		return all
	}
	require.Equal(t, map[string]float64{
		"flotilla_backup_newest_timestamp_seconds orders":  1_770_000_000,
		"flotilla_backup_copied_timestamp_seconds orders":  1_769_996_400,
		"flotilla_backup_every_seconds orders":             21600,
		"flotilla_rehearsal_timestamp_seconds orders":      1_770_000_060,
		"flotilla_rehearsal_ok orders":                     1,
		"flotilla_changes_stored_timestamp_seconds orders": 1_770_003_600,
		"flotilla_backup_newest_timestamp_seconds billing": 1_770_000_000,
		"flotilla_rehearsal_timestamp_seconds billing":     1_770_000_000,
		"flotilla_rehearsal_ok billing":                    0,
	}, shown())
	p.Only(map[string]bool{"billing": true})
	require.NotContains(t, shown(), "flotilla_backup_newest_timestamp_seconds orders")
	require.Contains(t, shown(), "flotilla_rehearsal_ok billing")
}
