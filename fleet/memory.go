package fleet

import (
	"slices"
	"strconv"
	"strings"
)

// Memory is what an operation remembers of its own steps, because no look can tell
// it: what failed for good, and what was bought, which a list that lags behind may
// not show yet. The workflow keeps it, in its history; the planner reads it.
type Memory struct {
	// Failures are the steps that failed and will not be tried again as they are.
	Failures []Failure `json:"failures,omitempty"`
	// Purchases are the steps that bought hosts, until the host is released. One whose
	// member was removed again has the MemberID that it had.
	Purchases []Step `json:"purchases,omitempty"`
	// Dead is the evidence on members that were looked at as dead when their host was
	// released: what ran there does not come back, so there is no need to look as long again.
	Dead []Evidence `json:"dead,omitempty"`
	// Highest is the highest number of a member that was bought for.
	Highest int `json:"highest,omitempty"`
	// Verified says that the backup that is to be restored was read to its end.
	Verified bool `json:"verified,omitempty"`
	// Ran says that a member ran until the operation stopped it: no final snapshot was the
	// last word on the cluster's data.
	Ran bool `json:"ran,omitempty"`
	// Keys is what was compared and put back of single keys; nil before.
	Keys *KeyRestore `json:"keys,omitempty"`
}

// Begin notes that a step of a cluster is about to be carried out.
func (m *Memory) Begin(cluster string, s Step) {
	if s.Kind != LaunchHost || s.HostID != "" {
		return
	}
	m.Highest = max(m.Highest, MemberNumber(cluster, s.Member))
	if !slices.ContainsFunc(m.Purchases, func(p Step) bool { return p.Token == s.Token }) {
		m.Purchases = append(m.Purchases, s)
	}
}

// Done notes that a step succeeded, which was decided by what was seen. What it said
// itself is noted by Told.
func (m *Memory) Done(s Step, seen Observation) {
	switch s.Kind {
	case VerifyBackup:
		m.Verified = true
	case StopMember:
		m.Ran = true
	case CompareKeys:
		m.Keys = &KeyRestore{Unread: true}
	case RestoreKeys:
		var keys KeyRestore
		if m.Keys != nil {
			keys = *m.Keys
		}
		keys.Done.Whole = true
		m.Keys = &keys
	case ReleaseHost:
		m.Dead = slices.DeleteFunc(slices.Clone(m.Dead), func(e Evidence) bool { return e.Member == s.Member })
		if e := seen.EvidenceOn(s.Member); e != nil {
			m.Dead = append(m.Dead, *e)
		}
		m.Purchases = slices.DeleteFunc(m.Purchases, func(p Step) bool { return p.Member == s.Member })
	case RemoveMember:
		m.Purchases = slices.Clone(m.Purchases)
		for i := range m.Purchases {
			if m.Purchases[i].Member == s.Member {
				m.Purchases[i].MemberID = s.MemberID
			}
		}
	}
}

// Told notes what a step said that succeeded.
func (m *Memory) Told(r StepReply) {
	if r.Keys != nil {
		m.Keys = r.Keys
	}
}

// Fail notes that a step failed for good.
func (m *Memory) Fail(s Step, kind Kind, message string) {
	m.Failures = append(m.Failures, Failure{Step: s, Kind: kind, Message: message})
	if s.Kind == LaunchHost { // another purchase, if any, has another token
		m.Purchases = slices.DeleteFunc(m.Purchases, func(p Step) bool { return p.Token == s.Token })
	}
}

// MemberNumber gives the number of a member of a cluster, as 3 of orders-3; zero for
// what is not named so. Numbers go up and are never used again.
func MemberNumber(cluster, member string) int {
	digits, ok := strings.CutPrefix(member, cluster+"-")
	if !ok || digits == "" || digits[0] == '0' || digits[0] == '+' || digits[0] == '-' {
		return 0
	}
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 0
	}
	return n
}

// MemberName gives the name of a member by its number.
func MemberName(cluster string, number int) string { return cluster + "-" + strconv.Itoa(number) }
