package node

import "github.com/flotilla-etcd/flotilla/fleet"

// The verbs of flotilla-node. Each reads one JSON request from standard input
// and writes one JSON Reply to standard output; each may be sent again after any
// kind of death and then does what is left.
const (
	VerbInstall = "install" // InstallRequest → InstallResult
	VerbPrepare = "prepare" // PrepareRequest → PrepareResult
	VerbCertify = "certify" // CertifyRequest → fleet.MemberReport
	VerbStart   = "start"   // StartRequest → fleet.MemberReport
	VerbAdopt   = "adopt"   // AdoptRequest → fleet.MemberReport
	VerbStop    = "stop"    // MemberRequest → fleet.MemberReport
	VerbRestart = "restart" // MemberRequest → fleet.MemberReport
	VerbGrow    = "grow"    // GrowRequest → fleet.MemberReport
	VerbReport  = "report"  // nothing → fleet.HostReport
	VerbExamine = "examine" // MemberRequest → fleet.DataReport
	VerbRecover = "recover" // RecoverRequest → RecoverResult
	VerbBorrow  = "borrow"  // MemberRequest → BorrowResult
	VerbRestore = "restore" // RestoreRequest → RestoreResult
	VerbLetGo   = "let-go"  // MemberRequest → LetGoResult
	VerbWipe    = "wipe"    // MemberRequest → nothing
)

// Reply is what every verb writes. Exactly one of Result and Error is set, and
// the exit code is 0 or 1 accordingly.
type Reply[T any] struct {
	Result *T          `json:"result,omitempty"`
	Error  *ReplyError `json:"error,omitempty"`
}

// ReplyError is a fleet.Error on its way from a host.
type ReplyError struct {
	Kind     fleet.Kind `json:"kind"`
	Resource string     `json:"resource"`
	Message  string     `json:"message"`
	Remedy   string     `json:"remedy,omitempty"`
}

// InstallRequest asks for a release of etcd: a tar.gz laid out as the official
// ones, with etcd, etcdctl and etcdutl in its top folder.
type InstallRequest struct {
	Version string `json:"version"`
	URL     string `json:"url"` // https://, http://, file:// or a path
	SHA256  string `json:"sha256"`
}

// InstallResult says what was done.
type InstallResult struct {
	Version   string `json:"version"`
	Installed bool   `json:"installed"` // false: it was there already, and whole
}

// PrepareRequest asks for a member's directory on its data disk, its keys, and
// the certificate requests for them. Keys that exist are kept.
type PrepareRequest struct {
	Cluster string `json:"cluster"`
	UID     string `json:"uid"`
	Member  string `json:"member"`
	DiskID  string `json:"diskId"`
}

// PrepareResult carries the requests to be signed. The keys stay on the host.
type PrepareResult struct {
	ServerCSR string `json:"serverCsr"` // PEM; for the client port
	PeerCSR   string `json:"peerCsr"`   // PEM; for the peer port
}

// CertifyRequest brings the signed certificates. A running member picks them up
// at its next handshake, without a restart.
type CertifyRequest struct {
	Member     string `json:"member"`
	CA         string `json:"ca"`         // PEM bundle that is trusted from now on
	ServerCert string `json:"serverCert"` // PEM
	PeerCert   string `json:"peerCert"`   // PEM
	// Generation is reported as fleet.MemberReport.Certified.
	Generation string `json:"generation,omitempty"`
}

// Peer is a member of the initial cluster.
type Peer struct {
	Name string `json:"name"`
	URL  string `json:"url"`
}

// StartRequest says how a member is to run from now on. Starting a member that
// runs with the same request changes nothing. Token, Initial and Existing are what
// a member without data begins with; once it has some, they make no difference.
type StartRequest struct {
	Member     string `json:"member"`
	Version    string `json:"version"`
	Address    string `json:"address"`
	ClientPort int    `json:"clientPort"`
	PeerPort   int    `json:"peerPort"`
	Token      string `json:"token"` // initial-cluster-token
	Initial    []Peer `json:"initial"`
	Existing   bool   `json:"existing"` // initial-cluster-state is existing, not new
	// After are the members that start before this one, in their order: see awaitTurn.
	After []Peer `json:"after,omitempty"`
	// PeerCN is the only common name that peers may have. Empty lets in whatever the
	// authority signed for peers: what a cluster needs that is being adopted, as long
	// as some of its members still have the certificates that they came with.
	PeerCN   string             `json:"peerCn"`
	Settings fleet.EtcdSettings `json:"settings"`
	// Generation is reported as part of fleet.MemberReport.Configured; a member that
	// runs with another one is restarted.
	Generation string `json:"generation,omitempty"`
}

