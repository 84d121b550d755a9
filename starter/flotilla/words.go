package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// words says in a few words what a step of an operation does, for who does not know
// its name.
func words(s fleet.Step, operation fleet.Operation) string {
	say, ok := stepWords[s.Kind]
	switch {
	case !ok:
		return "" // of a worker that knows more than this program
	case s.Kind == fleet.RestoreMember && operation.Kind == fleet.CreateCluster:
		return "make its data from the backup"
	case s.Kind == fleet.SaveBackup && (s.At != nil || operation.Options.At != nil):
		return "make one of that moment, of a backup and the changes behind it"
	case s.Kind == fleet.RestartMember && operation.Kind == fleet.UpscaleCluster:
		return "restart it with the new quota"
	case s.Kind == fleet.RestartMember && operation.Kind != fleet.UpgradeCluster:
		return "restart it"
	}
	return say(s, operation.Spec)
}

// fixed is for steps that are always said the same.
func fixed(text string) func(fleet.Step, fleet.Spec) string {
	return func(fleet.Step, fleet.Spec) string { return text }
}

var stepWords = map[fleet.StepKind]func(fleet.Step, fleet.Spec) string{
	fleet.CreateAuthority: fixed("make its certificate authority"),
	fleet.LaunchHost: func(s fleet.Step, spec fleet.Spec) string {
		if s.HostID != "" {
			return "wait until its host runs"
		}
		return "buy a " + cmp.Or(s.Type, spec.MachineIn(s.Zone).Type, "host")
	},
	fleet.AttachDisk: func(s fleet.Step, spec fleet.Spec) string {
		if s.DiskID != "" {
			return "attach the disk that is there"
		}
		disk := spec.MachineIn(s.Zone).Disk
		if disk.Size == 0 {
			return "buy a disk"
		}
		return fmt.Sprintf("buy a disk, %s %s", disk.Size, disk.Category)
	},
	fleet.PrepareHost: func(s fleet.Step, spec fleet.Spec) string {
		if s.Version != "" {
			return "install etcd " + s.Version
		}
		return strings.TrimSpace("install etcd "+spec.Etcd.Version) + ", make its keys"
	},
	fleet.StartMember: func(s fleet.Step, _ fleet.Spec) string {
		if s.Existing {
			return "start etcd; it joins the others"
		}
		return "start etcd"
	},
	fleet.AwaitHealthy: fixed("wait until the whole cluster serves"),

	fleet.AddLearner:   fixed("join as a learner, without a vote"),
	fleet.AwaitInSync:  fixed("wait until it has what the leader has"),
	fleet.Promote:      fixed("give it its vote"),
	fleet.MoveLeader:   func(s fleet.Step, _ fleet.Spec) string { return "have " + cmp.Or(s.To, "another") + " lead" },
	fleet.RemoveMember: fixed("take it out of the membership"),
	fleet.UpdateMember: fixed("tell the others its new address"),

	fleet.AwaitSettled: fixed("wait until all are healthy and in sync"),
	fleet.RestartMember: func(s fleet.Step, spec fleet.Spec) string {
		if version := runs(s, spec); version != "" {
			return "restart it with etcd " + version
		}
		return "restart it"
	},
	fleet.RollBackMember: func(s fleet.Step, _ fleet.Spec) string {
		if s.Run == nil || s.Run.Version == "" {
			return "restart it as it ran before"
		}
		return "restart it as before, with etcd " + s.Run.Version
	},
	fleet.StopHost:  fixed("stop its host; the disk stays"),
	fleet.StartHost: fixed("start its host"),
	fleet.ResizeHost: func(s fleet.Step, spec fleet.Spec) string {
		return "make its host a " + cmp.Or(s.Type, spec.Machine.Type, "new type")
	},
	fleet.GrowDisk: func(s fleet.Step, spec fleet.Spec) string {
		if size := cmp.Or(s.Size, spec.Machine.Disk.Size); size > 0 {
			return "grow its disk to " + size.String()
		}
		return "grow its disk"
	},
	fleet.RetypeDisk: func(s fleet.Step, spec fleet.Spec) string {
		return "make its disk " + cmp.Or(s.Category, spec.Machine.Disk.Category, "another category") + " where it is"
	},
	fleet.RenewCertificates: fixed("sign its certificates anew, no restart"),

	fleet.TakeRaftSnapshot: fixed("leave no log of the older minor behind"),
	fleet.EnableDowngrade: func(s fleet.Step, spec fleet.Spec) string {
		return "let etcd go back to " + cmp.Or(minor(cmp.Or(s.Version, spec.Etcd.Version)), "an older minor")
	},
	fleet.CancelDowngrade: fixed("let etcd go back no more"),
	fleet.ExtendAuthority: fixed("make a second certificate authority"),
	fleet.SwitchAuthority: fixed("have the second authority sign"),
	fleet.RetireAuthority: fixed("forget the first authority"),

	fleet.SaveBackup:        fixed("store a snapshot, compressed and sealed, and read it back"),
	fleet.ExpireBackups:     fixed("remove the backups that no rule keeps"),
	fleet.SaveFinalSnapshot: fixed("save a snapshot, verify it by restoring it"),
	fleet.StopMember:        fixed("stop etcd"),
	fleet.CloseSnapshot:     fixed("record that nothing was written after it"),
	fleet.ReopenSnapshot:    fixed("record that there will be writes after it"),
	fleet.ReleaseHost:       fixed("give its host back"),
	fleet.DeleteDisk:        fixed("delete its disk"),
	fleet.DestroyAuthority:  fixed("delete its certificate authority"),

	fleet.ImportAuthority: fixed("store its certificate authority, sealed"),
	fleet.AdoptHost:       fixed("tag its host and disk as ours"),
	fleet.AdoptMember:     fixed("take it over from what runs it"),

	fleet.VerifyBackup:  fixed("read the backup to its end"),
	fleet.CompareKeys:   fixed("read the backup to its end, compare its keys with those that there are"),
	fleet.RestoreKeys:   fixed("put keys back, a few at a time"),
	fleet.RestoreMember: fixed("make its data from the backup; what it had is kept beside"),
	fleet.DiscardData: func(s fleet.Step, _ fleet.Spec) string {
		return "delete " + s.Size.Human() + " that a restore or a recovery kept aside"
	},
	fleet.SnapshotDisk: func(s fleet.Step, _ fleet.Spec) string {
		return "have the cloud keep a copy of its disk, " + s.Size.Human()
	},
	fleet.DeleteDiskSnapshot: func(s fleet.Step, _ fleet.Spec) string {
		return "delete " + s.SnapshotID + ", the copy of a disk of " + s.Size.Human()
	},
	fleet.RecoverMember: fixed("make it a cluster of one, with all that it has"),
}

// runs is the release that a step leaves a member with.
func runs(s fleet.Step, spec fleet.Spec) string {
	if s.Run != nil && s.Run.Version != "" {
		return s.Run.Version
	}
	return spec.Etcd.Version
}

// minor gives 3.6 of 3.6.16, and of 3.6.
func minor(version string) string { return cmp.Or(fleet.Minor(version), version) }
