package fleet

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits of a spec, each with the reason for its value.
const (
	// MaxName keeps member names, tags and tokens within the clouds' limits.
	MaxName = 32
	// MaxQuota is the largest store that etcd suggests (8 GiB) with room for those
	// who know better; beyond it, starting and snapshots take minutes.
	MaxQuota = 16 * GiB
	// MaxElectionTimeout is etcd's own upper limit.
	MaxElectionTimeout = Duration(50 * time.Second)
	// DiskPerQuota is how much disk a store needs: the store, the copy that a
	// defragmentation writes beside it, and a quarter for WAL and snapshots.
	DiskPerQuota = 2.25
)

var (
	namePattern    = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)
	versionPattern = regexp.MustCompile(`^(\d+)\.(\d+)\.(\d+)$`)
	placePattern   = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
)

// providers are the names that Spec.Provider may have.
var providers = []string{"local", "aws", "aliyun"}

// minors are the minor versions of etcd that are supported.
var minors = []string{"3.5", "3.6", "3.7"}

// Validate gives everything that is wrong with the spec, every field by its
// path. It checks what can be told from the document alone; whether a version is
// in the catalogue or a machine type is sold is checked where that is known.
//
//workflowcheck:ignore
func (s Spec) Validate() Problems {
	var ps Problems
	switch {
	case s.Name == "":
		ps.add("name", "is missing")
	case !namePattern.MatchString(s.Name):
		ps.add("name", "%q must be lower-case letters, digits and dashes, and begin with a letter", s.Name)
	case len(s.Name) > MaxName:
		ps.add("name", "%q is longer than %d characters", s.Name, MaxName)
	}
	oneOf(&ps, "provider", s.Provider, providers)
	place(&ps, "region", s.Region)
	s.validateZones(&ps)
	s.validateSize(&ps)
	s.Etcd.validate(&ps, s.Learners)
	if s.Machine.Type == "" {
		ps.add("machine.type", "is missing")
	}
	if s.Machine.Disk.Category == "" {
		ps.add("machine.disk.category", "is missing")
	}
	if need := s.diskNeeded(); s.Machine.Disk.Size <= 0 {
		ps.add("machine.disk.size", "%s is no disk", s.Machine.Disk.Size)
	} else if s.Machine.Disk.Size < need {
		ps.add("machine.disk.size", "%s is too small for a quota of %s: it needs %s (the store, room to defragment it, and the WAL)",
			s.Machine.Disk.Size, s.Etcd.Quota, need.Human())
	}
	oneOf(&ps, "class", string(s.Class), []string{string(Guaranteed), string(Burstable), string(BestEffort)})
	if s.Machine.Change != "" {
		oneOf(&ps, "machine.change", string(s.Machine.Change), []string{string(ReplaceMachine), string(ResizeMachine)})
	}
	ps = append(ps, s.Policy.Validate("policy")...)
	ps = append(ps, s.Backup.Validate("backup")...)
	ps = append(ps, s.Clients.Validate("clients")...)
	for _, key := range slices.Sorted(maps.Keys(s.Labels)) {
		if key == "" || strings.HasPrefix(key, "flotilla:") || len(key) > 63 || len(s.Labels[key]) > 255 {
			ps.add("labels."+key, "a label has a name of 1 to 63 characters, not beginning with flotilla:, and a value of at most 255")
		}
	}
	return ps
}

func (s Spec) validateZones(ps *Problems) {
	if len(s.Zones) == 0 {
		ps.add("zones", "is missing: name at least one zone")
	}
	validateZones(ps, "zones", s.Zones)
	s.validateStandby(ps)
}

