package backup

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
)

// Bounds of memory. A backup of any size is written within MaxMemory: what the store
// buffers (objectstore.MaxBuffered, 16 MiB), what the compressor looks back at and works
// on, and pieces of 64 KiB under way. Reading takes less. Beside it, looking at what a
// snapshot holds (etcdadmin.ReadSnapshot) takes what etcd's index of its keys does.
const (
	MaxMemory = 64 << 20
	// window is how far back the compressor looks: larger ones take more memory.
	window = 1 << 20
	// pieces is what is copied at once.
	pieces = 256 << 10
)

// sumReader passes a snapshot on and compares the database with the sum behind it. It
// gives errSum instead of an end when they differ.
type sumReader struct {
	r    io.Reader
	sum  hash.Hash
	tail []byte // the last bytes so far, up to a sum's length: not in sum yet
	n    int64  // all, with the sum
	tell func(n int64)
}

var errSum = errors.New("the database does not match the checksum behind it")

func newSumReader(r io.Reader, tell func(n int64)) *sumReader {
	if tell == nil {
		tell = func(int64) {}
	}
	return &sumReader{r: r, sum: sha256.New(), tell: tell}
}

func (s *sumReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.n += int64(n)
	s.add(p[:n])
	if n > 0 {
		s.tell(s.n)
	}
	if err == io.EOF && (s.size() <= 0 || string(s.tail) != string(s.sum.Sum(nil))) {
		err = errSum
	}
	return n, err
}

// add keeps the last bytes back, because they may be the sum.
func (s *sumReader) add(p []byte) {
	if len(p) >= sha256.Size {
		s.sum.Write(s.tail)
		s.sum.Write(p[:len(p)-sha256.Size])
		s.tail = append(s.tail[:0], p[len(p)-sha256.Size:]...)
		return
	}
	s.tail = append(s.tail, p...)
	if over := len(s.tail) - sha256.Size; over > 0 {
		s.sum.Write(s.tail[:over])
		s.tail = append(s.tail[:0], s.tail[over:]...)
	}
}

// size is that of the database alone.
func (s *sumReader) size() int64 { return s.n - sha256.Size }

func (s *sumReader) digest() string { return hex.EncodeToString(s.sum.Sum(nil)) }

// digestReader counts and sums what is stored or read back.
type digestReader struct {
	r    io.Reader
	sum  hash.Hash
	n    int64
	tell func(n int64)
}

func newDigestReader(r io.Reader, tell func(n int64)) *digestReader {
	if tell == nil {
		tell = func(int64) {}
	}
	return &digestReader{r: r, sum: sha256.New(), tell: tell}
}

func (d *digestReader) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	d.sum.Write(p[:n])
	d.n += int64(n)
	if n > 0 {
		d.tell(d.n)
	}
	return n, err
}

// is says whether what was read is the object.
func (d *digestReader) is(o Object) bool {
	return d.n == int64(o.Size) && d.digest() == o.SHA256
}

func (d *digestReader) digest() string { return hex.EncodeToString(d.sum.Sum(nil)) }
