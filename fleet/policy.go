package fleet

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Approval says which operations need a person's approval before they act.
type Approval string

// The approvals.
const (
	ApprovalNever  Approval = "never"
	ApprovalAlways Approval = "always"
	// ApprovalDestructive: only where hosts or disks are given up.
	ApprovalDestructive Approval = "destructive"
)

// OnFailure says what an operation does when a step failed for good.
type OnFailure string

// What follows a failed step.
const (
	// FailureStops ends the operation; it can be resumed as another one.
	FailureStops OnFailure = "stop"
	// FailureAsks waits until a person resumes or cancels it.
	FailureAsks OnFailure = "ask"
)

// DiskSnapshots says when the cloud is asked for copies of members' disks.
type DiskSnapshots string

// When disks are copied.
const (
	// SnapshotBeforeRecovery: before a recovery, or a restore in place, changes what is on them.
	SnapshotBeforeRecovery DiskSnapshots = "recovery"
	SnapshotNever          DiskSnapshots = "never"
)

// Policy is how operations on a cluster are run. It stands in the spec, over the
// fleet's default, and under what one call asks for. A field that is zero is left
// to the one below.
type Policy struct {
	Approval Approval `yaml:"approval,omitempty" json:"approval,omitempty"`
	// ApprovalWithin is how long an approval is waited for; then the operation ends.
	ApprovalWithin Duration `yaml:"approvalWithin,omitempty" json:"approvalWithin,omitempty"`
	// Windows are when planned operations may act, in UTC, as "daily 01:00-05:00" or
	// "Mon-Fri 22:00-04:00" or "Sat,Sun 00:00-24:00"; none means any time.
	Windows []string `yaml:"windows,omitempty" json:"windows,omitempty"`
	// Soak is how long all members must have been healthy and in sync before the
	// next one is touched.
	Soak Duration `yaml:"soak,omitempty" json:"soak,omitempty"`
	// ReadyWithin is how long a restarted member may take to be in sync again; after
	// that it is rolled back.
	ReadyWithin Duration `yaml:"readyWithin,omitempty" json:"readyWithin,omitempty"`
	// DeadAfter is how long every witness must call a member dead before it is.
	DeadAfter Duration `yaml:"deadAfter,omitempty" json:"deadAfter,omitempty"`
	// OnFailure is what follows a failed step.
	OnFailure OnFailure `yaml:"onFailure,omitempty" json:"onFailure,omitempty"`
	// AcceptLoss is from what a recovery goes on without asking a person, though data may
	// be lost by it.
	AcceptLoss LossAnswer `yaml:"acceptLoss,omitempty" json:"acceptLoss,omitempty"`
	// KeepAside is how long what a restore or a recovery put aside is kept, from its end
	// on. Zero is until a person discards it.
	KeepAside Duration `yaml:"keepAside,omitempty" json:"keepAside,omitempty"`
	// DiskSnapshots is when the cloud is asked for copies of members' disks.
	DiskSnapshots DiskSnapshots `yaml:"diskSnapshots,omitempty" json:"diskSnapshots,omitempty"`
}

// The defaults of a policy.
const (
	DefaultApprovalWithin = Duration(24 * time.Hour)
	// DefaultSoak is etcd's own health window: until it has been connected to all
	// voters for so long, it refuses to change its membership.
	DefaultSoak = Duration(5 * time.Second)
	// DefaultReadyWithin: a member with 8 GiB to load and to check starts in a minute or two.
	DefaultReadyWithin = Duration(3 * time.Minute)
	// DefaultDeadAfter is longer than a reboot of a process and than most pauses of a
	// host; a cluster with a quorum loses nothing by the wait.
	DefaultDeadAfter = Duration(15 * time.Second)
	// maxDeadAfter is what one look can wait for, which ends after five minutes.
	maxDeadAfter = 3 * time.Minute
)

// Over gives p with what it leaves open taken from base.
func (p Policy) Over(base Policy) Policy {
	orDefault(&p.Approval, base.Approval)
	orDefault(&p.ApprovalWithin, base.ApprovalWithin)
	if len(p.Windows) == 0 {
		p.Windows = slices.Clone(base.Windows)
	}
	orDefault(&p.Soak, base.Soak)
	orDefault(&p.ReadyWithin, base.ReadyWithin)
	orDefault(&p.DeadAfter, base.DeadAfter)
	orDefault(&p.OnFailure, base.OnFailure)
	orDefault(&p.AcceptLoss, base.AcceptLoss)
	orDefault(&p.KeepAside, base.KeepAside)
	orDefault(&p.DiskSnapshots, base.DiskSnapshots)
	return p
}

// WithDefaults gives p with everything filled in that was left open.
func (p Policy) WithDefaults() Policy {
	return p.Over(Policy{
		Approval: ApprovalNever, ApprovalWithin: DefaultApprovalWithin, Soak: DefaultSoak,
		ReadyWithin: DefaultReadyWithin, DeadAfter: DefaultDeadAfter, OnFailure: FailureStops,
		AcceptLoss: LossAsk, DiskSnapshots: SnapshotBeforeRecovery,
	})
}

