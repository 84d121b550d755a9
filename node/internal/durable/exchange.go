package durable

import (
	"errors"
	"os"
	"path/filepath"
)

// Exchange gives each of two names what the other one names, in one step: whoever
// looks, also after a power cut, sees both as they were or both exchanged. Both are
// on one file system. Not all can do it; see CanExchange.
func Exchange(a, b string) error {
	if err := exchange(a, b); err != nil {
		return &os.LinkError{Op: "exchange", Old: a, New: b, Err: err}
	}
	return errors.Join(SyncDir(filepath.Dir(a)), SyncDir(filepath.Dir(b)))
}

// CanExchange tries in a directory whether Exchange works there.
func CanExchange(dir string) error {
	work := filepath.Join(dir, ".exchange"+TempSuffix)
	one, two := filepath.Join(work, "one"), filepath.Join(work, "two")
	defer os.RemoveAll(work)
	if err := errors.Join(os.RemoveAll(work), os.Mkdir(work, 0o700), os.Mkdir(one, 0o700), os.WriteFile(two, nil, 0o600)); err != nil {
		return err
	}
	return Exchange(one, two)
}
