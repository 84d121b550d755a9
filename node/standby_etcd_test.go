package node

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// A learner that has what its voters acknowledged becomes a cluster of one with all of it,
// in each minor. Its former voters come back together, a quorum of their own, find that
// they were removed, and end.
func TestRecoverALearner(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("four members on the same ports need four loopback addresses")
	}
	for _, minor := range []string{"3.5", "3.6", "3.7"} {
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			c := newTestCluster(t, minor)
			voters, standby, name := []*testHost{newTestHost(t), newTestHost(t), newTestHost(t)}, newTestHost(t), nameOf(3)
			var initial []Peer
			for i, h := range voters {
				c.ready(h, nameOf(i))
				initial = append(initial, peerOf(h, nameOf(i)))
			}
			for i, h := range voters {
				must[fleet.MemberReport](h, VerbStart, c.startRequest(h, nameOf(i), initial...))
			}
			for i, h := range voters {
				h.awaitReady(nameOf(i))
			}
			client := c.client(voters...)
			c.ready(standby, name)
			peer := "https://" + net.JoinHostPort(standby.address, "2380")
			require.Eventually(t, func() bool { // etcd takes nobody until it has been healthy for five seconds
				_, err := client.MemberAddAsLearner(t.Context(), []string{peer})
				return err == nil
			}, time.Minute, 200*time.Millisecond)
			start := c.startRequest(standby, name, append(initial, peerOf(standby, name))...)
			start.Existing = true
			must[fleet.MemberReport](standby, VerbStart, start)

			var last int64
			for i := range 200 {
				put, err := client.Put(t.Context(), fmt.Sprintf("k/%03d", i), "v")
				require.NoError(t, err)
				last = put.Header.Revision
			}
			lease, err := client.Grant(t.Context(), 3600)
			require.NoError(t, err)
			_, err = client.Put(t.Context(), "leased", "v", clientv3.WithLease(lease.ID))
			require.NoError(t, err)
			last++
			there := c.client(standby)
			require.Eventually(t, func() bool {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				s, err := there.Status(ctx, there.Endpoints()[0])
				return err == nil && s.IsLearner && s.Header.Revision == last
			}, time.Minute, 50*time.Millisecond, "the learner follows")
			for i, h := range voters {
				must[fleet.MemberReport](h, VerbStop, MemberRequest{Member: nameOf(i)})
			}
			must[fleet.MemberReport](standby, VerbStop, MemberRequest{Member: name})

			recover := RecoverRequest{Token: "op-1/recover", Start: c.startRequest(standby, name)}
			r := must[RecoverResult](standby, VerbRecover, recover)
			require.True(t, r.Before.Learns())
			require.Len(t, r.Before.Voters(), 3)
			require.True(t, r.After.Votes())
			require.Len(t, r.After.Members, 1)
			require.Equal(t, r.Before.ClusterID, r.After.ClusterID)
			require.Equal(t, last, r.After.Revision)
			must[fleet.MemberReport](standby, VerbStart, c.startRequest(standby, name))
			standby.awaitReady(name)
			all, err := there.Get(t.Context(), "k/", clientv3.WithPrefix(), clientv3.WithCountOnly())
			require.NoError(t, err)
			require.EqualValues(t, 200, all.Count)
			leased, err := there.TimeToLive(t.Context(), lease.ID, clientv3.WithAttachedKeys())
			require.NoError(t, err)
			require.Len(t, leased.Keys, 1)
			_, err = there.Put(t.Context(), "after", "1")
			require.NoError(t, err)

			for i, h := range voters {
				_, _ = do[fleet.MemberReport](h, VerbStart, c.startRequest(h, nameOf(i), initial...)) // which may say that it ended
			}
			for i, h := range voters {
				require.Eventually(t, func() bool { return strings.Contains(h.report(nameOf(i)).LastExit, "removed") },
					time.Minute, 100*time.Millisecond, "%s ends and says why", nameOf(i))
			}
			before, err := there.Get(t.Context(), "", clientv3.WithPrefix(), clientv3.WithCountOnly())
			require.NoError(t, err)
			require.EqualValues(t, 202, before.Count)
		})
	}
}
