package plan_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/plan"
	"github.com/flotilla-etcd/flotilla/plan/model"
)

// Each file in testdata is a story of one cluster. The commands:
//
//	cluster voters=3 learners=0 zones=(a,b,c)   begins with an empty world
//	create | decommission [skip-final-snapshot] begins an operation and shows its plan
//	incarnation uid=…                           the name is used for another cluster
//	protect on | protect off
//	plan                                        forecasts the operation from here
//	step [n=2] [only=orders-1] [effects=1]      does the next n waves; of a wave only one
//	                                            member's step; of a step only some effects
//	run                                         goes on until it is over
//	observe                                     shows the world
//	fault lose-host orders-2 | stop orders-1    of one member
//	fault no-stock zones=(a,b) | stock zones=a  of zones
//	fault unknown | known                       what cannot be seen, in the input's words
//	fault write                                 a client writes; no fault at all
//	fault settle                                hosts that begin or end come to that
//	hide host orders-1 | show host orders-1     neither the host nor its member answers
//
// go test ./plan -run Scenarios -rewrite writes what happens into the files.
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata/scenarios", func(t *testing.T, path string) {
		s := &scenario{uid: "7f3a"}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.t = t
			out, err := s.do(d)
			if err != nil {
				d.Fatalf(t, "%v", err)
			}
			return out
		})
	})
}

type scenario struct {
	t        *testing.T
	world    *model.World
	spec     fleet.Spec
	uid      string
	in       plan.Input
	ops      int
	unknowns []string
}

func (s *scenario) do(d *datadriven.TestData) (string, error) {
	switch d.Cmd {
	case "cluster":
		return s.cluster(d)
	case "create":
		return s.begin(d, fleet.CreateCluster), nil
	case "decommission":
		return s.begin(d, fleet.DecommissionCluster), nil
	case "incarnation":
		d.ScanArgs(s.t, "uid", &s.uid)
		return "", nil
	case "protect":
		s.spec.DeletionProtection = d.HasArg("on")
		s.in.Operation.Spec = s.spec
		return "", nil
	case "plan":
		return s.plan(), nil
	case "step":
		return s.step(d), nil
	case "run":
		return s.run(), nil
	case "observe":
		return s.observe(), nil
	case "fault", "hide", "show":
		return s.fault(d)
	}
	return "", fmt.Errorf("there is no command %q", d.Cmd)
}

func (s *scenario) cluster(d *datadriven.TestData) (string, error) {
	s.world = model.New().Slow()
	s.spec = fleet.Spec{
		Name: "orders", Provider: "local", Region: "local-1", Zones: []string{"a", "b", "c"},
		Etcd: fleet.EtcdSpec{Version: "3.7.3"}, Machine: fleet.MachineSpec{Type: "small", Disk: fleet.DiskSpec{Category: "ssd"}},
	}
	for _, arg := range d.CmdArgs {
		var err error
		switch arg.Key {
		case "name":
			s.spec.Name = arg.Vals[0]
		case "voters":
			s.spec.Voters, err = strconv.Atoi(arg.Vals[0])
		case "learners":
			s.spec.Learners, err = strconv.Atoi(arg.Vals[0])
		case "zones":
			s.spec.Zones = arg.Vals
		default:
			err = fmt.Errorf("cluster has no %q", arg.Key)
		}
		if err != nil {
			return "", err
		}
	}
	s.spec = s.spec.WithDefaults()
	return "", s.spec.Validate().Err("cluster")
}

// begin begins an operation with a new ID and no failures. Without it, the one
// before goes on, as it does when another worker takes over.
func (s *scenario) begin(d *datadriven.TestData, kind fleet.OperationKind) string {
	s.ops++
	s.in = plan.Input{Operation: fleet.Operation{
		ID: fmt.Sprintf("op-%d", s.ops), Kind: kind, Cluster: s.spec.Name, UID: s.uid, Spec: s.spec,
		Options: fleet.Options{SkipFinalSnapshot: d.HasArg("skip-final-snapshot")},
	}}
	return s.plan()
}

func (s *scenario) look() plan.Input {
	s.in.Observation = s.world.Observe()
	s.in.Observation.Unknowns = append(s.in.Observation.Unknowns, s.unknowns...)
	return s.in
}

func (s *scenario) plan() string {
	var b strings.Builder
	waves, last := plan.Forecast(s.look())
	for i, wave := range waves {
		fmt.Fprintf(&b, "%2d  %s\n", i+1, plan.Words(wave))
	}
	return b.String() + verdict(last)
}

