// Package keyspace reads what a store of etcd holds, from its file, on which no member runs:
// revision, number of keys, and the hash that HashKV of a member answers. It reads the file
// in place and changes nothing.
//
// It does what etcd does when it opens a store, without etcd's index of all keys and without
// copies of their values, so that what it needs does not grow with the store: MaxMemory, and
// a bit for each revision up to the last compaction. Its rules are those of
// server/storage/mvcc of etcd 3.5, 3.6 and 3.7 (kvstore.go, key_index.go, hash.go), and its
// tests compare it with etcd's own code.
package keyspace

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"runtime/debug"

	bolt "go.etcd.io/bbolt"
	"google.golang.org/protobuf/encoding/protowire"
)

// Facts is what a store holds.
type Facts struct {
	// Revision is its last; 1 of a store that nothing was written to.
	Revision int64
	// Compacted is the revision below which history is gone; zero when none is. A compaction
	// that was begun counts: a member ends it at its start.
	Compacted int64
	// Keys is the number of keys that exist at Revision. The record that etcdutl makes to move
	// the revision on, of a key without a name, is none.
	Keys int
	// Hash is etcd's hash of the key space at Revision.
	Hash uint32
}

// Bucket is the bucket that Read reads.
const Bucket = "key"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Read gives what a store holds. It reads every page of the key space. Errors: the
// context's; any other says what is wrong with the store.
func Read(ctx context.Context, db *bolt.DB) (Facts, error) { return read(ctx, db, maxSlots) }

func read(ctx context.Context, db *bolt.DB, slots int) (f Facts, err error) {
	// bbolt panics at a file that does not hang together, and reading a mapped page that is
	// not there is a fault that ends the process.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			f, err = Facts{}, fmt.Errorf("it does not hang together: %v", r)
		}
	}()
	err = db.View(func(tx *bolt.Tx) error {
		s := store{ctx: ctx, keys: tx.Bucket([]byte(Bucket)), slots: slots}
		meta := tx.Bucket([]byte("meta"))
		if s.keys == nil || meta == nil {
			return errors.New("it has no key space")
		}
		for _, name := range []string{"finishedCompactRev", "scheduledCompactRev"} {
			if at := meta.Get([]byte(name)); at != nil {
				r, err := parseRevision(at)
				if err != nil {
					return err
				}
				s.compacted = max(s.compacted, r.main)
			}
		}
		f, err = s.read()
		return err
	})
	return f, err
}

// store is a key space that is being read, at least twice: what a compaction leaves of the
// revisions before it follows from those behind.
type store struct {
	ctx       context.Context
	keys      *bolt.Bucket
	compacted int64
	slots     int // of the table, at most; a power of two

	last    int64 // revision
	alive   int   // keys that exist at it
	unnamed bool  // one of them has no name
	kept    bits  // the revisions, up to the last compaction, of what exists
}

func (s *store) read() (Facts, error) {
	if err := s.index(); err != nil {
		return Facts{}, err
	}
	f := Facts{Revision: max(s.last, s.compacted, 1), Compacted: s.compacted, Keys: s.alive}
	if s.unnamed {
		f.Keys--
	}
	f.Hash = crc32.Checksum([]byte(Bucket), castagnoli)
	err := s.each(func(n int, at revision, stored, value []byte) error {
		if !s.deleted(n, at) {
			f.Hash = crc32.Update(f.Hash, castagnoli, stored)
			f.Hash = crc32.Update(f.Hash, castagnoli, value)
		}
		return nil
	})
	return f, err
}

// deleted says of a revision that a compaction deletes it: then it is not in etcd's hash,
// whether it is still there or not (mvcc.kvHasher).
func (s *store) deleted(n int, at revision) bool {
	if s.compacted == 0 || at.main > s.compacted {
		return false
	}
	return s.alive > 0 && !s.kept.has(n) || at.main == s.compacted && at.tombstone
}

// each goes through all revisions in their order; n counts from zero.
func (s *store) each(do func(n int, at revision, stored, value []byte) error) error {
	const often = 1 << 10 // is how often the context is looked at
	n, before := 0, revision{main: -1}
	for c, stored, value := first(s.keys); stored != nil; stored, value = c.Next() {
		if n%often == 0 && s.ctx.Err() != nil {
			return s.ctx.Err()
		}
		at, err := parseRevision(stored)
		if err != nil {
			return err
		}
		if !before.less(at) {
			return fmt.Errorf("revision %d follows on %d", at.main, before.main)
		}
		if err := do(n, at, stored, value); err != nil {
			return err
		}
		n, before = n+1, at
	}
	return nil
}

func first(b *bolt.Bucket) (c *bolt.Cursor, key, value []byte) {
	c = b.Cursor()
	key, value = c.First()
	return c, key, value
}

// revision is the key of the key space's bucket.
type revision struct {
	main, sub int64
	tombstone bool
}

func (r revision) less(o revision) bool {
	return r.main < o.main || r.main == o.main && r.sub < o.sub
}

// revisionLen is the length of a revision as it is stored (mvcc/revision.go): eight bytes
// for the main part, a low line, eight for the sub part. A t behind it marks a deletion.
const revisionLen = 8 + 1 + 8

func parseRevision(stored []byte) (r revision, err error) {
	if (len(stored) != revisionLen && len(stored) != revisionLen+1) || stored[8] != '_' {
		return r, fmt.Errorf("%x is no revision", stored)
	}
	r.main, r.sub = int64(binary.BigEndian.Uint64(stored)), int64(binary.BigEndian.Uint64(stored[9:]))
	if r.main < 0 || r.sub < 0 {
		return r, fmt.Errorf("%x is no revision", stored)
	}
	r.tombstone = len(stored) == revisionLen+1 && stored[revisionLen] == 't'
	return r, nil
}

// KeyOf gives the key of a stored mvccpb.KeyValue, in place: decoding it would copy each
// value there is.
func KeyOf(stored []byte) (key []byte, err error) {
	const keyField = 1 // of kv.proto
	for len(stored) > 0 {
		number, kind, n := protowire.ConsumeTag(stored)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		stored = stored[n:]
		if n = protowire.ConsumeFieldValue(number, kind, stored); n < 0 {
			return nil, protowire.ParseError(n)
		}
		if number == keyField {
			if kind != protowire.BytesType {
				return nil, errors.New("its key is none")
			}
			key, _ = protowire.ConsumeBytes(stored)
		}
		stored = stored[n:]
	}
	return key, nil
}