func (s Spec) validateStandby(ps *Problems) {
	standby := s.Standby
	if standby.Provider != "" {
		oneOf(ps, "standby.provider", standby.Provider, providers)
	}
	if standby.Region != "" {
		place(ps, "standby.region", standby.Region)
	}
	switch {
	case len(standby.Zones) == 0 && !standby.equal(StandbySpec{}):
		ps.add("standby.zones", "is missing: name at least one zone of the standby")
	case standby.Provider != "" && standby.Provider != s.Provider && standby.Region == "":
		ps.add("standby.region", "is missing: %s has regions of its own", standby.Provider)
	case s.StandbyElsewhere():
		s.validateStandbyMachine(ps)
	case standby.Machine != (StandbyMachine{}):
		ps.add("standby.machine", "is for a standby in another region: here, learners run on what voters run on")
	}
	if standby.MaxLag != 0 {
		between(ps, "standby.maxLag", standby.MaxLag, Duration(100*time.Millisecond), Duration(3*time.Second)) // a list of the fleet waits little longer
	}
	validateZones(ps, "standby.zones", standby.Zones)
	for i, zone := range standby.Zones {
		if !s.StandbyElsewhere() && slices.Contains(s.Zones, zone) {
			ps.add(fmt.Sprintf("standby.zones[%d]", i), "%q is a zone of the voters: what takes it away would take both", zone)
		}
	}
}

// validateStandbyMachine checks what members elsewhere run on.
func (s Spec) validateStandbyMachine(ps *Problems) {
	own := s.Standby.Machine
	if s.Standby.Provider != "" && s.Standby.Provider != s.Provider {
		if own.Type == "" {
			ps.add("standby.machine.type", "is missing: %s has types of its own", s.Standby.Provider)
		}
		if own.Disk.Category == "" {
			ps.add("standby.machine.disk.category", "is missing: %s has categories of its own", s.Standby.Provider)
		}
	}
	if need := s.diskNeeded(); own.Disk.Size != 0 && own.Disk.Size < need {
		ps.add("standby.machine.disk.size", "%s is too small for a quota of %s: it needs %s", own.Disk.Size, s.Etcd.Quota, need.Human())
	}
}

// diskNeeded is the least size of a member's disk.
func (s Spec) diskNeeded() Bytes { return Bytes(float64(s.Etcd.Quota) * DiskPerQuota) }

func validateZones(ps *Problems, path string, zones []string) {
	for i, zone := range zones {
		place(ps, fmt.Sprintf("%s[%d]", path, i), zone)
		if slices.Index(zones, zone) < i {
			ps.add(fmt.Sprintf("%s[%d]", path, i), "%q is named twice", zone)
		}
	}
}

func (s Spec) validateSize(ps *Problems) {
	switch {
	case s.Voters >= 1 && s.Voters <= 7 && s.Voters%2 == 0:
		ps.add("voters", "%d must be odd (1, 3, 5, 7): an even number adds a way to fail, not tolerance", s.Voters)
	case s.Voters < 1 || s.Voters > 7:
		ps.add("voters", "%d must be 1, 3, 5 or 7", s.Voters)
	}
	if s.Learners < 0 {
		ps.add("learners", "%d is negative", s.Learners)
	}
}

func (e EtcdSpec) validate(ps *Problems, learners int) {
	minor := Minor(e.Version)
	switch {
	case e.Version == "":
		ps.add("etcd.version", "is missing")
	case minor == "":
		ps.add("etcd.version", "%q is not a version such as 3.7.3", e.Version)
	case !slices.Contains(minors, minor):
		ps.add("etcd.version", "%s is not supported: the minors are %s", e.Version, strings.Join(minors, ", "))
	}
	if e.Quota < 16*MiB || e.Quota > MaxQuota {
		ps.add("etcd.quota", "%s must be between %s and %s", e.Quota, 16*MiB, MaxQuota)
	}
	between(ps, "etcd.snapshotCount", e.SnapshotCount, 100, 10_000_000)
	between(ps, "etcd.heartbeatInterval", e.HeartbeatInterval, Duration(10*time.Millisecond), Duration(10*time.Second))
	if e.ElectionTimeout < 5*e.HeartbeatInterval {
		ps.add("etcd.electionTimeout", "%s must be at least five heartbeat intervals (%s)", e.ElectionTimeout, 5*e.HeartbeatInterval)
	} else if e.ElectionTimeout > MaxElectionTimeout {
		ps.add("etcd.electionTimeout", "%s is more than etcd's limit of %s", e.ElectionTimeout, MaxElectionTimeout)
	}
	e.AutoCompaction.validate(ps)
	between(ps, "etcd.maxLearners", e.MaxLearners, 1, 16)
	if minor == "3.5" && e.MaxLearners > 1 {
		ps.add("etcd.maxLearners", "etcd 3.5 allows one learner at a time")
	}
	if learners > e.MaxLearners {
		ps.add("learners", "%d is more than etcd.maxLearners (%d)", learners, e.MaxLearners)
	}
	between(ps, "etcd.maxRequest", e.MaxRequest, 4*KiB, 128*MiB)
	between(ps, "etcd.maxTxnOps", e.MaxTxnOps, 1, 100_000)
}

