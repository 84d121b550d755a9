package main

import (
	"slices"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// block is a run of waves of a plan that comes once or several times in a row, each
// time for other members.
type block struct{ turns []turn }

// turn is one time that a block comes.
type turn struct {
	first int // the number of its first wave, from 1
	waves [][]fleet.Step
	// members are the ones it is about, in the order in which they appear.
	members []string
	// heir leads from then on, where the leader is moved away first; settles says that
	// it waits for the others first.
	heir    string
	settles bool
}

// last is the number of its last wave.
func (t turn) last() int { return t.first + len(t.waves) - 1 }

// fold finds what a plan does over and over, member by member, so that a plan of
// seven members fits on one screen as well as that of one. Waiting for the others
// and moving the leader come before some turns and not before others, and make no
// difference.
func fold(waves [][]fleet.Step) []block {
	var blocks []block
	for at := 0; at < len(waves); {
		length, times := repeats(waves[at:])
		var b block
		for range times {
			end := at + spanOf(waves[at:], length)
			b.turns = append(b.turns, turnOf(at+1, waves[at:end]))
			at = end
		}
		blocks = append(blocks, b)
	}
	return blocks
}

func turnOf(first int, waves [][]fleet.Step) turn {
	t := turn{first: first, waves: waves, members: membersOf(acting(waves))}
	for _, step := range slices.Concat(waves...) {
		switch step.Kind {
		case fleet.MoveLeader:
			t.heir = step.To
		case fleet.AwaitSettled:
			t.settles = true
		}
	}
	return t
}

// aside says that a wave only prepares for the next one.
func aside(wave []fleet.Step) bool {
	return !slices.ContainsFunc(wave, func(s fleet.Step) bool { return s.Kind != fleet.AwaitSettled && s.Kind != fleet.MoveLeader })
}

// acting gives the waves that do not only prepare for others.
func acting(waves [][]fleet.Step) [][]fleet.Step {
	return slices.DeleteFunc(slices.Clone(waves), aside)
}

// spanOf says how many waves it takes from the beginning until so many have acted.
func spanOf(waves [][]fleet.Step, length int) int {
	for i, wave := range waves {
		if aside(wave) {
			continue
		}
		if length--; length == 0 {
			return i + 1
		}
	}
	return len(waves)
}

// repeats gives how many acting waves at the beginning come how often in a row: of all
// that come again the ones that cover most, of those the shortest. Otherwise it is one
// wave, once.
func repeats(waves [][]fleet.Step) (length, times int) {
	waves = acting(waves)
	length, times = 1, 1
	for l := 1; l <= len(waves)/2; l++ {
		n := 1
		for (n+1)*l <= len(waves) && alike(waves[:l], waves[n*l:(n+1)*l]) {
			n++
		}
		if n > 1 && n*l > length*times {
			length, times = l, n
		}
	}
	return length, times
}

// alike says that two runs of waves do the same to other members: each member of the
// one stands for the same member of the other throughout.
func alike(a, b [][]fleet.Step) bool {
	if len(a) != len(b) {
		return false
	}
	there, back := map[string]string{}, map[string]string{}
	stands := func(one, other string) bool {
		if one == "" || other == "" {
			return one == other
		}
		was, known := there[one]
		is, taken := back[other]
		there[one], back[other] = other, one
		return (!known || was == other) && (!taken || is == one)
	}
	for i := range a {
		same := slices.EqualFunc(a[i], b[i], func(x, y fleet.Step) bool {
			return x.Kind == y.Kind && stands(x.Member, y.Member) &&
				(x.HostID == "") == (y.HostID == "") && (x.DiskID == "") == (y.DiskID == "")
		})
		if !same {
			return false
		}
	}
	return true
}

// membersOf gives the members that waves are about, in the order of their appearance.
func membersOf(waves [][]fleet.Step) []string {
	var names []string
	for _, step := range slices.Concat(waves...) {
		if step.Member != "" && !slices.Contains(names, step.Member) {
			names = append(names, step.Member)
		}
	}
	return names
}
