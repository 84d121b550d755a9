package plan_test

import (
	"slices"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/plan"
)

// changeMutant is a planner of changes with one mistake, and the words of the rule that
// it breaks.
type changeMutant struct {
	breaks string
	next   planner
	// theme is what most operations of its lives are, where others do not show it.
	theme fleet.OperationKind
}

var changeMutants = map[string]changeMutant{
	"disturbs the leader": {"it leads", func(in plan.Input) fleet.Decision {
		in.Observation.Leader = "somebody else"
		return plan.Next(in)
	}, ""},
	"restarts two at once": {"one wave disturbs", func(in plan.Input) fleet.Decision {
		d := plan.Next(in)
		if len(d.Wave) == 1 && d.Wave[0].Kind == fleet.RestartMember {
			for _, h := range in.Observation.Hosts {
				if run := h.Report.Find(h.Member()); run != nil && run.State == fleet.MemberRunning && h.Member() != d.Wave[0].Member {
					again := d.Wave[0]
					again.Member, again.HostID, again.Token = h.Member(), h.ID, again.Token+"2"
					d.Wave = append(slices.Clone(d.Wave), again)
					break
				}
			}
		}
		return d
	}, ""},
	"promotes without sync": {"it is not up and in sync", func(in plan.Input) fleet.Decision {
		return plan.Next(members(in, func(m *fleet.ObservedMember) {
			if m.Answers {
				m.Applied = 1
			}
		}))
	}, ""},
	"promotes the dead": {"it is not up and in sync", func(in plan.Input) fleet.Decision {
		return instead(plan.Next(in), fleet.AwaitInSync, func(s *fleet.Step) {
			if m := in.Observation.Member(s.Member); m != nil && m.Learner {
				s.Kind = fleet.Promote
			}
		})
	}, ""},
	"removes before adding where all are healthy": {"voters would be left of", func(in plan.Input) fleet.Decision {
		return instead(plan.Next(in), fleet.AddLearner, func(s *fleet.Step) {
			for _, m := range in.Observation.Members {
				if h := in.Observation.Host(m.Name); h != nil && !m.Learner && m.Answers && !m.Leader {
					*s = fleet.Step{Kind: fleet.RemoveMember, Member: m.Name, MemberID: m.ID, HostID: h.ID, Token: s.Token}
				}
			}
		})
	}, ""},
	"adds before removing where one is dead": {"etcd adds nobody before it is removed", func(in plan.Input) fleet.Decision {
		if in.Operation.Kind != fleet.FailoverMember {
			return plan.Next(in)
		}
		in.Observation.Members = slices.DeleteFunc(slices.Clone(in.Observation.Members), func(m fleet.ObservedMember) bool { return !m.Answers && m.Name != "" })
		return plan.Next(in)
	}, ""},
	"takes silence for death": {"it is alive", func(in plan.Input) fleet.Decision {
		in.Observation.Evidence = slices.Clone(in.Observation.Evidence)
		for i := range in.Observation.Evidence {
			e := &in.Observation.Evidence[i]
			e.Peers, e.Host, e.Cloud, e.DiskLost = fleet.SaysDead, fleet.SaysDead, fleet.SaysDead, true
		}
		return plan.Next(in)
	}, ""},
	"uses a name again": {"was a member once", func(in plan.Input) fleet.Decision {
		return instead(plan.Next(in), fleet.LaunchHost, func(s *fleet.Step) {
			first := in.Operation.Cluster + "-1"
			if !making(in.Operation.Kind) && s.HostID == "" && s.DiskID == "" && in.Observation.Member(first) == nil {
				s.Member = first
			}
		})
	}, ""},
	"releases a host before its member left": {"its member is one", func(in plan.Input) fleet.Decision {
		return instead(plan.Next(in), fleet.RemoveMember, func(s *fleet.Step) {
			if s.HostID != "" {
				s.Kind = fleet.ReleaseHost
			}
		})
	}, ""},
	"deletes the disk of a member": {"which is a member", func(in plan.Input) fleet.Decision {
		return instead(plan.Next(in), fleet.RemoveMember, func(s *fleet.Step) {
			if s.DiskID != "" {
				s.Kind = fleet.DeleteDisk
			}
		})
	}, ""},
	"does not wait until members have settled": {"has not been for long", func(in plan.Input) fleet.Decision {
		return plan.Next(reports(in, func(m *fleet.MemberReport) { m.Up = fleet.Duration(time.Hour) }))
	}, ""},
	"disturbs the last of a quorum": {"stay healthy", func(in plan.Input) fleet.Decision {
		return plan.Next(members(in, func(m *fleet.ObservedMember) { m.Answers, m.Applied = true, 1 }))
	}, ""},
	"forgets what it bought": {"was bought for, and is not used", func(in plan.Input) fleet.Decision {
		in.Purchases = nil
		return plan.Next(in)
	}, ""},
	"gives a voter an empty disk": {"its data was on another", func(in plan.Input) fleet.Decision {
		d := plan.Next(in)
		for _, m := range in.Observation.Members {
			h := in.Observation.Host(m.Name)
			if d.Verdict == fleet.VerdictWait && h != nil && h.State == fleet.HostRunning && in.Observation.Disk(m.Name) == nil {
				return fleet.Decision{Verdict: fleet.VerdictAct, Wave: []fleet.Step{{
					Kind: fleet.AttachDisk, Member: m.Name, Zone: h.Zone, HostID: h.ID, Token: "a new disk for " + m.Name,
				}}}
			}
		}
		return d
	}, ""},
	"goes down without etcd's own downgrade": {"cannot serve with what is on its disk", func(in plan.Input) fleet.Decision {
		minor := fleet.Minor(in.Operation.Spec.Etcd.Version)
		down := slices.ContainsFunc(in.Observation.Members, func(m fleet.ObservedMember) bool { return fleet.Minor(m.Version) > minor })
		if in.Operation.Kind == fleet.UpgradeCluster && down {
			in.Observation.Downgrade = minor
			in = members(in, func(m *fleet.ObservedMember) { m.Storage = "" })
		}
		return plan.Next(in)
	}, fleet.UpgradeCluster},
	"goes to 3.7 without a raft snapshot": {"cannot serve with what is on its disk", func(in plan.Input) fleet.Decision {
		return plan.Next(reports(in, func(m *fleet.MemberReport) { m.RaftSnapshot, m.MinorSnapshot = 1<<40, 1 }))
	}, fleet.UpgradeCluster},
	"gives up on a bad release as it is": {"without a reason that holds", func(in plan.Input) fleet.Decision {
		d := plan.Next(in)
		if len(d.Wave) == 1 && d.Wave[0].Kind == fleet.RollBackMember {
			return fleet.Decision{Verdict: fleet.VerdictBlocked, Kind: fleet.Lost, Reason: "mend that and submit the operation again"}
		}
		return d
	}, ""},
	"adds more learners than members allow": {"allows", func(in plan.Input) fleet.Decision {
		in.Operation.Spec.Etcd.MaxLearners = 16
		return plan.Next(reports(in, func(m *fleet.MemberReport) {
			if m.Configured != nil {
				run := *m.Configured
				run.Settings.MaxLearners = 16
				m.Configured = &run
			}
		}))
	}, ""},
	"switches authorities before all trust both": {"do not trust each other", func(in plan.Input) fleet.Decision {
		if trust := in.Observation.Trust; in.Operation.Options.Certificates == fleet.UseNewCA && trust.Other != "" {
			in = reports(in, func(m *fleet.MemberReport) { m.Trusts, m.TrustIsOld = []string{trust.Signer, trust.Other}, false })
		}
		return plan.Next(in)
	}, fleet.RollCluster},
	"retires an authority while it is in use": {"do not trust each other", func(in plan.Input) fleet.Decision {
		if in.Operation.Options.Certificates == fleet.DropOldCA {
			in.Observation.Trust.Switched = true
			in = reports(in, func(m *fleet.MemberReport) { m.Issuer = in.Observation.Trust.Signer })
		}
		return plan.Next(in)
	}, fleet.RollCluster},
	"stops without a snapshot": {"nothing was saved before", func(in plan.Input) fleet.Decision {
		in.Operation.Options.SkipFinalSnapshot = in.Operation.Options.SkipFinalSnapshot || in.Operation.Kind == fleet.StopCluster
		return plan.Next(in)
	}, ""},
	"does not reopen the snapshot": {"the final snapshot is closed", func(in plan.Input) fleet.Decision {
		if in.Operation.Kind == fleet.StartCluster {
			in.Observation.FinalSnapshot = nil
		}
		return plan.Next(in)
	}, fleet.StopCluster},
	"leaves hosts behind": {"hosts and", func(in plan.Input) fleet.Decision {
		d := plan.Next(in)
		if !making(in.Operation.Kind) && len(d.Wave) > 0 && d.Wave[0].Kind == fleet.ReleaseHost && in.Observation.Member(d.Wave[0].Member) == nil {
			return fleet.Decision{Verdict: fleet.VerdictDone, Reason: "done"}
		}
		return d
	}, ""},
}

// instead changes the steps of a kind.
func instead(d fleet.Decision, kind fleet.StepKind, change func(*fleet.Step)) fleet.Decision {
	return each(d, func(s *fleet.Step) {
		if s.Kind == kind {
			change(s)
		}
	})
}

// members gives an input in which members answer otherwise.
func members(in plan.Input, change func(*fleet.ObservedMember)) plan.Input {
	in.Observation.Members = slices.Clone(in.Observation.Members)
	for i := range in.Observation.Members {
		change(&in.Observation.Members[i])
	}
	return in
}

// reports gives an input in which hosts say otherwise of their members.
func reports(in plan.Input, change func(*fleet.MemberReport)) plan.Input {
	in.Observation.Hosts = slices.Clone(in.Observation.Hosts)
	for i := range in.Observation.Hosts {
		h := &in.Observation.Hosts[i]
		if h.Report == nil {
			continue
		}
		report := *h.Report
		report.Members = slices.Clone(report.Members)
		for j := range report.Members {
			change(&report.Members[j])
		}
		h.Report = &report
	}
	return in
}
