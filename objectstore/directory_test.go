package objectstore_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
	"github.com/flotilla-etcd/flotilla/objectstore/objectstoretest"
)

func open(t *testing.T, location string) objectstore.Store {
	t.Helper()
	s, err := objectstore.Open(t.Context(), location, objectstore.Options{})
	require.NoError(t, err)
	return s
}

func TestDirectory(t *testing.T) {
	objectstoretest.Suite(t, func(t *testing.T) objectstore.Store {
		dir := t.TempDir()
		t.Cleanup(func() {
			unfinished, err := filepath.Glob(filepath.Join(dir, ".partial-*"))
			require.NoError(t, err)
			require.Empty(t, unfinished, "unfinished files were left")
		})
		return open(t, "file://"+dir)
	})
}

func TestDirectoryIsEmptyAfterTheLastDelete(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for _, key := range []string{"a/b/c", "a/b/d", "e"} {
		require.NoError(t, s.PutIfAbsent(t.Context(), key, []byte("x")))
	}
	for _, key := range []string{"a/b/c", "a/b/d", "e"} {
		require.NoError(t, s.Delete(t.Context(), key))
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
}

func TestDirectoryDoesNotFollowLinksOut(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("x"), 0o600))
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "link")))
	s := open(t, dir)
	_, err := s.Get(t.Context(), "link/secret")
	require.Error(t, err)
	require.Error(t, s.Put(t.Context(), "link/new", strings.NewReader("x"), 1))
	require.NoFileExists(t, filepath.Join(outside, "new"))
}

func TestDirectorySweepsWhatADeadWriterLeft(t *testing.T) {
	dir := t.TempDir()
	old, fresh := filepath.Join(dir, ".partial-OLD"), filepath.Join(dir, ".partial-FRESH")
	for _, name := range []string{old, fresh} {
		require.NoError(t, os.WriteFile(name, []byte("x"), 0o600))
	}
	require.NoError(t, os.Chtimes(old, time.Time{}, time.Now().Add(-25*time.Hour)))
	s := open(t, dir)
	require.NoFileExists(t, old)
	require.FileExists(t, fresh, "somebody may still be writing it")
	all, err := s.List(t.Context(), "")
	require.NoError(t, err)
	require.Empty(t, all)
}

func TestDirectoryOneKeyBelowAnother(t *testing.T) {
	s := open(t, t.TempDir())
	require.NoError(t, s.PutIfAbsent(t.Context(), "a", nil))
	err := s.Put(t.Context(), "a/b", bytes.NewReader(nil), 0)
	require.Equal(t, fleet.Invalid, fleet.KindOf(err), "%v", err)
	_, err = s.Stat(t.Context(), "a/b")
	require.Error(t, err)
}

func TestOpenRefuses(t *testing.T) {
	for location, want := range map[string]string{
		"":                                "no location",
		"ftp://host/dir":                  "ftp:// is not a kind of store",
		"file://host/dir":                 "a file URL has no host",
		"s3://":                           "cannot be the name of a bucket",
		"s3://Bucket_x":                   "cannot be the name of a bucket",
		"s3://key:word@bucket":            "carries credentials",
		"s3://bucket?secret=x":            `there is no option "secret"`,
		"s3://bucket/a/../b":              "the prefix cannot be used",
		"s3://bucket?pathStyle=perhaps":   "not true or false",
		"s3://bucket?endpoint=minio:9000": "not of the form",
		"s3://bucket?endpoint=http://u:word@host":                     "carries credentials",
		"s3://bucket?endpoint=http://s3.oss-cn-hangzhou.aliyuncs.com": "over https only",
	} {
		_, err := objectstore.Open(t.Context(), location, objectstore.Options{})
		require.ErrorContains(t, err, want, location)
		require.Equal(t, fleet.Invalid, fleet.KindOf(err))
		require.NotContains(t, err.Error(), "word", "an error repeats a secret")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := objectstore.Open(ctx, t.TempDir(), objectstore.Options{})
	require.ErrorIs(t, err, context.Canceled)
}

func TestOpenNeedsADirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := objectstore.Open(t.Context(), file, objectstore.Options{})
	require.ErrorContains(t, err, file)
}
