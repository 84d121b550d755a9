package integration

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// The crash tests create and decommission clusters of three members while
// something of ours dies, and expect each operation to end as if nothing had
// happened. Clusters do not know of each other, so several go through their
// crashes in one environment at once, each stopped dead at a boundary of its own:
// one death of the worker is then one crash for each of them.
const (
	// crowded is how many clusters share an environment at most. An environment costs
	// as much as some clusters do, and more clusters than this wait for each other.
	crowded = 8
	// abreast is how many environments run at once: while one waits for heartbeats to
	// be missed, another works.
	abreast = 2
	minor   = "3.7.3"
)

// environments has a place for each that may run.
var environments = make(chan struct{}, abreast)

// trial is one cluster and what happens to it; the story says that in words.
type trial struct {
	cluster              string
	create, decommission []string // boundaries, where the test has them
	story                string
	revision             int64
	slow                 bool // a member of it is slow to answer
	undone               bool // it never was whole, and has no write of ours
}

func (tr *trial) members() []string {
	return []string{tr.cluster + "-1", tr.cluster + "-2", tr.cluster + "-3"}
}

// crowd is an environment with clusters in trial.
type crowd struct {
	t      *testing.T
	e      *harness.Env
	trials []*trial
	// loose lets operations take other steps than an undisturbed one: a host that did
	// not answer a look is prepared again, say, which does no harm.
	loose bool
}

// crowds runs each part of the trials in an environment of its own, some at once.
func crowds(t *testing.T, trials []*trial, run func(c *crowd), options ...harness.Option) {
	for i, tr := range trials {
		tr.cluster = fmt.Sprintf("c%03d", i)
	}
	many := (len(trials) + crowded - 1) / crowded
	var group sync.WaitGroup
	for part := range slices.Chunk(trials, (len(trials)+many-1)/many) {
		environments <- struct{}{}
		group.Go(func() {
			defer func() { <-environments }()
			t.Run(part[0].cluster+".."+part[len(part)-1].cluster, func(t *testing.T) {
				run(&crowd{t: t, e: harness.Start(t, options...), trials: part})
			})
		})
	}
	group.Wait()
}

// each does something for all clusters at once. What is wrong with one is said in
// one line, and does not keep the others from their end.
func (c *crowd) each(what string, f func(tr *trial) error) {
	var group sync.WaitGroup
	for _, tr := range c.trials {
		group.Go(func() {
			if err := f(tr); err != nil {
				c.t.Errorf("cluster %s: %s: %s: %v", tr.cluster, tr.story, what, err)
			}
		})
	}
	group.Wait()
}

// begin asks for an operation on each cluster.
func (c *crowd) begin(kind fleet.OperationKind) map[string]*harness.Running {
	var mu sync.Mutex
	all := map[string]*harness.Running{}
	c.each("expected that "+string(kind)+" begins", func(tr *trial) error {
		var spec *fleet.Spec
		if kind == fleet.CreateCluster {
			s := harness.Spec(tr.cluster, 3, minor)
			spec = &s
		}
		r, err := c.e.Begin(tr.cluster, kind, spec)
		mu.Lock()
		defer mu.Unlock()
		all[tr.cluster] = r
		return err
	})
	if c.t.Failed() {
		c.t.FailNow()
	}
	return all
}

// created expects that each cluster came out as if nothing had happened.
func (c *crowd) created(operations map[string]*harness.Running) {
	c.each("expected a cluster as if nothing had happened", func(tr *trial) error {
		if err := c.undisturbed(tr, operations[tr.cluster], fleet.PhaseRunning); err != nil {
			return err
		}
		return c.serving(tr)
	})
}

// serving expects exactly three members with all that is theirs, and that they serve.
func (c *crowd) serving(tr *trial) (err error) {
	if err := c.e.Exactly(c.t.Context(), tr.cluster, tr.members()...); err != nil {
		return err
	}
	tr.revision, err = c.e.Serves(c.t.Context(), tr.cluster, tr.members()...)
	return err
}

// gone expects that each cluster went as if nothing had happened, its last write
// in the final snapshot.
func (c *crowd) gone(operations map[string]*harness.Running) {
	c.each("expected that nothing is left, as if nothing had happened", func(tr *trial) error {
		if err := c.undisturbed(tr, operations[tr.cluster], fleet.PhaseGone); err != nil {
			return err
		}
		result, _ := operations[tr.cluster].Await()
		switch snapshot := result.FinalSnapshot; {
		case tr.undone:
		case snapshot == nil:
			return fmt.Errorf("expected a final snapshot; there is none")
		case snapshot.Revision != tr.revision || result.Lost != "":
			return fmt.Errorf("expected a final snapshot at revision %d; it is at %d, lost: %q", tr.revision, snapshot.Revision, result.Lost)
		}
		return c.e.Nothing(c.t.Context(), tr.cluster, tr.members()...)
	})
	if !c.t.Failed() {
		c.e.ExpectNothingLeft()
	}
}

// undisturbed says what is wrong unless an operation was done with the steps that it
// has without a crash, and nothing of a crash stands in its record.
func (c *crowd) undisturbed(tr *trial, operation *harness.Running, phase fleet.Phase) error {
	result, err := operation.Await()
	if err != nil {
		return fmt.Errorf("expected that it succeeds; it failed: %w", err)
	}
	if p := result.Progress; p.State != fleet.OperationDone || p.LastError != "" {
		return fmt.Errorf("expected no error; it is %s with %q", p.State, p.LastError)
	}
	if c.loose {
		return c.recorded(tr, fleet.OperationDone, phase)
	}
	if steps, did := found.steps[operation.Ref.Kind], stepsOf(tr.cluster, result); !slices.Equal(did, steps) {
		return fmt.Errorf("expected the steps %v; they were %v", steps, did)
	}
	return c.recorded(tr, fleet.OperationDone, phase)
}

// stepsOf gives what an operation did, by wave. Waiting for health is left out: it is
// not needed when the next look finds the cluster healthy.
func stepsOf(cluster string, result workflows.OperationResult) []string {
	var all []string
	for _, p := range result.Progress.Steps {
		if p.Step.Kind == fleet.AwaitHealthy {
			continue
		}
		step := fmt.Sprintf("%d/%s", p.Wave, p.Step.Kind)
		if p.Step.Member != "" {
			step += "/" + strings.TrimPrefix(p.Step.Member, cluster+"-")
		}
		all = append(all, step)
	}
	slices.Sort(all)
	return all
}

// recorded waits until the entity has settled its operation, and says what is wrong
// with what it recorded.
func (c *crowd) recorded(tr *trial, state fleet.OperationState, phase fleet.Phase) error {
	var view workflows.ClusterView
	err := c.e.Within(harness.Patience, func() (err error) {
		view, err = c.e.Client.Describe(c.t.Context(), tr.cluster)
		if err == nil && (len(view.Operations) == 0 || view.Operations[0].State == fleet.OperationRunning) {
			err = errors.New("it is still running")
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("expected that the cluster's entity settles its operation: %w", err)
	}
	record := view.Operations[0]
	if record.State != state || record.Error != "" || view.Summary.LastError != "" || view.Summary.Phase != phase {
		return fmt.Errorf("expected that the entity records %s without an error, and %s; it has %s with %q, and %s with %q",
			state, phase, record.State, record.Error, view.Summary.Phase, view.Summary.LastError)
	}
	return nil
}