// Equal says whether two policies ask for the same.
func (p Policy) Equal(other Policy) bool {
	return p.Approval == other.Approval && p.ApprovalWithin == other.ApprovalWithin && slices.Equal(p.Windows, other.Windows) &&
		p.Soak == other.Soak && p.ReadyWithin == other.ReadyWithin && p.DeadAfter == other.DeadAfter && p.OnFailure == other.OnFailure &&
		p.AcceptLoss == other.AcceptLoss && p.KeepAside == other.KeepAside && p.DiskSnapshots == other.DiskSnapshots
}

// Validate gives everything that is wrong with the policy, below path.
func (p Policy) Validate(path string) Problems {
	var ps Problems
	if p.Approval != "" {
		oneOf(&ps, path+".approval", string(p.Approval), []string{string(ApprovalNever), string(ApprovalAlways), string(ApprovalDestructive)})
	}
	if p.OnFailure != "" {
		oneOf(&ps, path+".onFailure", string(p.OnFailure), []string{string(FailureStops), string(FailureAsks)})
	}
	if p.AcceptLoss != "" {
		oneOf(&ps, path+".acceptLoss", string(p.AcceptLoss), []string{string(LossAsk), string(LossOfVoters), string(LossAny)})
	}
	if p.DiskSnapshots != "" {
		oneOf(&ps, path+".diskSnapshots", string(p.DiskSnapshots), []string{string(SnapshotBeforeRecovery), string(SnapshotNever)})
	}
	for i, text := range p.Windows {
		if _, err := parseWindow(text); err != nil {
			ps.add(fmt.Sprintf("%s.windows[%d]", path, i), "%v", err)
		}
	}
	for _, d := range []struct {
		name  string
		value Duration
		high  time.Duration
	}{
		{"approvalWithin", p.ApprovalWithin, 30 * 24 * time.Hour}, {"soak", p.Soak, 24 * time.Hour},
		{"readyWithin", p.ReadyWithin, 24 * time.Hour}, {"deadAfter", p.DeadAfter, maxDeadAfter},
		{"keepAside", p.KeepAside, 365 * 24 * time.Hour},
	} {
		if d.value < 0 || d.value > Duration(d.high) {
			ps.add(path+"."+d.name, "%s must be between 0s and %s", d.value, Duration(d.high))
		}
	}
	return ps
}

// Opens gives when a planned operation may act, seen from now: now itself while a
// window is open or when there are none.
func (p Policy) Opens(now time.Time) time.Time {
	now = now.UTC()
	var first time.Time
	for _, text := range p.Windows {
		w, err := parseWindow(text)
		if err != nil {
			continue // validation refuses it long before
		}
		if at := w.opens(now); first.IsZero() || at.Before(first) {
			first = at
		}
	}
	if first.IsZero() {
		return now
	}
	return first
}

// window is a part of each of some days of the week, in UTC; one that ends before
// it begins passes midnight.
type window struct {
	days       [7]bool // by time.Weekday
	begin, end time.Duration
}

var (
	windowPattern = regexp.MustCompile(`^(\S+) (\d{2}):(\d{2})-(\d{2}):(\d{2})$`)
	weekdays      = []string{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"}
)

func parseWindow(text string) (window, error) {
	var w window
	m := windowPattern.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return w, fmt.Errorf(`%q is not a window such as "daily 01:00-05:00" or "Mon-Fri 22:00-04:00" (UTC)`, text)
	}
	for part := range strings.SplitSeq(m[1], ",") {
		from, to, isRange := strings.Cut(part, "-")
		first, last := slices.Index(weekdays, from), slices.Index(weekdays, cmp.Or(to, from))
		switch {
		case part == "daily":
			w.days = [7]bool{true, true, true, true, true, true, true}
			continue
		case first < 0 || last < 0 || isRange && to == "":
			return w, fmt.Errorf("%q is not a day of the week (%s), a range of them, or daily", part, strings.Join(weekdays, ", "))
		}
		for day := first; ; day = (day + 1) % 7 {
			w.days[day] = true
			if day == last {
				break
			}
		}
	}
	var err error
	if w.begin, err = clock(m[2], m[3]); err == nil {
		w.end, err = clock(m[4], m[5])
	}
	if err == nil && w.begin == w.end {
		err = fmt.Errorf("%q is empty", text)
	}
	return w, err
}

func clock(hours, minutes string) (time.Duration, error) {
	h, _ := strconv.Atoi(hours)
	m, _ := strconv.Atoi(minutes)
	if h > 24 || m > 59 || h == 24 && m > 0 {
		return 0, fmt.Errorf("%s:%s is no time of the day", hours, minutes)
	}
	return time.Duration(h)*time.Hour + time.Duration(m)*time.Minute, nil
}

// opens gives now while the window is open, and else when it opens next.
func (w window) opens(now time.Time) time.Time {
	length := w.end - w.begin
	if length < 0 {
		length += 24 * time.Hour
	}
	midnight := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, time.UTC)
	for day := -1; ; day++ { // yesterday's may still be open; within a week one opens
		begin := midnight.AddDate(0, 0, day).Add(w.begin)
		switch {
		case !w.days[midnight.AddDate(0, 0, day).Weekday()]:
		case begin.After(now):
			return begin
		case begin.Add(length).After(now):
			return now
		}
	}
}
