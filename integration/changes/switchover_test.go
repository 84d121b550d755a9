package changes

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
	"github.com/flotilla-etcd/flotilla/integration/judge"
)

// TestSwitchover has the voters of a cluster change places with its standby, and go home
// again, while clients that follow its record use it. A judge says that they lost nothing.
func TestSwitchover(t *testing.T) {
	abreast(t)
	e := harness.Start(t)
	published := filepath.Join(e.Dir, "endpoints")
	e.Flags = append(e.Flags, "--zones", "a,b,c,d", "--publish", "file://"+published)
	e.StartWorker("flotilla-worker")
	spec := small("orders", 3, newer)
	spec.Learners, spec.Etcd.MaxLearners, spec.Standby.Zones, spec.Clients.Record = 1, 2, []string{"d"}, "orders.example.com"
	c := followsRecord(t, e, spec, published)
	for _, leg := range []struct{ name, voters, learner string }{{"a switchover", "d", "a"}, {"the way home", "abc", "d"}} {
		c.hears(leg.name, c.switchover)
		require.NoError(t, e.Stands(t.Context(), spec.Name))
		view, err := e.Settled(spec.Name)
		require.NoError(t, err)
		hosts, err := e.HostsOf(t.Context(), spec.Name)
		require.NoError(t, err)
		learners := 0
		for _, h := range hosts {
			voter := false
			for _, endpoint := range view.Endpoints {
				voter = voter || endpoint.Member == h.Member()
			}
			if voter {
				require.Contains(t, leg.voters, h.Zone, "%s has a vote", h.Member())
			} else {
				require.Equal(t, leg.learner, h.Zone, "%s is the standby", h.Member())
				learners++
			}
		}
		require.Equal(t, 1, learners)
	}
	e.Decommission(spec.Name, fleet.Options{SkipFinalSnapshot: true})
	e.ExpectNothingLeft()
}

// TestSwitchoverToAnotherRegion is the same with a standby in another region, on other
// machines: the cluster's home moves there, and back.
func TestSwitchoverToAnotherRegion(t *testing.T) {
	abreast(t)
	e := harness.Start(t)
	published := filepath.Join(e.Dir, "endpoints")
	publish := []string{"--publish", "file://" + published}
	other := e.TwoRegions("local-2")
	e.Flags, other.Flags = append(e.Flags, publish...), append(other.Flags, publish...)
	e.StartWorker("flotilla-worker")
	e.StartWorkerOf(other)
	spec := acrossRegions()
	c := followsRecord(t, e, spec, published)
	c.hears("a switchover to another region", c.switchover)
	expectPlaces(t, e, other, 1, 3)
	c.hears("the way home from another region", c.switchover)
	expectPlaces(t, e, other, 3, 1)
	view, err := e.Settled(spec.Name)
	require.NoError(t, err)
	require.Equal(t, harness.Region, view.Summary.Region)
	require.Len(t, view.Endpoints, 3)
	e.Decommission(spec.Name, fleet.Options{SkipFinalSnapshot: true})
	expectPlaces(t, e, other, 0, 0)
}

// followsRecord makes a cluster that is judged by clients who follow its record.
func followsRecord(t *testing.T, e *harness.Env, spec fleet.Spec, published string) *court {
	e.Create(spec)
	c := &court{
		t: t, e: e, cluster: spec.Name, seed: harness.Seed(t), filler: judge.Filler{Prefix: "filler/", Bytes: 1 << 20},
		record: filepath.Join(published, spec.Clients.Record+".json"),
	}
	client, err := c.dial(t.Context())
	require.NoError(t, err)
	defer client.Close()
	require.NoError(t, judge.Fill(t.Context(), client, c.filler))
	return c
}

// switchover asks for it as a person does.
func (c *court) switchover() error {
	if answer := c.e.CLI("switchover", c.cluster); answer.Code != 0 {
		return fmt.Errorf("flotilla switchover exits with %d: %s%s", answer.Code, answer.Out, answer.Err)
	}
	return nil
}

// where is where clients are told to connect: by the record, if they follow one.
func (c *court) where(ctx context.Context) ([]string, error) {
	if c.record != "" {
		return recorded(c.record)
	}
	return c.endpoints(ctx)
}
