package node

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/node/internal/durable"
	"github.com/flotilla-etcd/flotilla/node/service"
)

// member is what this host knows of a member: the content of its member.json.
type member struct {
	Owner
	DiskID string `json:"diskId"`
	// Start is how it is to run; nil until it was first started on this host.
	Start *StartRequest `json:"start,omitempty"`
	// Adopting is the data directory of something else that is being taken over.
	Adopting string `json:"adopting,omitempty"`
	// Certified is the generation of its certificates.
	Certified string `json:"certified,omitempty"`
	// TrustsSince is when the bundle of authorities last became another one. It is
	// the zero Moment while that is being done, and nil before the first bundle.
	TrustsSince *service.Moment `json:"trustsSince,omitempty"`
}

// Owner says whose a data directory is: the content of owner.json on the disk. A
// data directory is never used twice, so it is never changed.
type Owner struct {
	Cluster string `json:"cluster"`
	UID     string `json:"uid"`
	Member  string `json:"member"`
}

func (o Owner) String() string { return "member " + o.Member + " of " + o.Cluster + " (" + o.UID + ")" }

// Where things of a member are.
func (n *Node) membersDir() string            { return n.path("var/lib/flotilla/members") }
func (n *Node) memberDir(name string) string  { return filepath.Join(n.membersDir(), name) }
func (n *Node) memberFile(name string) string { return filepath.Join(n.memberDir(name), "member.json") }
func (n *Node) pkiDir(name string) string     { return filepath.Join(n.memberDir(name), "pki") }
func (n *Node) disk(id string) string         { return n.path("disks", id) }
func (m member) onDisk(n *Node) string        { return filepath.Join(n.disk(m.DiskID), m.Member) }
func (m member) dataDir(n *Node) string       { return filepath.Join(m.onDisk(n), "data") }
func (m member) ownerFile(n *Node) string     { return filepath.Join(m.onDisk(n), "owner.json") }

// The files in a member's pki directory.
const (
	caCert     = "ca.crt"
	serverKey  = "server.key"
	serverCert = "server.crt"
	peerKey    = "peer.key"
	peerCert   = "peer.crt"
)

func (n *Node) pkiFile(member, file string) string { return filepath.Join(n.pkiDir(member), file) }

func resourceOf(member string) string { return "member " + member }

// member reads what the host knows of a member; fleet.NotFound when that is nothing.
func (n *Node) member(name string) (member, error) {
	if err := checkMember(name); err != nil {
		return member{}, err
	}
	var m member
	switch err := durable.ReadJSON(n.memberFile(name), &m); {
	case errors.Is(err, fs.ErrNotExist):
		return member{}, fleet.Errorf(fleet.NotFound, resourceOf(name), "is not known on this host").
			WithRemedy("prepare it first")
	case err != nil:
		return member{}, onHost(resourceOf(name), err)
	}
	return m, nil
}

func (n *Node) writeMember(m member) error {
	return onHost(resourceOf(m.Member), durable.WriteJSON(n.memberFile(m.Member), m, 0o644))
}

// checkDisk says whether a member's disk is there.
func (n *Node) checkDisk(m member) error {
	info, err := os.Stat(n.disk(m.DiskID))
	away, lookErr := n.lacksMount(m.DiskID)
	if lookErr != nil {
		return onHost("disk "+m.DiskID, lookErr)
	}
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() || away {
		return fleet.Errorf(fleet.NotFound, "disk "+m.DiskID, "is not mounted on this host for member %s", m.Member).
			WithRemedy("attach it")
	}
	return onHost("disk "+m.DiskID, err)
}

// checkOwner refuses a data directory that is somebody else's, or whose owner is
// not known although there is data in it. Not owned yet is fs.ErrNotExist.
func (n *Node) checkOwner(m member) error {
	var owner Owner
	resource := "data of " + resourceOf(m.Member) + " on disk " + m.DiskID
	err := durable.ReadJSON(m.ownerFile(n), &owner)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		entries, err := os.ReadDir(m.dataDir(n))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return onHost(resource, err)
		}
		if len(entries) > 0 {
			return fleet.Errorf(fleet.Blocked, resource, "there is data that does not say whose it is; a data directory is never used twice").
				WithRemedy("use an empty disk")
		}
		return fs.ErrNotExist
	case err != nil:
		return onHost(resource, err)
	case owner != m.Owner:
		return fleet.Errorf(fleet.Blocked, resource, "it belongs to %s, not to %s; a data directory is never used twice", owner, m.Owner).
			WithRemedy("use an empty disk")
	}
	return nil
}
