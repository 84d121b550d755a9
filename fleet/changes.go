package fleet

import (
	"maps"
	"slices"
)

// Change is one operation of those that make a cluster what another spec asks for.
type Change struct {
	Kind OperationKind `json:"kind"`
	// Spec is what the cluster is to be after it.
	Spec Spec `json:"spec"`
}

// Changes gives the operations that lead from one spec to another, in the order in
// which they have to run: settings first, because more learners need a larger limit
// on every member before they join; the release next, so that new members are made
// with it; then machines, places and at last the size. Another region makes every
// member anew, so machines change with it. What differs otherwise
// (labels, policy, protection, how machines are changed) needs no operation and is in
// the first of the specs. The problems are of what no operation can change.
//
//workflowcheck:ignore
func Changes(before, after Spec) ([]Change, Problems) {
	var ps Problems
	if before.Name != after.Name {
		ps.add("name", "%q cannot become %q: a cluster keeps its name", before.Name, after.Name)
		return nil, ps
	}
	var all []Change
	spec := before.Amended(after)
	step := func(kind OperationKind, change func(*Spec)) {
		next := spec.Clone()
		change(&next)
		if !next.Equal(spec) {
			spec = next
			all = append(all, Change{Kind: kind, Spec: spec})
		}
	}
	step(RollCluster, func(s *Spec) {
		quota := s.Etcd.Quota
		s.Etcd.EtcdSettings = after.Etcd.EtcdSettings
		s.Etcd.Quota = quota
	})
	step(UpgradeCluster, func(s *Spec) { s.Etcd.Version = after.Etcd.Version })
	machines := func(s *Spec) { s.Machine, s.Etcd.Quota = after.Machine, after.Etcd.Quota }
	moves := before.Place() != after.Place()
	if !moves {
		step(UpscaleCluster, machines)
	}
	step(MigrateByLearner, func(s *Spec) {
		if moves || !slices.Equal(s.Zones, after.Zones) { // all go where they are to be, learners too
			s.Standby = after.Standby.clone()
		}
		s.Zones, s.Class = slices.Clone(after.Zones), after.Class
		if moves {
			s.Provider, s.Region = after.Provider, after.Region
			machines(s)
		}
	})
	step(ScaleCluster, func(s *Spec) {
		s.Voters, s.Learners, s.Standby = after.Voters, after.Learners, after.Standby.clone()
	})
	return all, nil
}

// Amended gives the spec with what another one has that needs no operation.
func (s Spec) Amended(other Spec) Spec {
	s = s.Clone()
	s.Labels, s.Policy, s.DeletionProtection = maps.Clone(other.Labels), other.Policy, other.DeletionProtection
	s.Policy.Windows = slices.Clone(other.Policy.Windows)
	s.Backup, s.Clients = other.Backup, other.Clients
	s.Machine.Change = other.Machine.Change
	if len(s.Standby.Zones) > 0 && len(other.Standby.Zones) > 0 {
		s.Standby.MaxLag = other.Standby.MaxLag
	}
	return s
}

// QuotaFor gives the quota that goes with another size of disk: the same share of it,
// at most what etcd suggests unless it is more already, and a whole number of MiB.
func (s Spec) QuotaFor(disk Bytes) Bytes {
	if s.Machine.Disk.Size <= 0 {
		return s.Etcd.Quota
	}
	quota := Bytes(float64(s.Etcd.Quota) * (float64(disk) / float64(s.Machine.Disk.Size)))
	return min(quota, max(SuggestedQuota, s.Etcd.Quota)) / MiB * MiB
}

// SuggestedQuota is the largest store that etcd suggests.
const SuggestedQuota = 8 * GiB