func (a AutoCompaction) validate(ps *Problems) {
	const at = "etcd.autoCompaction"
	switch a.Mode {
	case "off":
		if a.Retention != 0 || a.Revisions != 0 {
			ps.add(at, "mode off keeps all history; retention and revisions have no meaning")
		}
	case "periodic":
		if a.Retention <= 0 || a.Revisions != 0 {
			ps.add(at, "mode periodic needs a retention, as in 1h, and no revisions")
		}
	case "revision":
		if a.Revisions <= 0 || a.Retention != 0 {
			ps.add(at, "mode revision needs revisions, as in 1000, and no retention")
		}
	default:
		oneOf(ps, at+".mode", a.Mode, []string{"off", "periodic", "revision"})
	}
}

// Minor gives "3.7" of "3.7.3", or "" if that is not a version.
func Minor(version string) string {
	m := versionPattern.FindStringSubmatch(version)
	if m == nil {
		return ""
	}
	return m[1] + "." + m[2]
}

// CheckRestorable says whether a release of etcd can serve what another one wrote: of the
// same minor, or of the one before. Error: Invalid.
func CheckRestorable(wrote, serves string) error {
	a, b := versionPattern.FindStringSubmatch(wrote), versionPattern.FindStringSubmatch(serves)
	if a != nil && b != nil && a[1] == b[1] {
		old, _ := strconv.Atoi(a[2])
		now, _ := strconv.Atoi(b[2])
		if now == old || now == old+1 {
			return nil
		}
	}
	return Errorf(Invalid, "version", "etcd %s cannot serve what etcd %s wrote: only that minor and the next one can", serves, wrote).
		WithRemedy("restore with etcd %s, and upgrade then", wrote)
}

// CompareVersions orders two versions such as 3.6.16 and 3.7.3; what is not a
// version comes first.
func CompareVersions(a, b string) int {
	x, y := versionPattern.FindStringSubmatch(a), versionPattern.FindStringSubmatch(b)
	if x == nil || y == nil {
		return cmp.Compare(len(x), len(y))
	}
	for i := 1; i <= 3; i++ {
		m, _ := strconv.Atoi(x[i])
		n, _ := strconv.Atoi(y[i])
		if m != n {
			return cmp.Compare(m, n)
		}
	}
	return 0
}

func oneOf(ps *Problems, path, value string, allowed []string) {
	switch {
	case value == "":
		ps.add(path, "is missing: one of %s", strings.Join(allowed, ", "))
	case !slices.Contains(allowed, value):
		ps.add(path, "%q is not one of %s", value, strings.Join(allowed, ", "))
	}
}

func place(ps *Problems, path, value string) {
	if value == "" {
		ps.add(path, "is missing")
	} else if !placePattern.MatchString(value) || len(value) > MaxName {
		ps.add(path, "%q is not a name of a place", value)
	}
}

func between[T cmp.Ordered](ps *Problems, path string, value, low, high T) {
	if value < low || value > high {
		ps.add(path, "%v must be between %v and %v", value, low, high)
	}
}
