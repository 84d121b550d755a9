package fleet

import (
	"cmp"
	"slices"
	"time"
)

// DefaultMaxLag is how long a standby may be behind, by default: a learner follows within a
// tenth of a second as a rule, also far away.
const DefaultMaxLag = Duration(2 * time.Second)

// StandbySpec makes the learners a hot standby: what is lost with the voters' zones, or
// with their region, is not lost with them, and the cluster can be recovered from one
// (RecoverQuorum).
type StandbySpec struct {
	// Provider and Region are where it is; empty: the cluster's own.
	Provider string `yaml:"provider,omitempty" json:"provider,omitempty"`
	Region   string `yaml:"region,omitempty" json:"region,omitempty"`
	// Zones are where learners go, in turn; none of them is a voter's. Empty: learners go
	// where voters do.
	Zones []string `yaml:"zones,omitempty" json:"zones,omitempty"`
	// Machine is what learners in another place run on. What it leaves out is as the
	// cluster's own.
	Machine StandbyMachine `yaml:"machine,omitempty" json:"machine,omitzero"`
	// MaxLag is from when on it counts as behind: it does not get within that time what the
	// voters had. Zero: DefaultMaxLag.
	MaxLag Duration `yaml:"maxLag,omitempty" json:"maxLag,omitempty"`
}

// StandbyMachine is what learners in another place run on.
type StandbyMachine struct {
	Type string   `yaml:"type,omitempty" json:"type,omitempty"`
	Disk DiskSpec `yaml:"disk,omitempty" json:"disk,omitzero"`
}

func (s StandbySpec) clone() StandbySpec {
	s.Zones = slices.Clone(s.Zones)
	return s
}

func (s StandbySpec) equal(other StandbySpec) bool {
	return s.Provider == other.Provider && s.Region == other.Region && slices.Equal(s.Zones, other.Zones) && s.Machine == other.Machine && s.MaxLag == other.MaxLag
}

// StandbyPlace is where learners go.
func (s Spec) StandbyPlace() Place {
	return Place{cmp.Or(s.Standby.Provider, s.Provider), cmp.Or(s.Standby.Region, s.Region)}
}

// StandbyElsewhere says that learners go to another region than voters, or to another
// provider's.
func (s Spec) StandbyElsewhere() bool {
	return len(s.Standby.Zones) > 0 && s.StandbyPlace() != s.Place()
}

// MaxLag is from when on the standby counts as behind; zero without a standby.
func (s Spec) MaxLag() Duration {
	if len(s.Standby.Zones) == 0 {
		return 0
	}
	return cmp.Or(s.Standby.MaxLag, DefaultMaxLag)
}

// LearnerZones are where learners go, by the names by which the cluster's own place knows
// them (Place.Qualify).
func (s Spec) LearnerZones() []string {
	switch {
	case len(s.Standby.Zones) == 0:
		return s.Zones
	case !s.StandbyElsewhere():
		return s.Standby.Zones
	}
	zones := make([]string, len(s.Standby.Zones))
	for i, zone := range s.Standby.Zones {
		zones[i] = s.StandbyPlace().Qualify(zone)
	}
	return zones
}

// MachineIn is what members in a zone run on. The zone's name is one that the cluster's
// own place knows it by.
func (s Spec) MachineIn(zone string) MachineSpec {
	machine := s.Machine
	if place, _, elsewhere := SplitPlace(zone); elsewhere && s.StandbyElsewhere() && place == s.StandbyPlace() {
		machine.Type = cmp.Or(s.Standby.Machine.Type, machine.Type)
		machine.Disk.Size = cmp.Or(s.Standby.Machine.Disk.Size, machine.Disk.Size)
		machine.Disk.Category = cmp.Or(s.Standby.Machine.Disk.Category, machine.Disk.Category)
	}
	return machine
}

// AtStandby is the cluster with its standby's place as its home, and no standby: what it
// becomes when its own is lost. Without a standby it is as it was.
func (s Spec) AtStandby() Spec {
	s = s.Clone()
	if len(s.Standby.Zones) == 0 {
		return s
	}
	place, machine := s.StandbyPlace(), s.MachineIn(s.LearnerZones()[0])
	s.Provider, s.Region, s.Zones, s.Machine = place.Provider, place.Region, s.Standby.Zones, machine
	s.Learners, s.Standby = 0, StandbySpec{}
	return s
}

// SwitchedOver is the cluster with its home and its standby's place exchanged. Switched
// over twice, it is as it was. Without a standby it is as it was, too.
func (s Spec) SwitchedOver() Spec {
	after := s.AtStandby()
	if len(s.Standby.Zones) == 0 {
		return after
	}
	after.Learners, after.Standby.Zones, after.Standby.MaxLag = s.Learners, slices.Clone(s.Zones), s.Standby.MaxLag
	if s.StandbyElsewhere() {
		after.Standby.Provider, after.Standby.Region = s.Provider, s.Region
		after.Standby.Machine = StandbyMachine{s.Machine.Type, s.Machine.Disk}
	}
	return after
}
