// Package keyspace finds out what a store of etcd holds from its file: revision, number of
// keys, and the hash that HashKV of a member answers. It reads the file once, from its
// beginning to its end, as a member sends it.
//
// It does what etcd does when it opens a store, without etcd's index of all keys and without
// its values, so that what it needs does not grow with the store: MaxMemory, and a bit for
// each revision up to the last compaction. Its rules are those of server/storage/mvcc of
// etcd 3.5, 3.6 and 3.7 (kvstore.go, key_index.go, hash.go) and of bbolt's pages, and its
// tests compare it with etcd's own code.
package keyspace

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

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

const (
	keyBucket  = "key"
	metaBucket = "meta"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// store is a key space that is being read, at least twice: what a compaction leaves of the
// revisions before it follows from those behind.
type store struct {
	ctx       context.Context
	pages     *pages
	keys      tree
	none      [2]uint64 // is the hash of a key without a name
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
	f.Hash = crc32.Checksum([]byte(keyBucket), castagnoli)
	sums := newCombiner()
	err := s.each(func(n int, e entry) error {
		if !s.deleted(n, e.at) {
			f.Hash = sums.add(f.Hash, e.sum, e.size)
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
func (s *store) each(do func(n int, e entry) error) error {
	const often = 1 << 10 // is how often the context is looked at
	n, before := 0, revision{main: -1}
	return s.pages.entries(s.keys, func(e entry) error {
		switch {
		case n%often == 0 && s.ctx.Err() != nil:
			return s.ctx.Err()
		case !before.less(e.at):
			return fmt.Errorf("revision %d follows on %d", e.at.main, before.main)
		}
		if err := do(n, e); err != nil {
			return err
		}
		n, before = n+1, e.at
		return nil
	})
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
