package keyspace

import (
	"bufio"
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// notes are what is noted of the pages of a file, in two files of a scratch directory that
// have no name there any more: records of pages, and for each page where its record is.
type notes struct{ records, places spill }

// What a record begins with, after its length.
const (
	asItIs      = 'p' // the page
	ofRevisions = 'r' // entries
)

func newNotes(scratch string) (*notes, error) {
	n := &notes{}
	if err := errors.Join(n.records.create(scratch), n.places.create(scratch)); err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

// add notes something of the next page, or nothing.
func (n *notes) add(record []byte) error {
	var place, length [8]byte
	if len(record) > 0 {
		order.PutUint64(place[:], uint64(n.records.size)+1)
		order.PutUint64(length[:], uint64(len(record)))
		if err := errors.Join(n.records.write(length[:]), n.records.write(record)); err != nil {
			return err
		}
	}
	return n.places.write(place[:])
}

// open ends what is noted: from here on it is read.
func (n *notes) open() error { return errors.Join(n.records.open(), n.places.open()) }

// of gives what is noted of a page, and nothing of one that is no page of a tree.
func (n *notes) of(id uint64) []byte {
	if id >= uint64(n.places.size)/8 {
		return nil
	}
	place := order.Uint64(n.places.mapped[8*id:])
	if place == 0 {
		return nil
	}
	record := n.records.mapped[place-1:]
	return record[8 : 8+order.Uint64(record)]
}

func (n *notes) close() error { return errors.Join(n.records.close(), n.places.close()) }

// spill is a file that is written once, from its beginning to its end, and then read anywhere.
type spill struct {
	file   *os.File
	to     *bufio.Writer
	size   int64
	mapped []byte
}

func (s *spill) create(dir string) (err error) {
	if s.file, err = os.CreateTemp(dir, "keyspace-*"); err != nil {
		return err
	}
	s.to = bufio.NewWriterSize(s.file, 64<<10)
	return os.Remove(s.file.Name())
}

func (s *spill) write(p []byte) error {
	n, err := s.to.Write(p)
	s.size += int64(n)
	return err
}

func (s *spill) open() (err error) {
	if err = s.to.Flush(); err != nil || s.size == 0 || s.mapped != nil {
		return err
	}
	if s.mapped, err = unix.Mmap(int(s.file.Fd()), 0, int(s.size), unix.PROT_READ, unix.MAP_SHARED); err != nil {
		return &fs.PathError{Op: "map", Path: s.file.Name(), Err: err}
	}
	return nil
}

func (s *spill) close() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	if s.mapped != nil {
		err = errors.Join(err, unix.Munmap(s.mapped))
	}
	*s = spill{}
	return err
}
