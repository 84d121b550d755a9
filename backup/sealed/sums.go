package sealed

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
)

// SumReader passes a snapshot on and compares the database with the sum behind it. It
// gives ErrSum instead of an end when they differ.
type SumReader struct {
	r    io.Reader
	sum  hash.Hash
	tail []byte // the last bytes so far, up to a sum's length: not in sum yet
	n    int64  // all, with the sum
	tell func(n int64)
}

// ErrSum says that a snapshot was altered or cut short.
var ErrSum = errors.New("the database does not match the checksum behind it")

// NewSumReader tells how many bytes were read, unless tell is nil.
func NewSumReader(r io.Reader, tell func(n int64)) *SumReader {
	if tell == nil {
		tell = func(int64) {}
	}
	return &SumReader{r: r, sum: sha256.New(), tell: tell}
}

// Read gives the snapshot with the sum behind it.
func (s *SumReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.n += int64(n)
	s.add(p[:n])
	if n > 0 {
		s.tell(s.n)
	}
	if err == io.EOF && (s.Size() <= 0 || string(s.tail) != string(s.sum.Sum(nil))) {
		err = ErrSum
	}
	return n, err
}

// add keeps the last bytes back, because they may be the sum.
func (s *SumReader) add(p []byte) {
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

// same says whether both have given the same bytes so far.
func (s *SumReader) same(as *SumReader) bool {
	return s.n == as.n && bytes.Equal(s.tail, as.tail) && bytes.Equal(s.sum.Sum(nil), as.sum.Sum(nil))
}

// Size is that of the database alone.
func (s *SumReader) Size() int64 { return s.n - sha256.Size }

// Digest is of the database alone, in hex: the sum behind it, at the end.
func (s *SumReader) Digest() string { return hex.EncodeToString(s.tail) }

// DigestReader counts and sums what is stored or read back.
type DigestReader struct {
	r    io.Reader
	sum  hash.Hash
	N    int64 // bytes that were read
	tell func(n int64)
}

// NewDigestReader tells how many bytes were read, unless tell is nil.
func NewDigestReader(r io.Reader, tell func(n int64)) *DigestReader {
	if tell == nil {
		tell = func(int64) {}
	}
	return &DigestReader{r: r, sum: sha256.New(), tell: tell}
}

// Read passes on what is read.
func (d *DigestReader) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	d.sum.Write(p[:n])
	d.N += int64(n)
	if n > 0 {
		d.tell(d.N)
	}
	return n, err
}

// Is says whether what was read is the object.
func (d *DigestReader) Is(o Object) bool {
	return d.N == int64(o.Size) && d.Digest() == o.SHA256
}

// Digest is of what was read so far, in hex.
func (d *DigestReader) Digest() string { return hex.EncodeToString(d.sum.Sum(nil)) }