func verdict(d fleet.Decision) string {
	if d.Kind != "" {
		return fmt.Sprintf("%s (%s): %s\n", d.Verdict, d.Kind, d.Reason)
	}
	return fmt.Sprintf("%s: %s\n", d.Verdict, d.Reason)
}

func (s *scenario) step(d *datadriven.TestData) string {
	n, only, effects := 1, "", -1
	d.MaybeScanArgs(s.t, "n", &n)
	d.MaybeScanArgs(s.t, "only", &only)
	d.MaybeScanArgs(s.t, "effects", &effects)
	var b strings.Builder
	for range n {
		decision := plan.Next(s.look())
		if decision.Verdict != fleet.VerdictAct {
			return b.String() + verdict(decision)
		}
		b.WriteString(s.wave(decision.Wave, only, effects))
	}
	return b.String()
}

func (s *scenario) run() string {
	var b strings.Builder
	for range 60 {
		decision := plan.Next(s.look())
		if decision.Verdict != fleet.VerdictAct {
			return b.String() + verdict(decision)
		}
		b.WriteString(s.wave(decision.Wave, "", -1))
	}
	return b.String() + "no end after 60 waves\n"
}

// wave does a wave, records what fails as a workflow does, and says so.
func (s *scenario) wave(steps []fleet.Step, only string, effects int) string {
	var b strings.Builder
	b.WriteString(plan.Words(steps) + "\n")
	for _, step := range steps {
		if only != "" && step.Member != only {
			continue
		}
		all, err := s.world.Effects(s.in.Operation, step)
		if effects >= 0 && effects < len(all) {
			fmt.Fprintf(&b, "    %s: crashed after %d of %d effects\n", step, effects, len(all))
			all = all[:effects]
		}
		for _, effect := range all {
			effect()
		}
		if err != nil {
			fmt.Fprintf(&b, "    %s failed: %s (token %s)\n", step, err, step.Token)
			s.in.Failures = append(s.in.Failures, fleet.Failure{Step: step, Kind: fleet.KindOf(err), Message: err.Error()})
		}
	}
	return b.String()
}

func (s *scenario) observe() string {
	var b strings.Builder
	obs := s.look().Observation
	for _, h := range obs.Hosts {
		fmt.Fprintf(&b, "host %s  %s in %s, %s", h.ID, h.Member(), h.Zone, h.State)
		if m := h.Report.Find(h.Member()); m != nil {
			fmt.Fprintf(&b, ", member %s", m.State)
		} else if h.Report == nil {
			fmt.Fprintf(&b, ", silent: %s", h.Silent)
		}
		fmt.Fprintf(&b, ", token %s\n", h.Tags[fleet.TagToken])
	}
	for _, d := range obs.Disks {
		at := "attached to " + d.HostID
		if d.HostID == "" {
			at = string(d.State)
		}
		fmt.Fprintf(&b, "disk %s  %s in %s, %s\n", d.ID, d.Member(), d.Zone, at)
	}
	for _, m := range obs.Members {
		kind := "voter"
		if m.Learner {
			kind = "learner"
		}
		fmt.Fprintf(&b, "%s %q, answers: %v\n", kind, m.Name, m.Answers)
	}
	if obs.FinalSnapshot != nil {
		fmt.Fprintf(&b, "final snapshot by %s at revision %d\n", obs.FinalSnapshot.Operation, obs.FinalSnapshot.Revision)
	}
	fmt.Fprintf(&b, "quorum: %v, authority: %v\n", obs.Quorum, obs.Authority)
	return b.String()
}

func (s *scenario) fault(d *datadriven.TestData) (string, error) {
	args := d.CmdArgs
	last := args[len(args)-1].Key
	hosts := s.world.HostsOf(last)
	slices.Sort(hosts)
	switch what := args[0].Key; {
	case what == "no-stock" || what == "stock":
		for _, zone := range args[1].Vals {
			s.world.SoldOut(zone, what == "no-stock")
		}
	case what == "write":
		s.world.Write()
	case what == "unknown":
		s.unknowns = []string{strings.TrimSpace(d.Input)}
	case what == "known":
		s.unknowns = nil
	case what == "settle":
		s.world.Settle()
	case what == "stop":
		s.world.StopProcess(last)
	case len(hosts) == 0:
		return "", fmt.Errorf("%s has no host", last)
	case what == "lose-host":
		s.world.LoseHost(hosts[0])
	case d.Cmd == "hide" || d.Cmd == "show":
		s.world.Silence(hosts[0], d.Cmd == "hide")
	default:
		return "", fmt.Errorf("there is no fault %q", what)
	}
	return "", nil
}
