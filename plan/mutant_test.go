package plan_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/plan"
)

// mutants are planners with one mistake each. That the walks find every one of
// them says that they look where it matters.
var mutants = map[string]func(looks int, in plan.Input) fleet.Decision{
	"buys with a new token at each look": func(looks int, in plan.Input) fleet.Decision {
		return each(plan.Next(in), func(s *fleet.Step) {
			if s.Kind == fleet.LaunchHost && s.HostID == "" {
				s.Token += string(rune('A' + looks%26))
			}
		})
	},
	"buys with the operation's token": func(_ int, in plan.Input) fleet.Decision {
		return each(plan.Next(in), func(s *fleet.Step) {
			if s.Kind == fleet.LaunchHost {
				s.Token = in.Operation.ID + s.Token
			}
		})
	},
	"chooses zones by the hosts that it sees": func(_ int, in plan.Input) fleet.Decision {
		return each(plan.Next(in), func(s *fleet.Step) {
			if zones := in.Operation.Spec.Zones; s.Kind == fleet.LaunchHost && s.HostID == "" {
				s.Zone = zones[len(in.Observation.Hosts)%len(zones)]
			}
		})
	},
	"uses a disk again that outlived its host": func(_ int, in plan.Input) fleet.Decision {
		in.Observation.Disks = append([]fleet.Disk(nil), in.Observation.Disks...)
		for i := range in.Observation.Disks {
			d := &in.Observation.Disks[i]
			if h := in.Observation.Host(d.Member()); h != nil && d.HostID == "" {
				d.HostID = h.ID // attached soon
			}
		}
		return plan.Next(in)
	},
	"restarts one member twice in a wave": func(_ int, in plan.Input) fleet.Decision {
		d := plan.Next(in)
		if len(d.Wave) > 0 && d.Wave[0].Kind == fleet.StartMember {
			d.Wave = append(d.Wave, d.Wave[0])
		}
		return d
	},
	"needs no snapshot": func(_ int, in plan.Input) fleet.Decision {
		in.Operation.Options.SkipFinalSnapshot = true
		return plan.Next(in)
	},
	"trusts the snapshot of an earlier attempt": func(_ int, in plan.Input) fleet.Decision {
		if s := in.Observation.FinalSnapshot; s != nil {
			again := *s
			again.Closed = again.Verified
			in.Observation.FinalSnapshot = &again
		}
		return plan.Next(in)
	},
	"takes silence for never started": func(_ int, in plan.Input) fleet.Decision {
		in.Observation.Hosts = append([]fleet.ObservedHost(nil), in.Observation.Hosts...)
		for i := range in.Observation.Hosts {
			if h := &in.Observation.Hosts[i]; h.Report == nil {
				h.Report = &fleet.HostReport{}
			}
		}
		return plan.Next(in)
	},
	"takes unknown for absent": func(_ int, in plan.Input) fleet.Decision {
		in.Observation.Unknowns = nil
		return plan.Next(in)
	},
	"forgets the protection": func(_ int, in plan.Input) fleet.Decision {
		in.Operation.Spec.DeletionProtection = false
		return plan.Next(in)
	},
	"is done before the disks are gone": func(_ int, in plan.Input) fleet.Decision {
		d := plan.Next(in)
		if in.Operation.Kind == fleet.DecommissionCluster && len(d.Wave) > 0 && d.Wave[0].Kind == fleet.DestroyAuthority {
			return fleet.Decision{Verdict: fleet.VerdictDone, Reason: "done"}
		}
		return d
	},
}

// each gives a decision with its steps changed.
func each(d fleet.Decision, change func(*fleet.Step)) fleet.Decision {
	d.Wave = append([]fleet.Step(nil), d.Wave...)
	for i := range d.Wave {
		change(&d.Wave[i])
	}
	return d
}

// foundIn are lives in which mutants were found: those that take long to find are looked
// for there first.
var foundIn = map[string]uint64{
	"trusts the snapshot of an earlier attempt": 1238, "goes to 3.7 without a raft snapshot": 134, "promotes without sync": 109,
	"takes silence for never started": 101, "uses a disk again that outlived its host": 92,
}

// livesOfMutants is how many lives a mutant may have without breaking its rule.
const livesOfMutants = 3000

func TestWalksFindEveryMutant(t *testing.T) {
	for name, mutant := range mutants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			looks := 0
			findMutant(t, name, "", "", (*walk).shortLife, func(in plan.Input) fleet.Decision {
				looks++
				return mutant(looks, in)
			})
		})
	}
	for name, mutant := range changeMutants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			findMutant(t, name, mutant.breaks, mutant.theme, (*walk).longLife, mutant.next)
		})
	}
}

// findMutant lives lives until a mutant breaks the rule that has these words.
func findMutant(t *testing.T, name, breaks string, theme fleet.OperationKind, life func(*walk), next planner) {
	for n := range uint64(livesOfMutants) {
		seed := (foundIn[name] + n) % livesOfMutants
		err := newWalk(about(theme, dice(seed)), next, newTally()).live(life)
		if err != nil && strings.Contains(strings.SplitN(err.Error(), "\n", 2)[0], breaks) {
			t.Logf("found in life %d, the %dth: %.160s", seed, n+1, err)
			return
		}
	}
	require.Fail(t, "a planner that "+name+" broke no rule", "in %d lives", livesOfMutants)
}
