// Package backup keeps copies of clusters in an object store, and gives them back:
// snapshots, the changes since, and which of them are to be kept. docs/backup.md
// describes what lies where.
//
// It holds what is true of every backup, whoever asks for it:
//
//   - A backup counts when its manifest is there. The manifest is written last, once,
//     after everything else was read back; it is removed first.
//   - What is read is compared with the manifest to the last byte. Its reader gives an
//     error instead of an end when anything is altered, cut short or missing.
//   - What passes through it is bounded in memory, whatever its size.
//
// Package sealed below it reads what is stored, also on hosts.
//
// It knows no workflows: of ours it imports fleet, etcdadmin, objectstore and pki.
package backup

import (
	"context"
	"crypto/rand"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/backup/sealed"
	"github.com/flotilla-etcd/flotilla/objectstore"
	"github.com/flotilla-etcd/flotilla/pki"
)

// Root is what the keys of all backups begin with.
const Root = "backups/"

// Vault is where backups are: a store, and the key that seals them. It seals to the
// first of the key's identities and opens with any, so a key is rotated by putting a
// new one in front.
//
// Where there is a second store, what is written and removed is in Store alone, and Copier
// makes the second one follow. What is read comes from Store, and from Second when Store
// does not have it, has it altered, or does not answer.
type Vault struct {
	Store objectstore.Store
	Key   *pki.FleetKey
	// Second is nil where there is none.
	Second objectstore.Store
	// Absence remembers that Store does not answer, where there is a second one; nil does not.
	Absence *objectstore.Absence
	// FellBack is told what was read from Second, and why; nil tells nobody.
	FellBack func(what string, why error)
}

// fell tells that something comes from the second store.
func (v Vault) fell(what string) func(why error) {
	return func(why error) {
		if v.FellBack != nil {
			v.FellBack(what, why)
		}
	}
}

// first is the first store for who reads: where the second has the same, it is not waited for
// long.
func (v Vault) first() objectstore.Store {
	if v.Second == nil {
		return v.Store
	}
	return v.Absence.Reading(v.Store)
}

// either reads something from the first store, or else from the second.
func either[T any](ctx context.Context, v Vault, what string, read func(from objectstore.Store) (T, error)) (T, error) {
	value, err := read(v.first())
	if err == nil || v.Second == nil || ctx.Err() != nil {
		return value, err
	}
	copied, also := read(v.Second)
	if also != nil {
		return value, sealed.Neither(err, also)
	}
	v.fell(what)(err)
	return copied, nil
}

// Names of what belongs to one backup, below its prefix.
const (
	manifestName  = "manifest.json"
	rehearsalName = "rehearsal.json"
	repairsName   = "repairs.json"
	dataSuffix    = ".db.zst.age"
)

// prefixOf is where the snapshots of a cluster are.
func prefixOf(cluster, uid string) string {
	return fmt.Sprintf("%s%s/%s/snapshots/", Root, cluster, uid)
}

func manifestKey(cluster, uid, id string) string {
	return prefixOf(cluster, uid) + id + "/" + manifestName
}

// freshKey is where one attempt stores the data. Each attempt has its own: one that
// was taken for dead and still writes cannot alter what another has stored.
func (m Manifest) freshKey() string {
	return prefixOf(m.Cluster, m.UID) + m.ID + "/" + strings.ToLower(rand.Text()[:12]) + dataSuffix
}

// NewID names a backup by when it was asked for and by what. IDs sort by time.
func NewID(asked time.Time, operation string) string {
	return asked.UTC().Format("20060102t150405z") + "-" + operation
}

// idOf gives the ID of the backup that a key belongs to.
func idOf(key string) string { return path.Base(path.Dir(key)) }

// String names the backup for a person.
func (m Manifest) String() string { return fmt.Sprintf("backup %s of %s", m.ID, m.Cluster) }

// damaged says that a backup must not be used.
func damaged(resource, format string, args ...any) error {
	return sealed.Damaged(resource, format, args...)
}

// Bounds of memory. A backup of any size is written within MaxMemory: what the store
// buffers (objectstore.MaxBuffered, 16 MiB), what is read ahead of the seal (2 MiB, and as
// much compressed), and what compresses it. Reading takes no more. Beside it, looking at
// what a snapshot holds takes keyspace.MaxMemory (24 MiB) at most, less where it has fewer
// than 400,000 keys, its largest value, and a bit for each revision up to the last
// compaction.
const (
	MaxMemory = 32 << 20
	// pieces is what is copied at once.
	pieces = 256 << 10
)
