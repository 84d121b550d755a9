// Package durable changes files so that whoever looks, also after a kill or a
// power cut, sees the old content or the new one, and never a part of it. It
// knows nothing of what the files mean.
//
// Writers of one path must be serialised by the caller: temporary names are fixed
// (path + TempSuffix), so that what a killed writer left is overwritten by the
// next one instead of piling up.
package durable

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// TempSuffix ends the names of files that are not whole yet.
const TempSuffix = ".tmp"

// WriteFile puts data at path with this mode, whole or not at all, and on disk
// before it returns.
func WriteFile(path string, data []byte, mode fs.FileMode) error {
	temp := path + TempSuffix
	// An older leftover may have another mode; a secret must not get into it.
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		_ = os.Remove(temp)
		return err
	}
	return Rename(temp, path)
}

// WriteJSON is WriteFile of v as indented JSON.
func WriteJSON(path string, v any, mode fs.FileMode) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return WriteFile(path, append(data, '\n'), mode)
}

// ReadJSON reads v from a file. A file that is not there is fs.ErrNotExist.
func ReadJSON(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

// WriteFrom streams r to path, which must not exist, and syncs it. What was
// written before an error is removed.
func WriteFrom(path string, r io.Reader, mode fs.FileMode) (int64, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(f, r)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		_ = os.Remove(path)
		return n, err
	}
	return n, nil
}

// Rename moves a file or a directory to its final name and syncs the directory
// that it is in.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(to))
}

// Remove deletes a file or a tree; that there is none is a success.
func Remove(path string) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir makes the names in a directory survive a power cut.
func SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
