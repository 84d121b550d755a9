package datadir

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io/fs"
	"os"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/flotilla-etcd/flotilla/etcdadmin/keyspace"
	"github.com/flotilla-etcd/flotilla/fleet"
)

// lockPatience is how long the store's lock is waited for: a process that has just been
// killed may have it for a moment.
const lockPatience = 500 * time.Millisecond

// storeContent is what the store (member/snap/db) holds.
type storeContent struct {
	applied             fleet.LogPosition
	revision, compacted int64
	hash                uint32
	keys                int
	clusterVersion      string
	storageVersion      string
	members             []fleet.DataMember
	size                int64

	// earlier is what it held at a revision before. What it is asked for is its Revision, zero
	// for none, and its Compacted; what is found are its Hash and Keys.
	earlier State
}

// State is what a store holds at a revision.
type State struct {
	Revision  int64
	Compacted int64  // the last revision whose history is gone, or about to be; sinceCompacted: as it is now
	Hash      uint32 // as etcd's HashKV answers it
	Keys      int
}

// sinceCompacted is for who does not know what had been compacted earlier.
const sinceCompacted = -1

// storedMember is how etcd stores a member (membership.Member).
type storedMember struct {
	PeerURLs []string `json:"peerURLs"`
	Learner  bool     `json:"isLearner"`
	Name     string   `json:"name"`
}

// readStore reads every page that is in use, for what does not hang together shows only
// then. Unless earlier's revision is zero, what there was at it is told as well.
func readStore(ctx context.Context, path string, earlier State) (*storeContent, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, damaged("there is none")
	} else if err != nil {
		return nil, err
	}
	db, err := bolt.Open(path, 0, &bolt.Options{ReadOnly: true, Timeout: lockPatience})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, ErrInUse
	case err != nil && isFileError(err):
		return nil, err
	case err != nil:
		return nil, damaged("%v", err)
	}
	defer func() { _ = db.Close() }() // it was only read
	c := &storeContent{size: info.Size(), earlier: earlier}
	return c, db.View(func(tx *bolt.Tx) error { return c.read(ctx, tx) })
}

func (c *storeContent) read(ctx context.Context, tx *bolt.Tx) error {
	if err := tx.ForEach(func(name []byte, b *bolt.Bucket) error {
		if string(name) == "key" {
			return nil // is read below
		}
		return b.ForEach(func(_, _ []byte) error { return ctx.Err() })
	}); err != nil {
		return err
	}
	meta := func(name string) []byte { return valueOf(tx, "meta", name) }
	c.applied = fleet.LogPosition{Term: number(meta("term")), Index: number(meta("consistent_index"))}
	c.storageVersion = string(meta("storageVersion"))
	c.clusterVersion = string(valueOf(tx, "cluster", "clusterVersion"))
	if err := c.readMembers(tx); err != nil {
		return err
	}
	return c.readKeys(ctx, tx)
}

func (c *storeContent) readMembers(tx *bolt.Tx) error {
	bucket := tx.Bucket([]byte("members"))
	if bucket == nil {
		return damaged("it has no members")
	}
	return bucket.ForEach(func(id, value []byte) error {
		var m storedMember
		if err := json.Unmarshal(value, &m); err != nil {
			return damaged("its member %s: %v", id, err)
		}
		c.members = append(c.members, fleet.DataMember{ID: strings.Clone(string(id)), Name: m.Name, Peers: m.PeerURLs, Learner: m.Learner})
		return nil
	})
}

