package activities

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/plan"
)

// Planner looks at clusters and plans.
type Planner struct{ Region }

// clearer is how long a look waits for a clearer one before the operation stops
// and says what is unclear.
const clearer = 4 * time.Minute

// Look observes a cluster and plans the next wave of an operation. When what it
// sees is not enough to decide by, it looks again.
func (p *Planner) Look(ctx context.Context, r fleet.LookRequest) (fleet.Look, error) {
	return reply(p.look(ctx, r))
}

func (p *Planner) look(ctx context.Context, r fleet.LookRequest) (fleet.Look, error) {
	var look fleet.Look
	began := time.Now()
	err := poll(ctx, func(ctx context.Context) (bool, int, string, error) {
		obs, err := p.observe(ctx, r.Operation)
		if err != nil {
			return false, -1, "", err
		}
		input := plan.Input{Operation: r.Operation, Observation: obs, Memory: r.Memory, Policy: r.Operation.Options.Policy.Over(r.Operation.Spec.Policy).WithDefaults()}
		decision, err := p.decide(ctx, input)
		if err != nil {
			return false, -1, "", err
		}
		waves, _ := plan.Forecast(input)
		look = fleet.Look{
			Observation: obs, Decision: decision, Ahead: max(0, len(waves)-1),
			Summary: Summarize(r.Operation, obs), Endpoints: plan.Endpoints(input, decision.Wave), Policy: input.Policy, Left: plan.Left(input),
		}
		if decision.Verdict == fleet.VerdictWait && time.Since(began) > clearer {
			look.Decision.Verdict, look.Decision.Kind = fleet.VerdictBlocked, fleet.Unavailable
			look.Decision.Reason += fmt.Sprintf(", and it was for %s", clearer)
		}
		return look.Decision.Verdict != fleet.VerdictWait, -1, decision.Reason, nil
	})
	return look, err
}

// decide plans, after the checks that a pure planner cannot make.
func (p *Planner) decide(ctx context.Context, input plan.Input) (fleet.Decision, error) {
	if input.Operation.Kind == fleet.CreateCluster && len(input.Observation.Hosts) == 0 {
		problems, err := p.preflight(ctx, input.Operation.Spec)
		if err != nil {
			return fleet.Decision{}, err
		}
		if err := problems.Err("spec of " + input.Operation.Cluster); err != nil {
			return fleet.Decision{Verdict: fleet.VerdictBlocked, Kind: fleet.Invalid, Reason: err.Error()}, nil
		}
	}
	return plan.Next(input), nil
}

// preflight checks a spec against the catalogue and against what the region sells.
func (p *Planner) preflight(ctx context.Context, spec fleet.Spec) (fleet.Problems, error) {
	problems := spec.Validate()
	catalogue, err := p.catalogue()
	if err != nil {
		return nil, err
	}
	if fleet.Minor(spec.Etcd.Version) != "" && !catalogue.Has(spec.Etcd.Version) {
		problems = append(problems, fleet.Problem{Path: "etcd.version", Message: fmt.Sprintf(
			"%s is not in the catalogue (%s); add it to the workers' release catalogue",
			spec.Etcd.Version, strings.Join(catalogue.Versions(), ", "))})
	}
	zones, err := p.Provider.Zones(ctx)
	if err != nil {
		return nil, err
	}
	for i, zone := range spec.Zones {
		unsold(&problems, fmt.Sprintf("zones[%d]", i), zone, zones, "zones")
	}
	types, err := p.Provider.MachineTypes(ctx)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = t.Name
	}
	unsold(&problems, "machine.type", spec.Machine.Type, names, "types")
	categories, err := p.Provider.DiskCategories(ctx)
	if err != nil {
		return nil, err
	}
	unsold(&problems, "machine.disk.category", spec.Machine.Disk.Category, categories, "categories")
	return problems, nil
}

func unsold(problems *fleet.Problems, path, value string, sold []string, what string) {
	if !slices.Contains(sold, value) {
		*problems = append(*problems, fleet.Problem{Path: path, Message: fmt.Sprintf(
			"the region has no %q; its %s are %s", value, what, strings.Join(sold, ", "))})
	}
}

// Forecast says what an operation would do, and does nothing.
func (p *Planner) Forecast(ctx context.Context, r fleet.PlanRequest) (fleet.PlanReply, error) {
	return reply(p.forecast(ctx, r.Operation))
}

func (p *Planner) forecast(ctx context.Context, op fleet.Operation) (fleet.PlanReply, error) {
	if op.Kind == fleet.CreateCluster {
		problems, err := p.preflight(ctx, op.Spec)
		if err != nil || len(problems) > 0 {
			return fleet.PlanReply{Problems: problems}, err
		}
	}
	obs, err := p.observe(ctx, op)
	if err != nil {
		return fleet.PlanReply{}, err
	}
	waves, end := plan.Forecast(plan.Input{
		Operation: op, Observation: obs, Memory: fleet.Memory{Purchases: op.Purchases}, Policy: op.Options.Policy.Over(op.Spec.Policy).WithDefaults(),
	})
	answer := fleet.PlanReply{
		Exists: len(obs.Hosts)+len(obs.Disks) > 0, Waves: waves,
		Buys: buys(op.Spec, waves), Destroys: destroys(obs, waves),
	}
	if end.Verdict != fleet.VerdictDone {
		answer.Blocked, answer.Kind = end.Reason, end.Kind
	}
	return answer, nil
}

// buys says in words what a plan would buy.
func buys(spec fleet.Spec, waves [][]fleet.Step) []string {
	hosts, disks := 0, 0
	for _, step := range slices.Concat(waves...) {
		switch {
		case step.Kind == fleet.LaunchHost && step.HostID == "":
			hosts++
		case step.Kind == fleet.AttachDisk && step.DiskID == "":
			disks++
		}
	}
	var words []string
	if hosts > 0 {
		words = append(words, fmt.Sprintf("%d × %s", hosts, spec.Machine.Type))
	}
	if disks > 0 {
		words = append(words, fmt.Sprintf("%d × %s %s", disks, spec.Machine.Disk.Size.Human(), spec.Machine.Disk.Category))
	}
	return words
}

// destroys says in words what a plan would destroy.
func destroys(obs fleet.Observation, waves [][]fleet.Step) []string {
	var words []string
	for _, step := range slices.Concat(waves...) {
		switch step.Kind {
		case fleet.ReleaseHost:
			words = append(words, fmt.Sprintf("host %s (%s)", step.Member, step.HostID))
		case fleet.DeleteDisk:
			words = append(words, fmt.Sprintf("disk of %s (%s)", step.Member, step.DiskID))
		case fleet.DestroyAuthority:
			words = append(words, "the certificate authority")
		}
	}
	if len(words) > 0 && obs.Revision > 0 {
		words = append(words, fmt.Sprintf("data up to revision %d", obs.Revision))
	}
	return words
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
	s.Members, s.Healthy, s.Leader, s.Revision, s.DBSize = len(members), 0, leader, revision, 0
	for _, m := range members {
		if m.Answers {
			s.Healthy++
			s.DBSize = max(s.DBSize, m.DBSize)
		}
		if m.Leader && m.Version != "" {
			s.Etcd = m.Version
		}
	}
}
