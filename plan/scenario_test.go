package plan_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/plan"
	"github.com/flotilla-etcd/flotilla/plan/model"
)

// Each file in testdata is a story of one cluster. The commands:
//
//	cluster voters=3 learners=0 zones=(a,b,c) standby=(d) version=3.7.3    begins with an empty world
//	        standby-region=local-2 standby-type=medium                     the standby is elsewhere
//	create | decommission [skip-final-snapshot]
//	upscale type=large change=inPlace disk=40GiB category=essd quota=4GiB
//	scale voters=5 learners=1
//	failover | migrate | roll | move-leader [members=(orders-2)]
//	backup | restore backup=b1 [without=(orders-2)] | create backup=b1 | put-back backup=b1
//	migrate zones=(b,c) | move-leader leave=orders-1
//	upgrade version=3.7.3
//	roll snapshot-count=20000 max-learners=3 certificates=trust-new-ca
//	stop [skip-final-snapshot] | start
//	recover [without=(orders-1,orders-2)] [survivor=orders-3] [from-backup=newest]
//	                                            each begins an operation and shows its plan; the
//	                                            one before, if it is not over, was cancelled.
//	                                            allow-downtime goes with any of them
//	resume                                      begins one that goes on with the one before
//	incarnation uid=…                           the name is used for another cluster
//	protect on | protect off
//	plan                                        forecasts the operation from here
//	step [n=2] [only=orders-1] [effects=1]      does the next n waves; of a wave only one
//	                                            member's step; of a step only some effects
//	until kind=StartMember                      goes on until that is what comes next
//	run                                         goes on until it is over
//	observe                                     shows the world
//	loss                                        says what a recovery or restore is about to lose
//	left                                        says what the operation leaves half done
//	fault …                                     breaks something, or mends it: scenario.fault
//	hide host orders-1 | show host orders-1     neither the host nor its member answers us
//	cut host orders-1                           nor do they reach anybody else
//
// go test ./plan -run Scenarios -rewrite writes what happens into the files.
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata/scenarios", func(t *testing.T, path string) {
		s := &scenario{}
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
	*entity
	t        *testing.T
	world    *model.World
	in       plan.Input
	over     bool // the operation
	unknowns []string
}

// beginnings are the commands that begin an operation.
var beginnings = map[string]fleet.OperationKind{
	"create": fleet.CreateCluster, "decommission": fleet.DecommissionCluster, "upscale": fleet.UpscaleCluster, "scale": fleet.ScaleCluster,
	"failover": fleet.FailoverMember, "migrate": fleet.MigrateByLearner, "upgrade": fleet.UpgradeCluster, "roll": fleet.RollCluster,
	"move-leader": fleet.ChangeLeader, "stop": fleet.StopCluster, "start": fleet.StartCluster,
	"backup": fleet.BackupCluster, "recover": fleet.RecoverQuorum, "restore": fleet.RestoreCluster,
	"put-back": fleet.RestorePrefixes, "discard": fleet.DiscardSetAside,
}

func (s *scenario) do(d *datadriven.TestData) (string, error) {
	if kind, begins := beginnings[d.Cmd]; begins {
		s.cancel()
		if kind == fleet.RecoverQuorum {
			s.world.Candid() // which recoveries look closely at
		}
		target, options, err := s.wanted(d)
		if err != nil {
			return "", err
		}
		return s.begin(s.operation(kind, target, options)), nil
	}
	switch d.Cmd {
	case "cluster":
		return s.cluster(d)
	case "resume":
		s.cancel()
		return s.begin(s.resume()), nil
	case "incarnation":
		s.entity = newEntity(s.spec)
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
	case "until":
		return s.until(d), nil
	case "run":
		return s.run(func(fleet.Decision) bool { return false }), nil
	case "observe":
		return s.observe(), nil
	case "loss":
		in := s.look()
		return strings.Join(plan.Loss(in, plan.Next(in)), "\n") + "\n", nil
	case "left":
		return strings.Join(plan.Left(s.look()), "\n") + "\n", nil
	case "fault", "hide", "show", "cut":
		return s.fault(d)
	}
	return "", fmt.Errorf("there is no command %q", d.Cmd)
}

func (s *scenario) cluster(d *datadriven.TestData) (string, error) {
	s.world = model.New().Slow()
	spec := fleet.Spec{
		Name: "orders", Provider: "local", Region: "local-1", Zones: []string{"a", "b", "c"},
		Etcd: fleet.EtcdSpec{Version: "3.7.3"}, Machine: fleet.MachineSpec{Type: "small", Disk: fleet.DiskSpec{Category: "ssd"}},
	}
	for _, arg := range d.CmdArgs {
		var err error
		switch arg.Key {
		case "name":
			spec.Name = arg.Vals[0]
		case "voters":
			spec.Voters, err = strconv.Atoi(arg.Vals[0])
		case "learners":
			spec.Learners, err = strconv.Atoi(arg.Vals[0])
		case "zones":
			spec.Zones = arg.Vals
		case "standby":
			spec.Standby.Zones = arg.Vals
		case "standby-region":
			spec.Standby.Region = arg.Vals[0]
		case "standby-type":
			spec.Standby.Machine.Type = arg.Vals[0]
		case "version":
			spec.Etcd.Version = arg.Vals[0]
		case "max-learners":
			spec.Etcd.MaxLearners, err = strconv.Atoi(arg.Vals[0])
		case "retypes":
			s.world.Retyping(arg.Vals...)
		default:
			err = fmt.Errorf("cluster has no %q", arg.Key)
		}
		if err != nil {
			return "", err
		}
	}
	s.entity, s.over = newEntity(spec.WithDefaults()), true
	s.uid = "7f3a"
	return "", s.spec.Validate().Err("cluster")
}

