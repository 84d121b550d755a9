package keyspace

import (
	"errors"
	"fmt"
	"hash/crc32"
	"hash/maphash"
)

// mostRun is how large a page may be with all that it overflows into. etcd takes requests
// of 1.5 MiB, or what --max-request-bytes says.
const mostRun = 64 << 20

// Scanner reads a store from its file as the file comes by, and keeps none of it: it notes in
// a scratch directory what follows from each page, some 40 bytes of each revision. Which
// pages are in use shows only at the end, for the pages of a tree lie in any order, and
// those that are free still have what they had.
type Scanner struct {
	notes *notes
	seeds [2]maphash.Seed
	slots int

	pageSize int
	metas    [2]meta
	faults   [2]error // of the metas
	fault    error    // of the file: nothing of it is understood
	page     uint64   // is the next one
	window   []byte   // what was written of it, and what lies behind it, as far as that is needed
	need     int      // is how long the window must be
	record   []byte
}

// NewScanner begins to read a file. scratch is a directory; what is written there is gone
// when the process is. Errors: of the scratch directory.
func NewScanner(scratch string) (*Scanner, error) { return newScanner(scratch, maxSlots) }

func newScanner(scratch string, slots int) (*Scanner, error) {
	notes, err := newNotes(scratch)
	if err != nil {
		return nil, err
	}
	return &Scanner{
		notes: notes, slots: slots, need: headerSize + metaSize,
		seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
	}, nil
}

// Close lets go of what was noted.
func (s *Scanner) Close() error { return s.notes.close() }

// Write takes the next bytes of the file. Errors: of the scratch directory. What is wrong
// with the file is told by Facts.
func (s *Scanner) Write(p []byte) (int, error) {
	size := len(p)
	for len(p) > 0 && s.fault == nil {
		from := p // most pages are read where they are
		if len(s.window) > 0 || len(p) < s.need {
			more := min(max(0, s.need-len(s.window)), len(p))
			s.window = append(s.window, p[:more]...)
			p = p[more:]
			if from = s.window; len(from) < s.need {
				break
			}
		} else {
			p = nil
		}
		used, err := s.take(from)
		if err != nil {
			return 0, err
		}
		s.window = append(s.window[:0], from[used:]...)
	}
	return size, nil
}

// take notes the pages of which all is there, and gives how many bytes they are. Then it
// needs more than the rest.
func (s *Scanner) take(b []byte) (used int, err error) {
	if s.pageSize == 0 {
		if s.begin(b); s.fault != nil {
			return len(b), nil
		}
	}
	for s.need = s.run(b[used:]); s.need <= len(b)-used; s.need = s.run(b[used:]) {
		if err := s.note(page(b[used : used+s.need])); err != nil {
			return 0, err
		}
		used += s.pageSize
	}
	return used, nil
}

// begin finds out how large pages are.
func (s *Scanner) begin(b []byte) {
	m, err := parseMeta(page(b))
	if s.pageSize = m.pageSize; s.pageSize == 0 {
		s.fault = err // a wrong checksum is looked at later: there are two
	}
}

// run is how many bytes of what lies here are needed: a page, and where it looks like one of
// a tree, all that it overflows into. Those may be other pages by now, if it is free.
func (s *Scanner) run(b []byte) int {
	if len(b) < s.pageSize || !page(b).isOfTree(s.page) {
		return s.pageSize
	}
	if size := (uint64(page(b).overflow()) + 1) * uint64(s.pageSize); size <= mostRun {
		return int(size)
	}
	return s.pageSize // if it is in use, its elements lie outside
}

// note writes down what follows from a page.
func (s *Scanner) note(p page) error {
	n := s.page
	s.page++
	switch {
	case n < 2:
		s.metas[n], s.faults[n] = parseMeta(p)
	case p.isOfTree(n):
		s.record = s.digest(s.record[:0], p)
		return s.notes.add(s.record)
	}
	return s.notes.add(nil)
}

// digest appends what is noted of a page: of one of the key space what its revisions add to
// the hash and which keys they are of, of another one all of it.
func (s *Scanner) digest(to []byte, p page) []byte {
	if p.flags() == leafPage && p.count() > 0 {
		entries, err := s.entries(append(to, ofRevisions), p)
		if err == nil {
			return entries
		}
	}
	return append(append(to, asItIs), p...)
}

// entries appends an entry for each revision on a leaf.
func (s *Scanner) entries(to []byte, p page) ([]byte, error) {
	for n := range p.count() {
		l, err := p.leaf(n)
		if err != nil {
			return to, err
		}
		at, err := parseRevision(l.key)
		if err != nil {
			return to, err
		}
		key, err := KeyOf(l.value)
		switch {
		case err != nil:
			return to, fmt.Errorf("revision %d: %w", at.main, err)
		case l.bucket:
			return to, fmt.Errorf("revision %d is a bucket", at.main)
		}
		to = entry{
			at: at, key: s.hash(key), size: uint32(len(l.key) + len(l.value)),
			sum: crc32.Update(crc32.Checksum(l.key, castagnoli), castagnoli, l.value),
		}.append(to)
	}
	return to, nil
}

func (s *Scanner) hash(key []byte) [2]uint64 {
	return [2]uint64{maphash.Bytes(s.seeds[0], key), maphash.Bytes(s.seeds[1], key)}
}

// end notes what the window still has, and gives the meta that counts.
func (s *Scanner) end() (meta, error) {
	for s.fault == nil && s.pageSize > 0 && len(s.window) >= s.pageSize { // its page would go on behind the end
		if err := s.notes.add(nil); err != nil {
			return meta{}, err
		}
		s.page++
		used, err := s.take(s.window[s.pageSize:])
		if err != nil {
			return meta{}, err
		}
		s.window = s.window[s.pageSize+used:]
	}
	switch {
	case s.fault != nil:
		return meta{}, s.fault
	case s.page < 2:
		return meta{}, errors.New("it is cut off")
	}
	m, err := s.metas[0], s.faults[0]
	if s.faults[1] == nil && (err != nil || s.metas[1].txnID > m.txnID) {
		m, err = s.metas[1], nil
	}
	switch {
	case err != nil:
		return meta{}, err
	case m.pageSize != s.pageSize:
		return meta{}, fmt.Errorf("it has pages of %d and of %d bytes", s.pageSize, m.pageSize)
	case m.pages > s.page:
		return meta{}, fmt.Errorf("it is cut off: it has %d pages of %d", s.page, m.pages)
	}
	return m, nil
}
