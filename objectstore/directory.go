package objectstore

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// directory keeps objects as files below a root, which os.Root does not let any
// key or link out of. What is being written is a file in the root itself whose
// name begins with partial.
type directory struct {
	root *os.Root
	name string // absolute path
}

// abandoned is how old an unfinished file is before opening the store removes
// it: no writer takes that long, and the one that made it has died.
const abandoned = 24 * time.Hour

func openDirectory(name string) (Store, error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "object store "+name, "not a path: %w", err)
	}
	resource := "object store " + abs
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return nil, explainFile(resource, err)
	}
	root, err := os.OpenRoot(abs)
	if err != nil {
		return nil, explainFile(resource, err)
	}
	d := &directory{root: root, name: abs}
	return d, d.sweep()
}

// sweep removes what writers left that died half way.
func (d *directory) sweep() error {
	entries, err := fs.ReadDir(d.root.FS(), ".")
	if err != nil {
		return explainFile("object store "+d.name, err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && strings.HasPrefix(e.Name(), partial) && time.Since(info.ModTime()) > abandoned {
			_ = d.root.Remove(e.Name()) // another process may sweep as well
		}
	}
	return nil
}

// File gives the path of an object's file.
func (d *directory) File(key string) string { return filepath.Join(d.name, filepath.FromSlash(key)) }

// String gives the absolute path.
func (d *directory) String() string { return d.name }

func (d *directory) Put(ctx context.Context, key string, r io.Reader, size int64) error {
	if err := checkKey(d.name, key); err != nil {
		return err
	}
	return d.write(ctx, key, r, size, d.root.Rename)
}

func (d *directory) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	if err := checkKey(d.name, key); err != nil {
		return err
	}
	// link(2) is the one call that is atomic and refuses a name that exists.
	return d.write(ctx, key, bytes.NewReader(data), int64(len(data)), d.root.Link)
}

// write puts what r gives into an unfinished file and, once that is on the
// disk, gives it its name with publish.
func (d *directory) write(ctx context.Context, key string, r io.Reader, size int64, publish func(from, to string) error) error {
	resource := about(d.name, key)
	src := &source{ctx: ctx, r: r, size: size}
	temp := partial + rand.Text()
	f, err := d.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return explainFile(resource, err)
	}
	defer func() { _ = d.root.Remove(temp) }() // gone already after a rename
	_, err = io.Copy(f, src)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if failed := src.failure(resource); failed != nil {
		return failed
	}
	if err == nil && ctx.Err() != nil {
		return stopped(resource, ctx.Err())
	}
	if err == nil {
		err = d.publishAs(key, temp, publish)
	}
	if err != nil {
		return explainFile(resource, err)
	}
	return nil
}

// publishAs gives the unfinished file its name, and makes that last. A Delete beside
// us removes empty directories, also the ones just made for us; then they are
// made again.
func (d *directory) publishAs(key, temp string, publish func(from, to string) error) error {
	const attempts = 100 // each is lost only to another Delete at that very moment
	parent := path.Dir(key)
	var err error
	for range attempts {
		err = d.root.MkdirAll(parent, 0o700)
		switch {
		case err == nil:
		case d.objectAbove(parent):
			return fmt.Errorf("%w: %w", syscall.ENOTDIR, err)
		// One that existed may be gone before MkdirAll looks what it is.
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrExist):
			continue
		default:
			return err
		}
		if err = publish(temp, key); errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		return d.syncUp(parent)
	}
	// Not wrapped: it is neither a conflict nor a missing object.
	return fmt.Errorf("its directory was removed again each of %d times it was made: %s", attempts, err.Error())
}

// objectAbove says whether an object stands where a directory is needed.
func (d *directory) objectAbove(dir string) bool {
	for ; dir != "."; dir = path.Dir(dir) {
		if info, err := d.root.Lstat(dir); err == nil && !info.IsDir() {
			return true
		}
	}
	return false
}

// syncUp makes the names in a directory, and the directories above it, last.
func (d *directory) syncUp(dir string) error {
	for {
		f, err := d.root.Open(dir)
		if err == nil {
			err = errors.Join(f.Sync(), f.Close())
		}
		// A directory that is gone by now was emptied by a Delete after us.
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if dir == "." {
			return nil
		}
		dir = path.Dir(dir)
	}
}