// wanted is what the cluster is to be after an operation, and how it is asked for.
func (s *scenario) wanted(d *datadriven.TestData) (fleet.Spec, fleet.Options, error) {
	spec, options := s.spec.Clone(), fleet.Options{}
	for _, arg := range d.CmdArgs {
		value, err := "", error(nil)
		if len(arg.Vals) > 0 {
			value = arg.Vals[0]
		}
		switch arg.Key {
		case "skip-final-snapshot":
			options.SkipFinalSnapshot = true
		case "allow-downtime":
			options.AllowDowntime = true
		case "members":
			options.Members = arg.Vals
		case "without":
			options.Without = arg.Vals
		case "survivor":
			options.Survivor = value
		case "from-backup":
			options.FromBackup = value
		case "leave":
			options.Leave = value
		case "backup":
			options.Restore = &fleet.Restore{Cluster: "orders", UID: "u0", ID: value, Taken: time.Unix(0, 0), Revision: 4203, Keys: 1200}
			if d.Cmd == "put-back" {
				options.Restore.Prefixes = []string{"/shop/"}
			}
		case "certificates":
			options.Certificates = fleet.CertificateChange(value)
		case "type":
			spec.Machine.Type = value
		case "change":
			spec.Machine.Change = fleet.MachineChange(value)
		case "category":
			spec.Machine.Disk.Category = value
		case "disk":
			spec.Machine.Disk.Size, err = fleet.ParseBytes(value)
		case "quota":
			spec.Etcd.Quota, err = fleet.ParseBytes(value)
		case "voters":
			spec.Voters, err = strconv.Atoi(value)
		case "learners":
			spec.Learners, err = strconv.Atoi(value)
		case "zones":
			spec.Zones = arg.Vals
		case "version":
			spec.Etcd.Version = value
		case "max-learners":
			spec.Etcd.MaxLearners, err = strconv.Atoi(value)
		case "snapshot-count":
			spec.Etcd.SnapshotCount, err = strconv.ParseInt(value, 10, 64)
		default:
			err = fmt.Errorf("%s has no %q", d.Cmd, arg.Key)
		}
		if err != nil {
			return spec, options, err
		}
	}
	return spec, options, spec.Validate().Err(d.Cmd)
}

// begin begins an operation with no failures. Without it, the one before goes on, as
// it does when another worker takes over.
func (s *scenario) begin(op fleet.Operation) string {
	s.in, s.over = input(op), false
	return s.plan()
}

// cancel ends the operation in hand.
func (s *scenario) cancel() {
	if !s.over {
		s.settle(s.in, false, true, false)
		s.over = true
	}
}

func (s *scenario) look() plan.Input {
	s.in.Observation = s.world.Observe()
	s.in.Observation.Unknowns = append(s.in.Observation.Unknowns, s.unknowns...)
	met(&s.in, s.in.Observation)
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

// end says how an operation ended. One that waits goes on.
func (s *scenario) end(d fleet.Decision) string {
	if d.Verdict != fleet.VerdictWait && !s.over {
		s.settle(s.in, d.Verdict == fleet.VerdictDone, true, false)
		s.over = true
	}
	return verdict(d)
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
			return b.String() + s.end(decision)
		}
		b.WriteString(s.wave(decision.Wave, only, effects))
	}
	return b.String()
}

func (s *scenario) until(d *datadriven.TestData) string {
	var kind string
	d.ScanArgs(s.t, "kind", &kind)
	return s.run(func(d fleet.Decision) bool {
		return slices.ContainsFunc(d.Wave, func(step fleet.Step) bool { return string(step.Kind) == kind })
	})
}

func (s *scenario) run(stop func(fleet.Decision) bool) string {
	var b strings.Builder
	for range 120 {
		decision := plan.Next(s.look())
		switch {
		case decision.Verdict != fleet.VerdictAct:
			return b.String() + s.end(decision)
		case stop(decision):
			return b.String()
		}
		b.WriteString(s.wave(decision.Wave, "", -1))
	}
	return b.String() + "no end after 120 waves\n"
}

// wave does a wave, records what fails as a workflow does, and says so.
func (s *scenario) wave(steps []fleet.Step, only string, effects int) string {
	var b strings.Builder
	b.WriteString(plan.Words(steps) + "\n")
	for _, step := range steps {
		if only != "" && step.Member != only {
			continue
		}
		s.in.Begin(s.in.Operation.Cluster, step)
		all, err := s.world.Effects(s.in.Operation, step)
		crashed := effects >= 0 && effects < len(all)
		if crashed {
			fmt.Fprintf(&b, "    %s: crashed after %d of %d effects\n", step, effects, len(all))
			all = all[:effects]
		}
		for _, effect := range all {
			effect()
		}
		switch {
		case err != nil:
			fmt.Fprintf(&b, "    %s failed: %s%s\n", step, err, s.token(step))
			s.in.Fail(step, fleet.KindOf(err), err.Error())
		case !crashed:
			s.in.Done(step, s.in.Observation)
		}
	}
	return b.String()
}

// token says which token a purchase that failed had: another try has another one.
func (s *scenario) token(step fleet.Step) string {
	if step.Kind != fleet.LaunchHost && step.Kind != fleet.AttachDisk {
		return ""
	}
	return " (token " + step.Token + ")"
}
