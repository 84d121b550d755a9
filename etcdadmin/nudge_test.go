package etcdadmin_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/flotilla-etcd/flotilla/etcdadmin"
	"github.com/flotilla-etcd/flotilla/etcdadmin/etcdtest"
)

// A learner of a cluster that nobody writes to has got all by a snapshot, and serves
// nobody until there is another entry.
func TestNudgeWakesALearnerOfAQuietCluster(t *testing.T) {
	for _, version := range []string{etcdtest.V36, etcdtest.V37} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			c := etcdtest.Start(t, version, 1, "--snapshot-count=1000", "--snapshot-catchup-entries=100")
			entries(t, c.Client(t), 7000) // a member refuses its publication when it is 5,000 behind
			client, err := etcdadmin.Connect(etcdadmin.Config{Endpoints: c.Endpoints(), TLS: c.TLS})
			require.NoError(t, err)
			defer client.Close()

			l := c.AddLearner(t, false)
			require.NoError(t, l.Start())
			var id uint64
			learner := func() (etcdadmin.Lag, error) {
				members, err := client.Members(t.Context())
				if err != nil {
					return etcdadmin.Lag{}, err
				}
				for _, m := range members {
					if m.Name == l.Name {
						id = m.ID
					}
				}
				if id == 0 {
					return etcdadmin.Lag{Silent: "it has not begun"}, nil
				}
				return client.Lag(t.Context(), id)
			}
			until(t, "the learner is listed by its name", func() (bool, any) {
				lag, err := learner()
				return err == nil && id != 0, lag
			})
			// It publishes again after 9 s: 5 s, and two of the election timeouts that these members have.
			for until := time.Now().Add(15 * time.Second); time.Now().Before(until); {
				lag, err := learner()
				require.NoError(t, err)
				require.False(t, lag.Answers, "etcd %s serves without another entry: then nobody needs to be nudged", version)
			}

			before := revision(t, client)
			var lag etcdadmin.Lag
			until(t, "the learner answers", func() (bool, any) {
				require.NoError(t, client.Nudge(t.Context()))
				lag, err = learner()
				return err == nil && lag.Answers && lag.Behind() == 0, lag
			})
			require.Equal(t, before, revision(t, client), "an entry that changes nothing")
		})
	}
}

func revision(t *testing.T, client *etcdadmin.Client) int64 {
	t.Helper()
	p, err := client.Now(t.Context())
	require.NoError(t, err)
	return p.Revision
}

// entries has at least n entries made in the log.
func entries(t *testing.T, client *clientv3.Client, n int) {
	t.Helper()
	group, ctx := errgroup.WithContext(t.Context())
	for range 32 {
		group.Go(func() error {
			for range (n + 31) / 32 {
				ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
				_, err := client.Put(ctx, "key", "value")
				cancel()
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
}
