package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// upscale changes what members run on, up or down.
func upscale() *verb {
	var machine, category string
	var disk, quota fleet.Bytes
	var inPlace, replace bool
	return &verb{
		kind: fleet.UpscaleCluster, use: "upscale NAME", short: "Change machine type, disk and quota, up or down",
		long: `Change machine type, disk and quota, up or down, one member at a time and the
leader last, moved away first. A disk grows where it is, and becomes one of another
category there if the provider can do that; for another type, other categories, or a
smaller disk, a new member joins as a learner, catches up, gets its vote, and only
then the old one leaves. With --in-place the host is stopped, its type changed, and
started again.

The quota follows the disk, unless --quota is given.`,
		example: `  flotilla upscale orders --type medium
  flotilla upscale orders --disk 40GiB
  flotilla upscale orders --type medium --in-place --soak 1m`,
		fields: map[string]string{
			"machine.type": "type", "machine.disk.size": "disk", "machine.disk.category": "category", "etcd.quota": "quota",
		},
		flags: func(cmd *cobra.Command) {
			flags := cmd.Flags()
			flags.StringVar(&machine, "type", "", "machine `type` of the provider")
			flags.Var(amount{&disk}, "disk", "size of each member's data disk, as in 40GiB")
			flags.StringVar(&category, "category", "", "disk `category` of the provider")
			flags.Var(amount{&quota}, "quota", "limit of the store, as in 4GiB (default: it follows the disk)")
			flags.BoolVar(&inPlace, "in-place", false, "change the type of the hosts that are there, from now on")
			flags.BoolVar(&replace, "replace", false, "change the type through new hosts, from now on")
		},
		wish: func(cmd *cobra.Command, _ []string) (wish, error) {
			if err := given(cmd, "type", "disk", "category", "quota"); err != nil {
				return wish{}, err
			}
			set := cmd.Flags().Changed
			return wish{spec: func(s *fleet.Spec) {
				if set("disk") && !set("quota") {
					s.Etcd.Quota = s.QuotaFor(disk)
				}
				assign(&s.Machine.Type, machine, set("type"))
				assign(&s.Machine.Disk.Size, disk, set("disk"))
				assign(&s.Machine.Disk.Category, category, set("category"))
				assign(&s.Etcd.Quota, quota, set("quota"))
				assign(&s.Machine.Change, fleet.ResizeMachine, inPlace)
				assign(&s.Machine.Change, fleet.ReplaceMachine, replace)
			}}, atMostOneOf(cmd, "in-place", "replace")
		},
	}
}

func assign[T any](field *T, value T, given bool) {
	if given {
		*field = value
	}
}

// scale changes how many members there are.
func scale() *verb {
	var voters, learners int
	return &verb{
		kind: fleet.ScaleCluster, use: "scale NAME", short: "Change the number of voters and learners",
		long: `Change the number of voters (1, 3, 5, 7) and of learners. New members join as
learners and get their vote when they are in sync. Of those that are too many the
unhealthy leave first, then those in a crowded zone, and the leader never before
another leads.

More learners than etcd.maxLearners allows need that raised on every member: then
the members are rolled first.`,
		example: `  flotilla scale orders --voters 5
  flotilla scale orders --learners 2`,
		fields: map[string]string{"voters": "voters", "learners": "learners", "etcd.maxLearners": "learners"},
		flags: func(cmd *cobra.Command) {
			cmd.Flags().Var(number{&voters}, "voters", "voting members: 1, 3, 5 or 7")
			cmd.Flags().Var(number{&learners}, "learners", "members that follow without a vote")
		},
		wish: func(cmd *cobra.Command, _ []string) (wish, error) {
			set := cmd.Flags().Changed
			return wish{spec: func(s *fleet.Spec) {
				assign(&s.Voters, voters, set("voters"))
				assign(&s.Learners, learners, set("learners"))
				if set("learners") {
					s.Etcd.MaxLearners = max(s.Etcd.MaxLearners, learnersNeeded(*s))
				}
			}}, given(cmd, "voters", "learners")
		},
	}
}

// learnersNeeded is how many learners must be allowed for a spec's own, and one more
// for a voter that comes in; 3.5 knows only one.
func learnersNeeded(s fleet.Spec) int {
	if s.Learners > 0 && fleet.Minor(s.Etcd.Version) != "3.5" {
		return s.Learners + 1
	}
	return s.Learners
}

