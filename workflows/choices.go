package workflows

import (
	"slices"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// checkOptions: the options are of the operation, and right.
func (c *cluster) checkOptions(r SubmitRequest) error {
	if r.Resume {
		return nil // they were checked when it was asked for first
	}
	o := r.Options
	for _, option := range []struct {
		name  string
		set   bool
		kinds []fleet.OperationKind
	}{
		{"skipFinalSnapshot", o.SkipFinalSnapshot, []fleet.OperationKind{fleet.DecommissionCluster, fleet.StopCluster}},
		{"members", len(o.Members) > 0, []fleet.OperationKind{
			fleet.MigrateByLearner, fleet.RollCluster, fleet.FailoverMember, fleet.ChangeLeader, fleet.DiscardSetAside}},
		{"leave", o.Leave != "", []fleet.OperationKind{fleet.ChangeLeader}},
		{"allowDowntime", o.AllowDowntime, []fleet.OperationKind{fleet.UpscaleCluster, fleet.ScaleCluster,
			fleet.MigrateByLearner, fleet.UpgradeCluster, fleet.RollCluster, fleet.AdoptCluster}},
		{"certificates", o.Certificates != "", []fleet.OperationKind{fleet.RollCluster}},
		{"without", len(o.Without) > 0, []fleet.OperationKind{fleet.RecoverQuorum, fleet.RestoreCluster}},
		{"survivor", o.Survivor != "", []fleet.OperationKind{fleet.RecoverQuorum}},
		{"toStandby", o.ToStandby, []fleet.OperationKind{fleet.RecoverQuorum}},
		{"fromBackup", o.FromBackup != "", []fleet.OperationKind{fleet.RecoverQuorum}},
		{"acceptLoss", o.AcceptLoss, []fleet.OperationKind{fleet.RecoverQuorum, fleet.RestoreCluster, fleet.RestorePrefixes}},
		{"restore", o.Restore != nil, []fleet.OperationKind{fleet.CreateCluster, fleet.RestoreCluster, fleet.RestorePrefixes}},
		{"adopt", o.Adopt != nil, []fleet.OperationKind{fleet.AdoptCluster}},
	} {
		if option.set && !slices.Contains(option.kinds, r.Kind) {
			return fleet.Errorf(fleet.Invalid, "request", "options.%s has no meaning for %s", option.name, r.Kind)
		}
	}
	if o.At != nil {
		return fleet.Errorf(fleet.Invalid, "request", "options.at has no meaning for %s", r.Kind) // a backup is not asked of the cluster
	}
	if err := o.Policy.Validate("options.policy").Err("request"); err != nil {
		return err
	}
	for i, name := range o.Members {
		if fleet.MemberNumber(c.Name, name) >= c.nextMember() {
			return fleet.Errorf(fleet.Invalid, "request", "options.members[%d]: there never was a member %s", i, name)
		}
	}
	switch {
	case o.Survivor != "" && slices.Contains(o.Without, o.Survivor):
		return fleet.Errorf(fleet.Invalid, "request", "options.survivor: %s is given up by options.without", o.Survivor)
	case o.ToStandby && len(c.Spec.Standby.Zones) == 0:
		return fleet.Errorf(fleet.Invalid, "request", "options.toStandby: %s has no standby (standby.zones in its spec)", c.Name)
	case o.ToStandby && o.FromBackup != "":
		return fleet.Errorf(fleet.Invalid, "request", "options.toStandby and options.fromBackup exclude each other: a standby's place is gone to with the standby's data")
	case o.Survivor != "" && o.FromBackup != "":
		return fleet.Errorf(fleet.Invalid, "request", "options.survivor and options.fromBackup both say what to recover from; name one of them")
	case o.Leave != "" && len(o.Members) > 0:
		return fleet.Errorf(fleet.Invalid, "request", "options.leave has no meaning where members names who is to lead")
	case r.Kind == fleet.AdoptCluster:
		return checkAdoption(r)
	case (r.Kind == fleet.RestoreCluster || r.Kind == fleet.RestorePrefixes) && o.Restore == nil:
		return fleet.Errorf(fleet.Invalid, "request", "options.restore is missing: it says which backup")
	case r.Kind == fleet.RestorePrefixes:
		return o.Restore.CheckPrefixes()
	case o.Restore != nil:
		return o.Restore.Check(c.specFor(r))
	}
	return checkCertificates(o)
}

// specFor gives the spec that a request is about.
func (c *cluster) specFor(r SubmitRequest) fleet.Spec {
	switch {
	case r.Spec != nil:
		return r.Spec.WithDefaults()
	case c.Spec != nil:
		return *c.Spec
	}
	return fleet.Spec{}
}

// checkCertificates: authorities are replaced on all members, or none could talk to
// some of the others.
func checkCertificates(o fleet.Options) error {
	switch o.Certificates {
	case "", fleet.RenewLeaves:
		return nil
	case fleet.TrustNewCA, fleet.UseNewCA, fleet.DropOldCA:
		if len(o.Members) > 0 {
			return fleet.Errorf(fleet.Invalid, "request", "options.members: an authority is replaced on all members, not on some")
		}
		return nil
	}
	return fleet.Errorf(fleet.Invalid, "request", "options.certificates: %q is not one of %s, %s, %s, %s",
		o.Certificates, fleet.RenewLeaves, fleet.TrustNewCA, fleet.UseNewCA, fleet.DropOldCA)
}

// checkAdoption: all that is needed to find the members, and as many of them as the
// spec has.
func checkAdoption(r SubmitRequest) error {
	a := r.Options.Adopt
	switch {
	case a == nil:
		return fleet.Errorf(fleet.Invalid, "request", "options.adopt is missing: it says where the members are")
	case len(a.Authority) == 0:
		return fleet.Errorf(fleet.Invalid, "request", "options.adopt.authority is missing")
	case r.Spec != nil && len(a.Members) != r.Spec.WithDefaults().Voters+r.Spec.Learners:
		return fleet.Errorf(fleet.Invalid, "request", "options.adopt.members: %d are named, and the spec has %d voters and %d learners",
			len(a.Members), r.Spec.WithDefaults().Voters, r.Spec.Learners)
	}
	for i, m := range a.Members {
		for _, field := range []struct {
			name  string
			empty bool
		}{
			{"name", m.Name == ""}, {"hostId", m.HostID == ""}, {"diskId", m.DiskID == ""}, {"dataDir", m.DataDir == ""},
			{"endpoint", m.Endpoint.Address == "" || m.Endpoint.ClientPort == 0 || m.Endpoint.PeerPort == 0},
		} {
			if field.empty {
				return fleet.Errorf(fleet.Invalid, "request", "options.adopt.members[%d].%s is missing", i, field.name)
			}
		}
		if slices.ContainsFunc(a.Members[:i], func(other fleet.AdoptedMember) bool { return other.Name == m.Name }) {
			return fleet.Errorf(fleet.Invalid, "request", "options.adopt.members[%d].name: %s is named twice", i, m.Name)
		}
	}
	return nil
}
