package activities

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/plan"
)

// Planner looks at clusters and plans.
type Planner struct{ Region }

// clearer is how long a look waits for a clearer one before the operation stops
// and says what is unclear.
const clearer = 4 * time.Minute

// forecastDeadAfter is how long a forecast looks at members that may be dead: a
// person waits for it. It says what follows if they stay as they are.
const forecastDeadAfter = fleet.Duration(6 * time.Second)

// Look observes a cluster and plans the next wave of an operation. When what it
// sees is not enough to decide by, it looks again.
func (p *Planner) Look(ctx context.Context, r fleet.LookRequest) (fleet.Look, error) {
	return reply(p.look(ctx, r))
}

func (p *Planner) look(ctx context.Context, r fleet.LookRequest) (fleet.Look, error) {
	var look fleet.Look
	policy, err := p.policy(r.Operation)
	if err != nil {
		return look, err
	}
	began := time.Now()
	err = poll(ctx, func(ctx context.Context) (bool, int, string, error) {
		obs, err := p.observe(ctx, r.Operation, r.Memory, time.Duration(policy.DeadAfter))
		if err != nil {
			return false, -1, "", err
		}
		input := plan.Input{Operation: r.Operation, Observation: obs, Memory: r.Memory, Policy: policy}
		decision, waves, err := p.decide(ctx, input, r.First)
		if err != nil {
			return false, -1, "", err
		}
		look = fleet.Look{
			Observation: obs, Decision: decision, Ahead: max(0, len(waves)-1), Policy: policy,
			Summary: Summarize(r.Operation, obs), Endpoints: plan.Endpoints(input, decision.Wave), Whole: plan.Whole(input), Left: plan.Left(input),
			Elsewhere: elsewhere(obs), Loss: plan.Loss(input, decision), Sources: plan.Sources(input, decision),
		}
		if r.First && policy.Approval != fleet.ApprovalNever {
			look.Plan = waves
		}
		if decision.Verdict == fleet.VerdictWait && time.Since(began) > clearer {
			look.Decision.Verdict, look.Decision.Kind = fleet.VerdictBlocked, fleet.Unavailable
			look.Decision.Reason += fmt.Sprintf(", and it was for %s", clearer)
		}
		return look.Decision.Verdict != fleet.VerdictWait, -1, decision.Reason, nil
	})
	return look, err
}

// decide plans, after the checks that a pure planner cannot make. It gives the
// waves that are forecast as well.
func (p *Planner) decide(ctx context.Context, input plan.Input, first bool) (fleet.Decision, [][]fleet.Step, error) {
	op, problems := input.Operation, fleet.Problems(nil)
	var err error
	if op.Kind == fleet.CreateCluster && len(input.Observation.Hosts) == 0 {
		problems, err = p.checkSpec(ctx, op.Spec)
	}
	var waves [][]fleet.Step
	if err == nil && len(problems) == 0 {
		waves, _ = plan.Forecast(input)
		if first && op.Kind != fleet.CreateCluster {
			problems, err = p.checkWaves(ctx, op, input.Observation, waves)
		}
	}
	if err != nil {
		return fleet.Decision{}, nil, err
	}
	if err := problems.Err("spec of " + op.Cluster); err != nil {
		return fleet.Decision{Verdict: fleet.VerdictBlocked, Kind: fleet.Invalid, Reason: err.Error()}, nil, nil
	}
	return plan.Next(input), waves, nil
}

// Forecast says what an operation would do, and does nothing.
func (p *Planner) Forecast(ctx context.Context, r fleet.PlanRequest) (fleet.PlanReply, error) {
	return reply(p.forecast(ctx, r.Operation))
}

func (p *Planner) forecast(ctx context.Context, op fleet.Operation) (fleet.PlanReply, error) {
	if op.Kind == fleet.CreateCluster {
		problems, err := p.checkSpec(ctx, op.Spec)
		if err != nil || len(problems) > 0 {
			return fleet.PlanReply{Problems: problems}, err
		}
	}
	policy, err := p.policy(op)
	if err != nil {
		return fleet.PlanReply{}, err
	}
	policy.DeadAfter = min(policy.DeadAfter, forecastDeadAfter)
	obs, err := p.observe(ctx, op, fleet.Memory{Purchases: op.Purchases}, time.Duration(policy.DeadAfter))
	if err != nil {
		return fleet.PlanReply{}, err
	}
	answer := fleet.PlanReply{Exists: len(obs.Hosts)+len(obs.Disks) > 0, Members: memberNames(obs)}
	waves, end := plan.Forecast(plan.Input{Operation: op, Observation: obs, Memory: fleet.Memory{Purchases: op.Purchases}, Policy: policy})
	if op.Kind != fleet.CreateCluster {
		problems, err := p.checkWaves(ctx, op, obs, waves)
		if err != nil || len(problems) > 0 {
			answer.Problems = problems
			return answer, err
		}
	}
	answer.Waves, answer.Buys, answer.Destroys = waves, buys(op, waves), destroys(op, obs, waves)
	if end.Verdict != fleet.VerdictDone {
		answer.Blocked, answer.Kind = end.Reason, end.Kind
	}
	return answer, nil
}

// memberNames gives the members that etcd lists and those that hosts were bought for,
// in order.
func memberNames(obs fleet.Observation) []string {
	var names []string
	for _, m := range obs.Members {
		names = append(names, m.Name)
	}
	for _, h := range obs.Hosts {
		names = append(names, h.Member())
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool { return name == "" })
}

// Summarize gives the row of a cluster, with the counts of an observation.
func Summarize(op fleet.Operation, obs fleet.Observation) fleet.Summary {
	s := fleet.Summary{
		Name: op.Cluster, UID: op.UID, Provider: op.Spec.Provider, Region: op.Spec.Region,
		Etcd: op.Spec.Etcd.Version, Class: op.Spec.Class, Voters: op.Spec.Voters, At: obs.At,
	}
	count(&s, obs.Members, obs.Leader, obs.Revision)
	return s
}

// count fills in what members answered.
func count(s *fleet.Summary, members []fleet.ObservedMember, leader string, revision int64) {
	s.Members, s.Healthy, s.Leader, s.Revision, s.DBSize, s.Learners, s.Lag = len(members), 0, leader, revision, 0, 0, 0
	var ahead uint64
	for _, m := range members {
		ahead = max(ahead, m.Applied)
	}
	for _, m := range members {
		if m.Learner {
			s.Learners++
			if m.Answers {
				s.Lag = max(s.Lag, ahead-m.Applied)
			}
		}
		if m.Answers {
			s.Healthy++
			s.DBSize = max(s.DBSize, m.DBSize)
		}
		if m.Leader && m.Version != "" {
			s.Etcd = m.Version
		}
	}
}