// migrate moves members to new hosts.
func migrate() *verb {
	var members, zones []string
	var provider, region, machine, category, class string
	return &verb{
		kind: fleet.MigrateByLearner, use: "migrate NAME", short: "Move members to new hosts, through learners",
		long: `Move members to new hosts, one by one: a learner joins on the new host, catches up,
gets its vote, the leader moves away, the old voter leaves, and its host is given
back. All members move, or those that --member names; that drains a host.

They may move to another region, also of another provider, with the machine types and
disk categories of that one. Its workers do the work: they need --reach for the region
that the cluster is in, and members of both must reach each other.`,
		example: `  flotilla migrate orders
  flotilla migrate orders --member orders-2
  flotilla migrate orders --zones b,c,d
  flotilla migrate orders --region local-2 --zones a,b,c`,
		fields: map[string]string{
			"provider": "provider", "region": "region", "zones": "zones",
			"machine.type": "type", "machine.disk.category": "category", "class": "class",
		},
		flags: func(cmd *cobra.Command) {
			flags := cmd.Flags()
			flags.StringSliceVar(&members, "member", nil, "`member` to move; may repeat (default: all)")
			flags.StringSliceVar(&zones, "zones", nil, "`zones` that members go to, as in a,b,c")
			flags.StringVar(&provider, "provider", "", "`provider` that the cluster moves to")
			flags.StringVar(&region, "region", "", "`region` that the cluster moves to")
			flags.StringVar(&machine, "type", "", "machine `type` of the new hosts")
			flags.StringVar(&category, "category", "", "disk `category` of the new disks")
			flags.StringVar(&class, "class", "", "QoS `class`, which says which pool of hosts: Guaranteed, Burstable or BestEffort")
			complete(cmd, "class", string(fleet.Guaranteed), string(fleet.Burstable), string(fleet.BestEffort))
		},
		wish: func(cmd *cobra.Command, _ []string) (wish, error) {
			set := cmd.Flags().Changed
			if all := []string{"provider", "region", "type", "category", "class"}; len(members) > 0 && anyOf(cmd, all...) {
				return wish{}, usageError(cmd, fmt.Errorf("--%s are for all members: leave --member out", strings.Join(all, ", --")))
			}
			w := wish{options: fleet.Options{Members: members}}
			if anyOf(cmd, "provider", "region", "zones", "type", "category", "class") {
				w.spec = func(s *fleet.Spec) {
					assign(&s.Provider, provider, set("provider"))
					assign(&s.Region, region, set("region"))
					assign(&s.Zones, slices.Clone(zones), set("zones"))
					assign(&s.Machine.Type, machine, set("type"))
					assign(&s.Machine.Disk.Category, category, set("category"))
					assign(&s.Class, fleet.Class(class), set("class"))
				}
			}
			return w, nil
		},
	}
}

// switchover exchanges the places of the voters and of the standby.
func switchover() *verb {
	return &verb{
		kind: fleet.MigrateByLearner, use: "switchover NAME", short: "Move the voters to where the standby is, and the standby to where they were",
		long: `Exchange the places of the voters and of the standby, in zones of the same region or in
regions of their own: what standby.zones says becomes the cluster's home, and its home
becomes the standby's place. Members move as flotilla migrate moves them, one by one through
learners on new hosts. Nothing that was acknowledged is lost, clients that follow the
record are switched with it, and asking for it again brings the cluster home.

It needs voters that serve. Where they are gone: flotilla recover.`,
		example: `  flotilla switchover orders
  flotilla plan switchover orders`,
		fields: map[string]string{},
		wish: func(*cobra.Command, []string) (wish, error) {
			return wish{spec: func(s *fleet.Spec) { *s = s.SwitchedOver() }}, nil
		},
		check: func(view workflows.ClusterView) (string, error) {
			if len(view.Spec.Standby.Zones) > 0 {
				return "", nil
			}
			return "", fleet.Errorf(fleet.Invalid, view.Summary.Name, "has no standby").
				WithRemedy("declare one in its document (standby.zones, learners: 1), and flotilla apply it")
		},
	}
}

// upgrade changes the release of etcd.
func upgrade() *verb {
	var to string
	return &verb{
		kind: fleet.UpgradeCluster, use: "upgrade NAME", short: "Change the release of etcd, up or down",
		long: `Change the release of etcd, up or down, one minor at a time: member by member, the
leader last, each one in sync before the next. A member that does not come back on
the new release is rolled back, and the upgrade stops there.`,
		example: `  flotilla upgrade orders --to 3.7.3
  flotilla plan upgrade orders --to 3.6.16`,
		fields: map[string]string{"etcd.version": "to"},
		flags: func(cmd *cobra.Command) {
			cmd.Flags().StringVar(&to, "to", "", "`version` of etcd, as in 3.7.3")
		},
		wish: func(cmd *cobra.Command, _ []string) (wish, error) {
			return wish{spec: func(s *fleet.Spec) { s.Etcd.Version = to }}, given(cmd, "to")
		},
	}
}

