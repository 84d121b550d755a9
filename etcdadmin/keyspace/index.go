package keyspace

// MaxMemory is what reading a store takes at most, beside its largest value and a bit for each
// revision up to the last compaction (1 MiB for eight million): the table of keys, and the one
// that is made in its place when that is full.
const MaxMemory = 2 * maxSlots * slotSize

const (
	slotSize  = 24
	maxSlots  = 1 << 19
	fewSlots  = 1 << 10
	loadLimit = 3.0 / 4
)

// index finds out what exists, which follows from the last revision of each key. When there
// are more keys than the table has room for, it goes through the store several times, for a
// part of the keys each, by their hash.
func (s *store) index() error {
	t := &table{slots: make([]slot, min(fewSlots, s.slots)), most: s.slots}
	for {
		if err := s.indexPart(t); err != nil {
			return err
		}
		if len(t.others) == 0 {
			return nil
		}
		t.only, t.others = t.others[0], t.others[1:]
		clear(t.slots)
		t.used = 0
	}
}

func (s *store) indexPart(t *table) error {
	err := s.each(func(n int, e entry) error {
		s.last = e.at.main
		is := behind
		switch {
		case e.at.tombstone:
			is = gone
		case e.at.main <= s.compacted:
			is = lives(n)
		}
		t.put(e.key, is)
		return nil
	})
	if err == nil {
		s.add(t)
	}
	return err
}

// add takes what exists from the table of a part.
func (s *store) add(t *table) {
	for _, at := range t.slots {
		switch {
		case at.is > 0:
			s.kept.set(int(at.is - 1))
			s.alive++
		case at.is == behind:
			s.alive++
		}
	}
	if is := t.find(s.none).is; t.only.has(s.none[0]) && is != unknown && is != gone {
		s.unnamed = true
	}
}

// life is what became of a key: behind the last compaction it lives, or is gone; or it was
// put last at a revision before it, which is counted from 1.
type life int64

const (
	unknown life = 0
	gone    life = -1
	behind  life = -2
)

func lives(n int) life { return life(n) + 1 }

// slot has a key by two hashes of it under seeds of each scan's own, 128 bits: that two keys of a
// store have the same is less likely than that a disk gives back something else unseen.
type slot struct {
	hash [2]uint64
	is   life
}

// part is a part of all keys: those whose hash has these bits under the mask.
type part struct{ mask, bits uint64 }

func (p part) has(hash uint64) bool { return hash&p.mask == p.bits }

// table has what became of each key of a part. When it is full, it goes on with half of
// that part; the other halves are others.
type table struct {
	only   part
	others []part
	slots  []slot
	spare  []slot // is used in turns with slots, once there may be no more of them
	used   int
	most   int // slots
}

func (t *table) put(hash [2]uint64, is life) {
	if !t.only.has(hash[0]) {
		return
	}
	at := t.find(hash)
	if at.is == unknown {
		if float64(t.used) >= loadLimit*float64(len(t.slots)) {
			t.makeRoom()
			t.put(hash, is)
			return
		}
		t.used++
		at.hash = hash
	}
	at.is = is
}

// find gives the slot of a key, or the one that it would have.
func (t *table) find(hash [2]uint64) *slot {
	for i := hash[1]; ; i++ {
		at := &t.slots[i&uint64(len(t.slots)-1)]
		if at.is == unknown || at.hash == hash {
			return at
		}
	}
}

// makeRoom makes the table larger, or else the part of the keys smaller.
func (t *table) makeRoom() {
	before, into := t.slots, t.spare
	if len(before) < t.most {
		into = make([]slot, 2*len(before))
	} else {
		if into == nil {
			into = make([]slot, t.most)
		}
		clear(into)
		t.spare = before
		bit := t.only.mask + 1
		t.only.mask |= bit
		t.others = append(t.others, part{t.only.mask, t.only.bits | bit})
	}
	t.slots, t.used = into, 0
	for _, s := range before {
		if s.is != unknown && t.only.has(s.hash[0]) {
			*t.find(s.hash) = s
			t.used++
		}
	}
}

// bits is a set of numbers.
type bits []uint64

func (b *bits) set(n int) {
	for len(*b) <= n/64 {
		*b = append(*b, 0)
	}
	(*b)[n/64] |= 1 << (n % 64)
}

func (b bits) has(n int) bool { return n/64 < len(b) && b[n/64]&(1<<(n%64)) != 0 }
