package backup_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/backup"
	"github.com/flotilla-etcd/flotilla/etcdadmin/etcdtest"
	"github.com/flotilla-etcd/flotilla/fleet"
)

// A cluster that nobody writes to has nothing to tell, and is followed for longer than a member
// may be silent; then what is written is told. A member that hangs is found out.
func TestQuietClusterIsFollowed(t *testing.T) {
	t.Parallel()
	const silence = 2 * time.Second
	for _, version := range etcdtest.Versions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			s := startSource(t, version)
			from, began, ended := s.revision(t)+1, time.Now(), make(chan error, 1)
			var until, stored atomic.Int64
			go func() {
				ended <- s.vault.Follow(t.Context(), s.admin, backup.Recording{
					Cluster: "orders", UID: "u1", History: s.history, From: from, Every: 200 * time.Millisecond, Bytes: 1 << 20,
					Quiet: time.Second, Silence: silence,
				}, func(p backup.Progress) { until.Store(p.Until.UnixNano()); stored.Store(p.Stored) })
			}()
			reaches := func(what string, so func() bool) {
				t.Helper()
				require.Eventually(t, func() bool { return so() || len(ended) > 0 }, time.Minute, 10*time.Millisecond, what)
				require.Empty(t, ended, what)
			}
			reaches("it is followed while nothing is written", func() bool { return until.Load() > began.Add(3*silence).UnixNano() })
			s.writeMany(t, 5)
			last := s.revision(t)
			reaches("what is written is stored", func() bool { return stored.Load() >= last })
			s.cluster.Members[0].Pause(t)
			err := <-ended
			require.ErrorContains(t, err, "it has told nothing for 2s")
			require.Equal(t, fleet.Unavailable, fleet.KindOf(err))
		})
	}
}