// roll restarts members with other settings, or changes certificates.
func roll() *verb {
	var members, settings []string
	var certificates, trust, use, drop bool
	ways := []string{"certificates", "trust-new-ca", "use-new-ca", "drop-old-ca"}
	return &verb{
		kind: fleet.RollCluster, use: "roll NAME", short: "Restart members with new settings, or renew certificates",
		long: `Restart members one by one, the leader last, with the settings that --set changes or
with those they have.

With --certificates every member gets new certificates, without a restart. The
authority itself is replaced in three calls, so that clients can learn of the new one
in between (flotilla env): --trust-new-ca, then --use-new-ca, then --drop-old-ca.`,
		example: `  flotilla roll orders --set etcd.heartbeatInterval=200ms --set etcd.electionTimeout=2s
  flotilla roll orders --member orders-2
  flotilla roll orders --certificates`,
		fields: map[string]string{},
		flags: func(cmd *cobra.Command) {
			flags := cmd.Flags()
			flags.StringSliceVar(&members, "member", nil, "`member` to roll; may repeat (default: all)")
			flags.StringArrayVar(&settings, "set", nil, "change a setting of etcd, as in etcd.heartbeatInterval=200ms; may repeat")
			flags.BoolVar(&certificates, "certificates", false, "sign all members' certificates anew, without a restart")
			flags.BoolVar(&trust, "trust-new-ca", false, "make a second authority; members and clients trust both")
			flags.BoolVar(&use, "use-new-ca", false, "have the second authority sign all certificates")
			flags.BoolVar(&drop, "drop-old-ca", false, "trust the first authority no more")
		},
		wish: func(cmd *cobra.Command, _ []string) (wish, error) {
			w := wish{options: fleet.Options{Members: members}}
			for i, on := range []bool{certificates, trust, use, drop} {
				if on {
					w.options.Certificates = []fleet.CertificateChange{fleet.RenewLeaves, fleet.TrustNewCA, fleet.UseNewCA, fleet.DropOldCA}[i]
				}
			}
			if err := atMostOneOf(cmd, ways...); err != nil {
				return w, err
			}
			if len(members) > 0 && anyOf(cmd, ways[1:]...) {
				return w, usageError(cmd, errors.New("an authority is replaced on all members: leave --member out"))
			}
			if len(settings) == 0 {
				return w, nil
			}
			if w.options.Certificates != "" || len(members) > 0 {
				return w, usageError(cmd, errors.New("--set changes all members, and nothing else at the same time: leave --member and the certificates out"))
			}
			change, err := parseSettings(settings)
			if err != nil {
				return w, usageError(cmd, fmt.Errorf("--set: %w", err))
			}
			w.spec = change
			return w, nil
		},
	}
}

// parseSettings reads settings such as etcd.heartbeatInterval=200ms as strictly as a
// document is read.
func parseSettings(settings []string) (func(*fleet.Spec), error) {
	values := map[string]string{}
	for _, text := range settings {
		path, value, ok := strings.Cut(text, "=")
		switch verb := elsewhere[path]; {
		case !ok || value == "":
			return nil, fmt.Errorf("%q is not of the form etcd.FIELD=VALUE", text)
		case verb != "":
			return nil, fmt.Errorf("%s is changed by %s", path, verb)
		case !strings.HasPrefix(path, "etcd."):
			return nil, fmt.Errorf("%s is no setting of etcd; those are etcd.heartbeatInterval and so on", path)
		}
		if _, twice := values[path]; twice {
			return nil, fmt.Errorf("%s is set twice", path)
		}
		values[path] = value
	}
	// Tried on an empty one, it tells what is no field and no value whatever the cluster is.
	var spec fleet.Spec
	if err := setFields(&spec, values); err != nil {
		return nil, err
	}
	return func(s *fleet.Spec) { _ = setFields(s, values) }, nil
}

// elsewhere are the fields that another verb changes.
var elsewhere = map[string]string{
	"etcd.version": "flotilla upgrade --to", "etcd.quota": "flotilla upscale --quota",
	"voters": "flotilla scale --voters", "learners": "flotilla scale --learners",
	"machine.type": "flotilla upscale --type", "machine.disk.size": "flotilla upscale --disk",
	"machine.disk.category": "flotilla upscale --category", "provider": "flotilla migrate --provider", "region": "flotilla migrate --region",
	"zones": "flotilla migrate --zones", "class": "flotilla migrate --class",
}