// readKeys gives the last revision, what exists at it, and the hash that etcd's HashKV
// answers for it (mvcc.kvHasher): of all revisions but those that a compaction is to
// delete.
func (c *storeContent) readKeys(ctx context.Context, tx *bolt.Tx) error {
	bucket := tx.Bucket([]byte("key"))
	if bucket == nil {
		return damaged("it has no keys")
	}
	finished, scheduled := revision(valueOf(tx, "meta", "finishedCompactRev")), revision(valueOf(tx, "meta", "scheduledCompactRev"))
	c.compacted = max(finished, scheduled) // one that was begun is ended at the next start
	if c.earlier.Compacted == sinceCompacted {
		c.earlier.Compacted = c.compacted
	}
	newest := map[string]string{} // key → its last revision as stored; gone with a tombstone
	then := map[string]bool{}     // those of the earlier revision that are not in newest any more
	past, thereThen := false, 0   // the earlier revision, and how much of newest there was at it
	err := bucket.ForEach(func(at, value []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if (len(at) != revisionLen && len(at) != revisionLen+1) || at[8] != '_' {
			return damaged("%x is no revision", at)
		}
		main := int64(binary.BigEndian.Uint64(at))
		if !past && main > c.earlier.Revision {
			past, thereThen, c.earlier.Keys = true, len(newest), countKeys(newest)
		}
		c.revision = main
		key, err := keyspace.KeyOf(value)
		if err != nil {
			return damaged("revision %d: %v", main, err)
		}
		if past && c.earlier.Revision > 0 {
			if was := newest[string(key)]; was != "" && revision([]byte(was)) <= c.earlier.Revision {
				then[was] = true
			}
		}
		if isTombstone(at) {
			delete(newest, string(key))
		} else {
			newest[string(key)] = string(at)
		}
		return nil
	})
	if err != nil {
		return err
	}
	// The revision of an empty store is 1, though nothing in the file has it.
	c.revision, c.keys = max(c.revision, c.compacted, 1), countKeys(newest)
	if !past {
		thereThen, c.earlier.Keys = len(newest), c.keys
	}
	keep := make(map[string]bool, len(newest))
	for _, at := range newest {
		keep[at] = true
	}
	last := newHasher(c.compacted, func(at []byte) bool { return len(keep) == 0 || keep[string(at)] })
	before := newHasher(c.earlier.Compacted, func(at []byte) bool { return thereThen == 0 || keep[string(at)] || then[string(at)] })
	differs := c.earlier.Revision > 0 && (past || c.earlier.Compacted != c.compacted)
	err = bucket.ForEach(func(at, value []byte) error {
		main := int64(binary.BigEndian.Uint64(at))
		last.add(main, at, value)
		if differs && main <= c.earlier.Revision {
			before.add(main, at, value)
		}
		return ctx.Err()
	})
	c.hash, c.earlier.Hash = last.Sum32(), last.Sum32()
	if differs {
		c.earlier.Hash = before.Sum32()
	}
	return err
}

// countKeys leaves out how etcdutl moves the last revision on, which is no key of anybody's.
func countKeys(newest map[string]string) int {
	if _, bumped := newest[""]; bumped {
		return len(newest) - 1
	}
	return len(newest)
}

// hasher makes the hash of a store at a revision.
type hasher struct {
	hash.Hash32
	compacted int64
	keeps     func(at []byte) bool // what is stored so exists at the revision
}

func newHasher(compacted int64, keeps func(at []byte) bool) hasher {
	h := hasher{crc32.New(crc32.MakeTable(crc32.Castagnoli)), compacted, keeps}
	h.Write([]byte("key"))
	return h
}

// add takes the next revision, unless a compaction drops it.
func (h hasher) add(main int64, at, value []byte) {
	if main <= h.compacted && (!h.keeps(at) || main == h.compacted && isTombstone(at)) {
		return
	}
	h.Write(at)
	h.Write(value)
}

// revisionLen is the length of a revision as it is stored (mvcc/revision.go): eight bytes
// for the main part, a low line, eight for the sub part. A t behind it marks a deletion.
const revisionLen = 8 + 1 + 8

func isTombstone(at []byte) bool { return len(at) == revisionLen+1 && at[revisionLen] == 't' }

func revision(stored []byte) int64 {
	if len(stored) < revisionLen {
		return 0
	}
	return int64(binary.BigEndian.Uint64(stored))
}

func number(stored []byte) uint64 {
	if len(stored) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(stored)
}

func valueOf(tx *bolt.Tx, bucket, name string) []byte {
	b := tx.Bucket([]byte(bucket))
	if b == nil {
		return nil
	}
	return b.Get([]byte(name))
}

func (c *storeContent) report(r *fleet.DataReport) {
	r.Applied = c.applied
	r.Revision, r.Compacted, r.Hash, r.Keys = c.revision, c.compacted, c.hash, c.keys
	r.ClusterVersion, r.StorageVersion = c.clusterVersion, c.storageVersion
	r.DBSize = fleet.Bytes(c.size)
	if c.applied.Index == 0 {
		r.Damage = append(r.Damage, fmt.Sprintf("its store does not say which entries of the log it has, at revision %d", c.revision))
	}
}
