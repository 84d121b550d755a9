package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/backup/sealed"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
)

// formatVersion is that of the manifests written here. A reader refuses another one: it
// cannot know what else would have to hold.
const formatVersion = 1

// maxManifest bounds what is read as a manifest; it is under 2 KiB.
const maxManifest = 64 << 10

// Manifest says what a backup is. It holds no secret.
type Manifest struct {
	Format  int    `json:"format"`
	Cluster string `json:"cluster"`
	UID     string `json:"uid"` // of the cluster: a name may be used again
	ID      string `json:"id"`
	// History is the ID that etcd gives the cluster, in hex. Revisions can be compared
	// only within one: a restore begins another.
	History string `json:"history"`
	// AskedBy is who or what asked for it, in words; Operation the ID of the request.
	AskedBy   string `json:"askedBy,omitempty"`
	Operation string `json:"operation,omitempty"`
	// Taken is before the member was asked: every write that was acknowledged by then is
	// in it, because the member had applied all of them when it was chosen. Stored is when all was stored and read back.
	Taken  time.Time `json:"taken"`
	Stored time.Time `json:"stored"`
	// Base is the backup that it was made of by the changes recorded since; empty where a
	// member streamed it. Then Taken is when its last revision was seen, or the time asked for.
	Base string `json:"base,omitempty"`
	// Member is where it came from, and Etcd the version it ran.
	Member  string `json:"member"`
	Learner bool   `json:"learner,omitempty"`
	Etcd    string `json:"etcd"`
	// Revision is the store's last, Compacted the one below which history is gone (0:
	// none is), Keys those that exist at Revision, Hash etcd's own of the store there.
	Revision  int64  `json:"revision"`
	Compacted int64  `json:"compacted"`
	Keys      int    `json:"keys"`
	Hash      uint32 `json:"hash"`
	// Size and SHA256 are of the database, without the 32 bytes behind it that hold the
	// same sum. What is read from a backup is both, as etcdutl takes it.
	Size   fleet.Bytes `json:"size"`
	SHA256 string      `json:"sha256"`
	// Recipient is the public part of the key that it was sealed to.
	Recipient string `json:"recipient"`
	// Lock keeps it from being removed until then; nil where it is not locked.
	Lock *objectstore.Lock `json:"lock,omitempty"`
	// Objects are what the data is stored in, in their order, compressed and sealed.
	Objects []Object `json:"objects"`
}

// Object is something stored, with the digest of its stored bytes.
type Object = sealed.Object

// LockedAt says whether it may not be removed at a time.
func (m Manifest) LockedAt(t time.Time) bool { return locked(m.Lock, t) }

// StoredSize is what the backup takes in the store.
func (m Manifest) StoredSize() (total fleet.Bytes) {
	for _, o := range m.Objects {
		total += o.Size
	}
	return total
}

// envelope is how documents are stored: with the digest of the bytes inside.
type envelope struct {
	SHA256 string          `json:"sha256"`
	Body   json.RawMessage `json:"body"`
}

// encode writes a document so that decode notices any bit that changes. A person can
// still read it.
func encode(document any) ([]byte, error) {
	body, err := json.Marshal(document)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	text, err := json.MarshalIndent(envelope{SHA256: hex.EncodeToString(sum[:]), Body: body}, "", "  ")
	return append(text, '\n'), err
}

// decode reads what encode wrote. The text must be the very one that encode writes for
// it, so that white space and the case of names are covered too.
func decode(text []byte, document any) error {
	var e envelope
	if err := json.Unmarshal(text, &e); err != nil {
		return err
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, e.Body); err != nil {
		return err
	}
	sum := sha256.Sum256(compact.Bytes())
	if e.SHA256 != hex.EncodeToString(sum[:]) {
		return errors.New("it was altered: its digest is another one")
	}
	if err := json.Unmarshal(e.Body, document); err != nil {
		return err
	}
	again, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return err
	}
	if !bytes.Equal(append(again, '\n'), text) {
		return errors.New("it was altered")
	}
	return nil
}

// readDocument reads a document that encode wrote, whole.
func readDocument(ctx context.Context, store objectstore.Store, key string, document any) error {
	text, err := readText(ctx, store, key)
	if err != nil {
		return err
	}
	if err := decode(text, document); err != nil {
		return damaged(key, "%w", err)
	}
	return nil
}

// readText reads the bytes of a document.
func readText(ctx context.Context, store objectstore.Store, key string) ([]byte, error) {
	text, err := objectstore.ReadWhole(ctx, store, key, maxManifest)
	if fleet.Is(err, fleet.Lost) {
		err = damaged(key, "%w", err)
	}
	return text, err
}

// Manifest reads that of one backup from the first store. Errors: fleet.NotFound when there
// is none, which means that there is no backup; fleet.Lost when it is damaged or is not that
// of this backup; as of the store.
func (v Vault) Manifest(ctx context.Context, cluster, uid, id string) (Manifest, error) {
	return manifestIn(ctx, v.Store, cluster, uid, id)
}

// Find is Manifest for who reads the backup: it may also be in the second store.
func (v Vault) Find(ctx context.Context, cluster, uid, id string) (Manifest, error) {
	return either(ctx, v, "manifest of backup "+id, func(from objectstore.Store) (Manifest, error) { return manifestIn(ctx, from, cluster, uid, id) })
}

func manifestIn(ctx context.Context, store objectstore.Store, cluster, uid, id string) (Manifest, error) {
	var m Manifest
	key := manifestKey(cluster, uid, id)
	if err := readDocument(ctx, store, key, &m); err != nil {
		return Manifest{}, err
	}
	if err := m.check(cluster, uid, id); err != nil {
		return Manifest{}, damaged(key, "%w", err)
	}
	return m, nil
}

// check says why a manifest is none of this backup.
func (m Manifest) check(cluster, uid, id string) error {
	switch {
	case m.Format != formatVersion:
		return fleet.Errorf(fleet.Invalid, "", "it is of format %d, and this version reads %d", m.Format, formatVersion)
	case m.Cluster != cluster, m.UID != uid, m.ID != id:
		return fleet.Errorf(fleet.Invalid, "", "it is that of %s (UID %s), and was put here", m, m.UID)
	case len(m.Objects) == 0, m.Size <= 0, !isDigest(m.SHA256), m.Revision < 1, m.Taken.IsZero():
		return fleet.Errorf(fleet.Invalid, "", "it does not say what was stored")
	case slices.ContainsFunc(m.Objects, func(o Object) bool {
		return !isDigest(o.SHA256) || !strings.HasPrefix(o.Key, prefixOf(cluster, uid)+id+"/")
	}):
		return fleet.Errorf(fleet.Invalid, "", "it names objects that are not its own")
	}
	return nil
}

func isDigest(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == sha256.Size
}
