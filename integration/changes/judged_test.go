package changes

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
	"github.com/flotilla-etcd/flotilla/integration/judge"
)

// filled is how much data a judged cluster holds besides what clients write.
const filled = 200 << 20

// court is a cluster with data in it, and a judge who watches while it is changed.
type court struct {
	t       *testing.T
	e       *harness.Env
	cluster string
	filler  judge.Filler
	seed    uint64
	record  string     // the file of the record that clients follow, if they do
	run     *judge.Run // while something is heard
	// tries is how often an operation may be asked for that ends before it is done: once,
	// unless there is fire.
	tries int
	// dials is how clients connect that stay where they are; nil for those who ask us.
	dials func(context.Context) (*clientv3.Client, error)
}

// remarkable is how long no client may write before the members' logs are kept for a look:
// longer than two elections take.
const remarkable = 5 * time.Second

// load is how much data there is in a cluster of a story that takes long with all of it.
func load() int64 {
	if harness.Whole() {
		return filled
	}
	return 1 << 20
}

func newCourt(t *testing.T, e *harness.Env, cluster string, bytes int64) *court {
	return &court{t: t, e: e, cluster: cluster, seed: harness.Seed(t), filler: judge.Filler{Prefix: "filler/", Bytes: bytes}}
}

// opens creates the cluster and puts the data into it.
func (c *court) opens(spec fleet.Spec) {
	c.e.Create(spec)
	client, err := c.dial(c.t.Context())
	require.NoError(c.t, err)
	defer client.Close()
	require.NoError(c.t, judge.Fill(c.t.Context(), client, c.filler))
}

func (c *court) dial(ctx context.Context) (*clientv3.Client, error) {
	a, err := c.e.Connect(ctx, c.cluster)
	if err != nil {
		return nil, err
	}
	return a.Client, nil
}

// endpoints are what a user is told who asks where to connect.
func (c *court) endpoints(ctx context.Context) ([]string, error) {
	list, err := c.e.Client.Endpoints(ctx, c.cluster)
	if err != nil {
		return nil, err
	}
	urls := make([]string, len(list))
	for i, e := range list {
		urls[i] = e.ClientURL()
	}
	return urls, nil
}

// hears has clients use the cluster while something is done to it, and gives the verdict.
func (c *court) hears(what string, do func() error) judge.Verdict {
	config := judge.Config{Dial: c.dial, Endpoints: c.where, Seed: c.seed, Filler: &c.filler, CatchUp: harness.Patience / 2}
	if c.dials != nil {
		config.Dial, config.Endpoints = c.dials, nil
	}
	run, err := judge.Start(c.t.Context(), config)
	require.NoError(c.t, err)
	c.run = run
	from := time.Now()
	failed := do()
	to := time.Now()
	stopped := run.Stop()
	verdict := run.Verdict()
	c.t.Logf("%s took %s\n%s\n%s", what, to.Sub(from).Round(time.Millisecond), verdict, run.Stalls(from, to))
	if long := run.Stalls(from, to).Overall; long.Length > remarkable && testing.Verbose() { // else nobody reads it
		c.t.Logf("nobody's write was acknowledged for %s from %s on; the members' logs are in %s",
			long.Length.Round(time.Millisecond), long.From.Format(clock), c.e.KeepLogs())
	}
	if failed != nil || stopped != nil || !verdict.OK() {
		file := filepath.Join(os.TempDir(), fmt.Sprintf("flotilla-history-%d.jsonl", c.seed))
		c.t.Logf("the record of the clients is in %s: %v", file, run.History().Save(file))
	}
	require.NoError(c.t, failed, what)
	require.NoError(c.t, stopped, "the clients of %s while %s", c.cluster, what)
	require.True(c.t, verdict.OK(), "what clients saw while %s", what)
	return verdict
}

// change does a leg of the journey and expects the cluster to stand as asked for.
func (c *court) change(l leg) error {
	if l.before != nil {
		if err := l.before(c.t.Context(), c.e, c.cluster); err != nil {
			return err
		}
	}
	r, err := c.e.BeginChange(c.cluster, l.Change)
	if err != nil {
		return err
	}
	if _, err := r.Await(); err != nil {
		return err
	}
	if l.stopped {
		return nil
	}
	return c.e.Stands(c.t.Context(), c.cluster)
}

// TestClientsNoticeNothing has clients read, write and watch a cluster with 200 MB of
// data while it goes through every operation, and judges what they saw: no write that
// was acknowledged is lost, nothing stale is read as fresh, no event of a watch is
// dropped, repeated or out of order.
func TestClientsNoticeNothing(t *testing.T) {
	abreast(t)
	e := harness.Start(t)
	e.StartWorker("flotilla-worker")
	c := newCourt(t, e, "orders", filled)
	c.opens(small(c.cluster, 1, older))
	legs := journey(c.cluster)
	for i := 0; i < len(legs); i++ {
		l := legs[i]
		if l.stopped { // clients have nobody to talk to until it is started again
			next := legs[i+1]
			i++
			c.hears(l.name+" and "+next.name, func() error {
				if err := c.change(l); err != nil {
					return err
				}
				return c.change(next)
			})
			continue
		}
		c.hears(l.name, func() error { return c.change(l) })
	}
	e.Decommission(c.cluster, fleet.Options{})
	e.ExpectNothingLeft()
}