// AdoptRequest asks to take over a member that something else runs on this host:
// to end its process, move its data to where ours is kept, and run it as Start
// says. The member was prepared and certified before, like any other.
type AdoptRequest struct {
	Cluster string `json:"cluster"`
	UID     string `json:"uid"`
	DiskID  string `json:"diskId"`
	// DataDir is its data directory as it is now (etcd's --data-dir): an absolute path
	// of the host, on the disk.
	DataDir string `json:"dataDir"`
	// Unit is the systemd unit that runs it, as in etcd.service. Without one, whatever
	// process has the data open is ended.
	Unit  string       `json:"unit,omitempty"`
	Start StartRequest `json:"start"`
}

// RecoverRequest asks to make a stopped member a cluster of its own, from its data. How
// it is run until it is one is as Start says. The same Token is the same recovery: done
// once, it is not done again.
type RecoverRequest struct {
	Token string       `json:"token"`
	Start StartRequest `json:"start"`
}

// RecoverResult says what was recovered from what.
type RecoverResult struct {
	Before fleet.DataReport `json:"before"`
	After  fleet.DataReport `json:"after"`
	// Kept is where the data is as it was before, on the member's disk.
	Kept string `json:"kept"`
}

// BorrowResult says to whom the key of a backup is to be lent, for a member to be
// restored: pki.FleetKey.Lend. The host keeps the other part until that is done.
type BorrowResult struct {
	Recipient string `json:"recipient"`
}

// RestoreRequest asks for a stopped member's data to be made from a snapshot. The same
// Token is the same restore: done once, it is not done again.
type RestoreRequest struct {
	Token string `json:"token"`
	// Start is how it is to run afterwards: its Initial are the members of the cluster
	// that begins with this data, each of which is restored alike, and its Token makes
	// that cluster another one than any before.
	Start StartRequest `json:"start"`
	From  RestoreFrom  `json:"from"`
	// Bump moves the revision on by so much, and marks all below it as compacted: who
	// watches from a revision of before is told, and lists anew. Zero leaves it.
	Bump int64 `json:"bump,omitempty"`
	// SetAside allows it for a member that has data: that is kept beside the new one.
	SetAside bool `json:"setAside,omitempty"`
}

// RestoreFrom is a snapshot: objects that can be fetched, or a file that is there.
type RestoreFrom struct {
	// Name is what errors call it, and Backup the ID of the backup, where it is one.
	Name   string `json:"name"`
	Backup string `json:"backup,omitempty"`
	// Objects are what a backup is stored in, in their order, and Key is what opens
	// them, lent to this host.
	Objects []RestoreObject `json:"objects,omitempty"`
	Key     []byte          `json:"key,omitempty"`
	// File is a file of this host instead: an absolute path. It may be a snapshot, or a
	// copy of a store that no process has open; that has no checksum to be compared.
	File string `json:"file,omitempty"`
	// Etcd is the release that wrote it; empty when that is not known.
	Etcd string `json:"etcd,omitempty"`
	// Expect is what it must hold; nil takes what a File holds. It is needed for Objects.
	Expect *SnapshotFacts `json:"expect,omitempty"`
}

// RestoreObject is one object of a backup, and where it can be fetched.
type RestoreObject struct {
	URL string `json:"url"` // as in InstallRequest
	// Second is where it is too, byte for byte, if what URL gives is not whole; empty: nowhere.
	Second string      `json:"second,omitempty"`
	Size   fleet.Bytes `json:"size"`
	SHA256 string      `json:"sha256"`
}

// SecondFirst has the host begin with where the objects are too.
func (f *RestoreFrom) SecondFirst() {
	for i := range f.Objects {
		if o := &f.Objects[i]; o.Second != "" {
			o.URL, o.Second = o.Second, o.URL
		}
	}
}

// SnapshotFacts is what a snapshot holds, as the manifest of a backup says it.
type SnapshotFacts struct {
	Size     fleet.Bytes `json:"size"` // of the database, without the checksum behind it
	SHA256   string      `json:"sha256"`
	Revision int64       `json:"revision"`
	Hash     uint32      `json:"hash"`
	Keys     int         `json:"keys"`
}

// RestoreResult says what was made from what.
type RestoreResult struct {
	// Before is what the snapshot held: its Revision, Compacted, Hash and Keys. After is what
	// the data directory holds.
	Before fleet.DataReport `json:"before"`
	After  fleet.DataReport `json:"after"`
	// Kept is where the data is that was there before, on the member's disk; empty when
	// there was none.
	Kept string `json:"kept,omitempty"`
	// Second says why the snapshot was read from where it is too; empty when it was not.
	Second string `json:"second,omitempty"`
	// Took is how long it took, in all, in the attempt that did it.
	Took fleet.Duration `json:"took"`
}

// LetGoResult says what was deleted of the data that had been put aside.
type LetGoResult struct {
	Deleted []string    `json:"deleted,omitempty"`
	Size    fleet.Bytes `json:"size"`
}

// GrowRequest asks for the file system on a member's disk to be as large as the
// disk is, which is to have at least Size. The member goes on running.
type GrowRequest struct {
	Member string      `json:"member"`
	Size   fleet.Bytes `json:"size"`
}

// MemberRequest names a member.
type MemberRequest struct {
	Member string `json:"member"`
}
