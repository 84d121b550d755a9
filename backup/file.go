package backup

import (
	"os"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// targetFile tells a disk that is full from a backup that cannot be read.
type targetFile struct {
	name string
	f    *os.File
}

func (t *targetFile) Write(p []byte) (int, error) {
	n, err := t.f.Write(p)
	if err != nil {
		err = noRoom(t.name, err)
	}
	return n, err
}

func noRoom(file string, err error) error {
	return fleet.Errorf(fleet.Unavailable, "file "+file, "the snapshot cannot be written: %w", err).
		WithRemedy("let the directory have room for the whole database")
}
