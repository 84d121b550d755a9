package fleet

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// elsewhere has its standby in another region, on other machines.
func elsewhere() Spec {
	s := orders()
	s.Learners, s.Etcd.MaxLearners = 1, 2
	s.Standby = StandbySpec{Region: "local-2", Zones: []string{"a", "b"}, Machine: StandbyMachine{Type: "large"}}
	return s
}

// Members of a standby elsewhere go to that region's zones, by qualified names, on what
// the spec says for them; a zone there may be named as one of the voters'.
func TestStandbyElsewhere(t *testing.T) {
	s := elsewhere()
	require.Empty(t, s.Validate())
	require.Equal(t, []string{"local/local-2/a", "local/local-2/b"}, s.LearnerZones())
	require.Equal(t, []Place{{"local", "local-1"}, {"local", "local-2"}}, s.Places())
	there := s.MachineIn("local/local-2/a")
	require.Equal(t, "large", there.Type)
	require.Equal(t, s.Machine.Disk, there.Disk, "what it leaves out is as the voters'")
	require.Equal(t, s.Machine, s.MachineIn("a"))
	require.Equal(t, s.Machine, s.MachineIn("local/local-3/a"), "what is left in a third place is not the standby's")

	read, err := ParseSpec([]byte(`
name: orders
provider: local
region: local-1
zones: [a, b, c]
learners: 1
standby:
  provider: aws
  region: us-east-1
  zones: [us-east-1a]
  machine: {type: m7g.large, disk: {category: gp3, size: 40GiB}}
etcd: {version: 3.7.3}
machine: {type: small, disk: {category: ssd}}
`), "orders.yaml")
	require.NoError(t, err)
	require.Equal(t, 40*GiB, read.MachineIn("aws/us-east-1/us-east-1a").Disk.Size)
}

func TestStandbyElsewhereIsChecked(t *testing.T) {
	for path, wrong := range map[string]func(*Spec){
		"standby.provider":              func(s *Spec) { s.Standby.Provider = "cellar" },
		"standby.region":                func(s *Spec) { s.Standby.Provider, s.Standby.Region = "aws", "" },
		"standby.zones":                 func(s *Spec) { s.Standby.Zones = nil },
		"standby.zones[0]":              func(s *Spec) { s.Standby.Region, s.Standby.Machine = "local-1", StandbyMachine{} },
		"standby.machine":               func(s *Spec) { s.Standby.Region, s.Standby.Zones = "", []string{"d"} },
		"standby.machine.type":          func(s *Spec) { s.Standby.Provider, s.Standby.Machine.Type = "aws", "" },
		"standby.machine.disk.category": func(s *Spec) { s.Standby.Provider, s.Standby.Region = "aws", "us-east-1" },
		"standby.machine.disk.size":     func(s *Spec) { s.Standby.Machine.Disk.Size = GiB },
	} {
		s := elsewhere()
		wrong(&s)
		var paths []string
		for _, p := range s.Validate() {
			paths = append(paths, p.Path)
		}
		require.Contains(t, paths, path)
	}
}

// A switchover is one migration; twice, it leads home.
func TestSwitchover(t *testing.T) {
	near := orders()
	near.Learners, near.Etcd.MaxLearners, near.Standby.Zones = 1, 2, []string{"c"}
	for _, s := range []Spec{near, elsewhere()} {
		s.Machine.Change = ResizeMachine
		after := s.SwitchedOver()
		require.Empty(t, after.Validate())
		require.Equal(t, s.Standby.Zones, after.Zones)
		require.Equal(t, s.StandbyPlace(), after.Place())
		require.Equal(t, s.Place(), after.StandbyPlace())
		changes, problems := Changes(s, after)
		require.Empty(t, problems)
		require.Equal(t, []OperationKind{MigrateByLearner}, kinds(changes))
		back := after.SwitchedOver()
		require.Equal(t, s.Places(), back.Places())
		require.Equal(t, s.Machine, back.Machine)
		require.Equal(t, s.MachineIn(s.LearnerZones()[0]), back.MachineIn(back.LearnerZones()[0]))
		require.Equal(t, s.Zones, back.Zones)
		require.Equal(t, s.LearnerZones(), back.LearnerZones())

		lost := s.AtStandby()
		require.Empty(t, lost.Validate())
		require.Equal(t, after.Place(), lost.Place())
		require.Equal(t, after.Machine, lost.Machine)
		require.Zero(t, lost.Learners)
		require.Equal(t, StandbySpec{}, lost.Standby)
	}
	require.True(t, orders().Equal(orders().SwitchedOver()), "without a standby there is nowhere to switch to")
}
