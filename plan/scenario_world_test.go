package plan_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/datadriven"

	"github.com/flotilla-etcd/flotilla/fleet"
)

func (s *scenario) observe() string {
	var b strings.Builder
	obs := s.look().Observation
	for _, h := range obs.Hosts {
		fmt.Fprintf(&b, "host %s  %s in %s, %s, %s", h.ID, h.Member(), h.Zone, h.Type, h.State)
		if m := h.Report.Find(h.Member()); m != nil {
			fmt.Fprintf(&b, ", member %s", m.State)
			if m.TrustIsOld {
				b.WriteString(" with an old bundle")
			}
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
		fmt.Fprintf(&b, "disk %s  %s in %s, %s %s, %s\n", d.ID, d.Member(), d.Zone, d.Size, d.Category, at)
	}
	for _, m := range obs.Members {
		b.WriteString(s.member(m, obs))
	}
	if obs.FinalSnapshot != nil {
		closed := ""
		if !obs.FinalSnapshot.Closed.IsZero() {
			closed = ", closed"
		}
		fmt.Fprintf(&b, "final snapshot by %s at revision %d%s\n", obs.FinalSnapshot.Operation, obs.FinalSnapshot.Revision, closed)
	}
	fmt.Fprintf(&b, "quorum: %v, authority: %v\n", obs.Quorum, obs.Authority)
	if t := obs.Trust; t.Other != "" || t.Signer != "ca-1" {
		fmt.Fprintf(&b, "authorities: %s signs, the other one is %q\n", t.Signer, t.Other)
	}
	if obs.Downgrade != "" {
		fmt.Fprintf(&b, "a downgrade to %s is enabled\n", obs.Downgrade)
	}
	return b.String()
}

// member is a member in a line.
func (s *scenario) member(m fleet.ObservedMember, obs fleet.Observation) string {
	var b strings.Builder
	kind := "voter"
	if m.Learner {
		kind = "learner"
	}
	fmt.Fprintf(&b, "%s %q, ", kind, m.Name)
	if !m.Answers {
		return b.String() + "does not answer\n"
	}
	fmt.Fprintf(&b, "etcd %s", m.Version)
	if h := obs.Host(m.Name); h != nil {
		run := h.Report.Find(m.Name)
		if run != nil && run.Configured != nil && run.Configured.Settings != s.spec.Etcd.EtcdSettings {
			fmt.Fprintf(&b, " (quota %s, snapshot-count %d, max-learners %d)", run.Configured.Settings.Quota,
				run.Configured.Settings.SnapshotCount, run.Configured.Settings.MaxLearners)
		}
	}
	if m.Applied == 0 {
		b.WriteString(", behind")
	}
	if m.Leader {
		b.WriteString(", leads")
	}
	return b.String() + "\n"
}

// fault breaks something, or mends it:
//
//	lose-host | halt-host | lose-disk | spoil-disk orders-2
//	stop | start orders-1                       its process, by a hand
//	stick | free orders-4                       it stays behind the leader, or not
//	elect orders-2                              it leads from now on
//	no-stock | stock | zone-gone | zone-silent | zone-back zones=(a,b)
//	bad | good version=3.7.3                    its members never serve
//	unknown | known                             what cannot be seen, in the input's words
//	write                                       a client writes; no fault at all
//	record                                      a backup is taken, or changes since are stored
//	settle                                      what is under way comes to its end
func (s *scenario) fault(d *datadriven.TestData) (string, error) {
	args := d.CmdArgs
	last := args[len(args)-1].Key
	hosts, disks := s.world.HostsOf(last), s.world.DisksOf(last)
	slices.Sort(hosts)
	of := func(of []string, do func(id string)) error {
		if len(of) == 0 {
			return fmt.Errorf("%s has none", last)
		}
		do(of[0])
		return nil
	}
	world := s.world
	switch what := args[0].Key; what {
	case "no-stock", "stock", "zone-gone", "zone-silent", "zone-back":
		for _, zone := range args[1].Vals {
			map[string]func(){
				"no-stock": func() { world.SoldOut(zone, true) }, "stock": func() { world.SoldOut(zone, false) },
				"zone-gone": func() { world.LoseZone(zone, true) }, "zone-silent": func() { world.LoseZone(zone, false) },
				"zone-back": func() { world.ZoneBack(zone) },
			}[what]()
		}
	case "bad":
		world.Bad(args[1].Vals[0])
	case "good":
		world.Fix(args[1].Vals[0])
	case "write":
		world.Write()
	case "record":
		world.Record()
	case "unknown":
		s.unknowns = []string{strings.TrimSpace(d.Input)}
	case "known":
		s.unknowns = nil
	case "settle":
		world.Settle()
	case "stop":
		world.StopProcess(last)
	case "start":
		world.StartProcess(last)
	case "stick", "free":
		world.Stick(last, what == "stick")
	case "elect":
		world.Elect(last)
	case "lose-host":
		return "", of(hosts, world.LoseHost)
	case "halt-host":
		return "", of(hosts, world.HaltHost)
	case "lose-disk":
		return "", of(disks, world.LoseDisk)
	case "spoil-disk":
		return "", of(disks, world.SpoilData)
	case "host":
		return "", of(hosts, func(id string) {
			if world.Silence(id, d.Cmd != "show"); d.Cmd == "cut" {
				world.Cut(id)
			}
		})
	default:
		return "", fmt.Errorf("there is no fault %q", what)
	}
	return "", nil
}
