package durable

import (
	"io"
	"os"
)

// Stream writes what a reader gives to a file, from its beginning, and gives how much that was.
// One core writes what another makes, and the disk begins with each part while the next one is
// made. It is on its way to the disk then, and not there: whoever wants it to survive a power cut
// syncs it. The error is the reader's or the file's. Memory: 4 MiB.
func Stream(f *os.File, r io.Reader) (int64, error) {
	const (
		piece = 1 << 20
		part  = 32 * piece
	)
	free, full := make(chan []byte, 4), make(chan []byte, 4)
	for range cap(free) {
		free <- make([]byte, piece)
	}
	var failed error // the reader's; it is there once full is closed
	go func() {
		defer close(full)
		for b := range free {
			n, err := fill(b, r)
			full <- b[:n]
			if err == io.EOF { //nolint:errorlint // io.Reader's contract: io.EOF itself
				return
			}
			if failed = err; failed != nil {
				return
			}
		}
	}()
	var size, begun int64
	for b := range full {
		n, err := f.Write(b)
		size += int64(n)
		if err != nil {
			close(free)
			for range full { // the reader is not used any more when this returns
			}
			return size, err
		}
		if size-begun >= part {
			beginWriting(f, begun, size-begun)
			begun = size
		}
		free <- b[:piece]
	}
	return size, failed
}

// fill reads until b is full, or there is an error.
func fill(b []byte, r io.Reader) (n int, err error) {
	for n < len(b) && err == nil {
		var more int
		more, err = r.Read(b[n:])
		n += more
	}
	return n, err
}
