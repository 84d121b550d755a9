package main

import (
	"github.com/spf13/cobra"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// failover replaces what is dead.
func failover() *verb {
	return &verb{
		kind: fleet.FailoverMember, use: "failover NAME [MEMBER…]", short: "Replace members that are dead",
		long: `Replace members that are dead: those that are named, or whichever are. A member is
dead when every witness says so over a while (the cloud, its host, its peers, its
client port); silence of a witness is no death. Failing over a member that lives is
refused: flotilla migrate moves it.`,
		example: `  flotilla failover orders
  flotilla failover orders orders-2`,
		members: manyMembers,
		wish: func(_ *cobra.Command, members []string) (wish, error) {
			return wish{options: fleet.Options{Members: members}}, nil
		},
	}
}

// moveLeader has another member lead.
func moveLeader() *verb {
	return &verb{
		kind: fleet.ChangeLeader, use: "move-leader NAME [MEMBER]", short: "Have another member lead",
		long: `Have another member lead: the one that is named, or any that is in sync instead of
the one that leads now.`,
		example: `  flotilla move-leader orders
  flotilla move-leader orders orders-3`,
		members: oneMember,
		wish: func(_ *cobra.Command, members []string) (wish, error) {
			return wish{options: fleet.Options{Members: members}, leave: len(members) == 0}, nil
		},
	}
}

// stop stops a cluster and keeps its disks.
func stop() *verb {
	var skip bool
	return &verb{
		kind: fleet.StopCluster, use: "stop NAME", short: "Stop a cluster: snapshot, then members and hosts; its disks stay",
		long: `Stop a cluster. A snapshot is stored and verified, then members and hosts stop. Disks
and certificates stay: flotilla start brings the same cluster back.

It asks for the name of the cluster on a terminal; elsewhere it wants --yes.`,
		example: `  flotilla stop orders
  flotilla stop orders --yes --skip-final-snapshot`,
		flags: func(cmd *cobra.Command) {
			cmd.Flags().BoolVar(&skip, "skip-final-snapshot", false, "take no snapshot: the disks are all that is left of the data")
		},
		wish: func(*cobra.Command, []string) (wish, error) {
			return wish{options: fleet.Options{SkipFinalSnapshot: skip}}, nil
		},
		warning: func(w wish) string {
			if w.options.SkipFinalSnapshot {
				return "stopping it takes it away from its clients, and no snapshot is taken first"
			}
			return "stopping it takes it away from its clients"
		},
	}
}

// start brings a stopped cluster back.
func start() *verb {
	return &verb{
		kind: fleet.StartCluster, use: "start NAME", short: "Start a stopped cluster",
		long:    "Start a stopped cluster: the same members on the same disks, with the same certificates.",
		example: "  flotilla start orders",
		wish:    func(*cobra.Command, []string) (wish, error) { return wish{}, nil },
	}
}

// discard deletes what restores and recoveries put aside.
func discard() *verb {
	return &verb{
		kind: fleet.DiscardSetAside, use: "discard NAME [MEMBER…]", short: "Delete the data that restores and recoveries kept aside",
		long: `Delete the data that restores in place and recoveries kept aside on the disks of a
cluster's members, or of those that are named, and the snapshots of disks that the cloud
was asked for before. The plan says how much each has, and how old snapshots are. It is done
only while the cluster serves, and no member is restarted for it. A spec's policy.keepAside
does it by itself after a time.

It asks for the name of the cluster on a terminal; elsewhere it wants --yes.`,
		example: `  flotilla plan discard orders
  flotilla discard orders --yes`,
		members: manyMembers,
		wish: func(_ *cobra.Command, members []string) (wish, error) {
			return wish{options: fleet.Options{Members: members}}, nil
		},
		warning: func(wish) string {
			return "what was there before a restore or a recovery is deleted for good"
		},
	}
}

// decommission takes a cluster down for good.
func decommission() *verb {
	var skip bool
	return &verb{
		kind: fleet.DecommissionCluster, use: "decommission NAME", short: "Take a cluster down: final snapshot, then hosts and disks",
		long: `Take a cluster down. A final snapshot is stored and verified by restoring it; only
then are members stopped and hosts, disks and secrets destroyed.

It asks for the name of the cluster on a terminal; elsewhere it wants --yes.`,
		example: `  flotilla decommission orders
  flotilla decommission orders --yes --skip-final-snapshot`,
		flags: func(cmd *cobra.Command) {
			cmd.Flags().BoolVar(&skip, "skip-final-snapshot", false, "take no last snapshot: the data is gone for good")
		},
		wish: func(*cobra.Command, []string) (wish, error) {
			return wish{options: fleet.Options{SkipFinalSnapshot: skip}}, nil
		},
		check: func(view workflows.ClusterView) (string, error) {
			name := view.Summary.Name
			switch {
			case view.Summary.Phase == fleet.PhaseGone:
				return name + " is gone already: there is nothing to do", nil
			case view.Spec.DeletionProtection:
				return "", fleet.Errorf(fleet.Blocked, name, "is protected from deletion").
					WithRemedy("turn that off first: flotilla protect %s --off", name)
			}
			return "", nil
		},
		warning: func(w wish) string {
			if w.options.SkipFinalSnapshot {
				return "decommissioning destroys it, and no final snapshot is taken: the data is gone for good"
			}
			return "decommissioning destroys it"
		},
	}
}