func (d *directory) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	resource := about(d.name, key)
	if _, err := d.Stat(ctx, key); err != nil {
		return nil, err
	}
	f, err := d.root.Open(key)
	if err != nil {
		return nil, explainFile(resource, err)
	}
	return &body{ctx: ctx, c: f, resource: resource, explain: explainFile}, nil
}

func (d *directory) Stat(ctx context.Context, key string) (Object, error) {
	resource := about(d.name, key)
	if err := checkKey(d.name, key); err != nil {
		return Object{}, err
	}
	if err := ctx.Err(); err != nil {
		return Object{}, stopped(resource, err)
	}
	info, err := d.root.Stat(key)
	if err != nil {
		return Object{}, explainFile(resource, err)
	}
	if !info.Mode().IsRegular() {
		return Object{}, explainFile(resource, fs.ErrNotExist)
	}
	return object(key, info), nil
}

func object(key string, info fs.FileInfo) Object {
	return Object{
		Key: key, Size: fleet.Bytes(info.Size()), Modified: info.ModTime(),
		ETag: fmt.Sprintf("%x-%x", info.ModTime().UnixNano(), info.Size()),
	}
}

func (d *directory) List(ctx context.Context, prefix string) ([]Object, error) {
	return d.ListAfter(ctx, prefix, "")
}

func (d *directory) ListAfter(ctx context.Context, prefix, after string) ([]Object, error) {
	resource := about(d.name, prefix)
	if err := checkPrefix(d.name, prefix); err != nil {
		return nil, err
	}
	// Only what is below the last whole directory of the prefix can match.
	start := path.Dir(prefix + "x")
	var objects []Object
	err := fs.WalkDir(d.root.FS(), start, func(name string, e fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // deleted while we looked
		}
		if err != nil || !e.Type().IsRegular() || !strings.HasPrefix(name, prefix) || strings.HasPrefix(name, partial) || name <= after {
			return err
		}
		info, err := e.Info()
		if err == nil {
			objects = append(objects, object(name, info))
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
	switch {
	case ctx.Err() != nil:
		return nil, stopped(resource, ctx.Err())
	case err != nil:
		return nil, explainFile(resource, err)
	}
	// A walk goes directory by directory; keys are ordered by their bytes.
	slices.SortFunc(objects, func(a, b Object) int { return cmp.Compare(a.Key, b.Key) })
	return objects, nil
}

func (d *directory) Delete(ctx context.Context, key string) error {
	resource := about(d.name, key)
	if err := checkKey(d.name, key); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return stopped(resource, err)
	}
	info, err := d.root.Lstat(key)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return nil
	case err == nil && info.IsDir():
		return nil // there may be objects below it, but none of this key
	case err == nil:
		err = d.root.Remove(key)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return explainFile(resource, err)
	}
	// Removing a directory that is not empty fails: then it stays, and all above it.
	dir := path.Dir(key)
	for dir != "." && d.root.Remove(dir) == nil {
		dir = path.Dir(dir)
	}
	if err := d.syncUp(dir); err != nil {
		return explainFile(resource, err)
	}
	return nil
}

// explainFile gives a file system's error its kind and says it in words.
func explainFile(resource string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fleet.Errorf(fleet.Denied, resource, "the disk or the quota is full, nothing was stored: %w", err).
			WithRemedy("free some space there")
	case errors.Is(err, syscall.EROFS):
		return fleet.Errorf(fleet.Denied, resource, "the file system is read-only: %w", err).
			WithRemedy("look why it is mounted so; after an error of the disk it is")
	case errors.Is(err, fs.ErrPermission):
		return fleet.Errorf(fleet.Denied, resource, "the permissions do not allow it: %w", err).
			WithRemedy("let the user that this process runs as own the directory")
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR), errors.Is(err, syscall.ENOTEMPTY):
		return fleet.Errorf(fleet.Invalid, resource, "one key goes on from another, as a/b does from a: %w", err).
			WithRemedy("use another key")
	case errors.Is(err, fs.ErrExist): // after ENOTEMPTY, which Go counts as this too
		return fleet.Errorf(fleet.Conflict, resource, "it is there already: %w", err)
	case errors.Is(err, fs.ErrNotExist):
		return fleet.Errorf(fleet.NotFound, resource, "there is no such object: %w", err)
	}
	return fleet.Errorf(fleet.Unavailable, resource, "the file system failed: %w", err)
}
