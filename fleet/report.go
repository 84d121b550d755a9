package fleet

import "time"

// MemberState is what the host side says of a member's process.
type MemberState string

// The states of a member's process on its host.
const (
	// MemberPrepared: release and certificates are in place, it was never started.
	MemberPrepared MemberState = "prepared"
	// MemberRunning: the process runs. Whether it serves is Ready.
	MemberRunning MemberState = "running"
	// MemberRestarting: it crashed and is about to be started again.
	MemberRestarting MemberState = "restarting"
	// MemberStopped: it was asked to stop and stays stopped.
	MemberStopped MemberState = "stopped"
)

// MemberReport is what a host says about one member on it.
type MemberReport struct {
	Name       string      `json:"name"`
	Cluster    string      `json:"cluster"`
	UID        string      `json:"uid"`
	State      MemberState `json:"state"`
	PID        int         `json:"pid,omitempty"`
	Restarts   int         `json:"restarts,omitempty"`
	LastExit   string      `json:"lastExit,omitempty"` // how it ended last: "exit status 1", with the last line it logged
	Version    string      `json:"version,omitempty"`
	ClientPort int         `json:"clientPort,omitempty"`
	PeerPort   int         `json:"peerPort,omitempty"`
	DiskID     string      `json:"diskId,omitempty"`
	Ready      bool        `json:"ready"`
	NotReady   string      `json:"notReady,omitempty"` // why, in words
	DBSize     Bytes       `json:"dbSize,omitempty"`
	DiskUsed   Bytes       `json:"diskUsed,omitempty"`
	DiskFree   Bytes       `json:"diskFree,omitempty"`
	// CertifiedUntil is when its leaf certificate ends; zero before it has one.
	CertifiedUntil time.Time `json:"certifiedUntil"`
	// Configured is how it is to run; nil before it was first started. Version above
	// is what runs.
	Configured *MemberConfig `json:"configured,omitempty"`
	// Up is for how long its process has run, zero when it does not.
	Up Duration `json:"up,omitempty"`
	// DiskSize is the size of the file system that its data is on.
	DiskSize Bytes `json:"diskSize,omitempty"`
	// Trusts are the fingerprints of the authorities in its bundle, and Issuer that of
	// the one that signed its certificates.
	Trusts []string `json:"trusts,omitempty"`
	Issuer string   `json:"issuer,omitempty"`
	// TrustIsOld says that its process began before the bundle was written, and so
	// trusts another one: etcd reads it when it starts.
	TrustIsOld bool `json:"trustIsOld,omitempty"`
	// Certified is the generation of its certificates, as MemberConfig.Generation is of
	// its process.
	Certified string `json:"certified,omitempty"`
	// MinorSince is when it was first started under the minor that is configured, by the
	// clock of its host. It is for people: clocks of several hosts are not compared.
	MinorSince time.Time `json:"minorSince,omitzero"`
	// Recovered is the token of the recovery that made its data; empty when none did.
	Recovered string `json:"recovered,omitempty"`
	// Restored is what its data was made from; nil when it was not restored.
	Restored *Restored `json:"restored,omitempty"`
	// SetAside is what data that a restore or a recovery put aside takes on its disk.
	SetAside Bytes `json:"setAside,omitempty"`
	// RaftSnapshot is the entry of the log that its newest raft snapshot stands for, and
	// MinorSnapshot that of the oldest one there is that it wrote, or was sent, under the
	// minor that is configured; zero if it has none.
	RaftSnapshot  uint64 `json:"raftSnapshotIndex,omitempty"`
	MinorSnapshot uint64 `json:"minorSnapshotIndex,omitempty"`
}

// Snapshotted says which of these members may still have entries in their logs from before
// the last of them left the minor before, and from which entry on a raft snapshot shows that
// one has none: everybody's first one under this minor is past whatever that member wrote
// before. Entries are counted alike at all members, which clocks of hosts are not. since is
// zero where some member has no raft snapshot of this minor yet.
func Snapshotted(members []*MemberReport) (since uint64, old []string) {
	complete := true
	for _, m := range members {
		since = max(since, m.MinorSnapshot)
		complete = complete && m.MinorSnapshot > 0
	}
	if !complete {
		since = 0
	}
	for _, m := range members {
		if m.MinorSnapshot == 0 || since > 0 && m.RaftSnapshot < since {
			old = append(old, m.Name)
		}
	}
	return since, old
}

// Restored says what a member's data was made from.
type Restored struct {
	// Token is that of the restore, and From what it was made from, in words.
	Token string `json:"token"`
	From  string `json:"from"`
	// Backup is the ID of the backup, where it was one.
	Backup string `json:"backup,omitempty"`
	// Members are those of the cluster that it was made for, this one included.
	Members []string `json:"members"`
	// Revision is where the store stood afterwards.
	Revision int64 `json:"revision"`
}

// HostReport is what the host side (flotilla-node) says about its host.
type HostReport struct {
	NodeVersion string         `json:"nodeVersion"`
	Platform    string         `json:"platform"` // GOOS/GOARCH, as in linux/amd64
	Releases    []string       `json:"releases,omitempty"`
	Members     []MemberReport `json:"members,omitempty"`
}

// Find gives the report of a member, or nil if the host knows none of that name.
func (r *HostReport) Find(member string) *MemberReport {
	if r == nil {
		return nil
	}
	for i := range r.Members {
		if r.Members[i].Name == member {
			return &r.Members[i]
		}
	}
	return nil
}

// MembersOrNone gives the members on the host; none when there is no report.
func (r *HostReport) MembersOrNone() []MemberReport {
	if r == nil {
		return nil
	}
	return r.Members
}
