package durable

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWriteFileReplacesAsAWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	// What a killed writer left, with a mode that is too wide for a secret.
	require.NoError(t, os.WriteFile(path+TempSuffix, []byte("half of something longer"), 0o666))
	for _, text := range []string{"one", "2"} {
		require.NoError(t, WriteFile(path, []byte(text), 0o600))
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, text, string(got))
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
		require.NoFileExists(t, path+TempSuffix)
	}
	require.NoError(t, Remove(path))
	require.NoError(t, Remove(path))
	require.NoFileExists(t, path)
}

func TestWriteFromLeavesNothingHalf(t *testing.T) {
	path, broken := filepath.Join(t.TempDir(), "a"), errors.New("broken")
	_, err := WriteFrom(path, iotest.ErrReader(broken), 0o600)
	require.ErrorIs(t, err, broken)
	require.NoFileExists(t, path)
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	lock, err := TryLock(path)
	require.NoError(t, err)
	_, err = TryLock(path)
	require.ErrorIs(t, err, ErrLocked)
	ctx, cancel := context.WithTimeout(t.Context(), 2*lockPoll)
	defer cancel()
	_, err = WaitLock(ctx, path)
	require.ErrorIs(t, err, ErrLocked)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	waiter := make(chan error, 1)
	go func() {
		second, err := WaitLock(t.Context(), path)
		if err == nil {
			err = second.Unlock()
		}
		waiter <- err
	}()
	require.NoError(t, lock.Unlock())
	select {
	case err := <-waiter:
		require.NoError(t, err)
	case <-time.After(10 * time.Second):
		require.FailNow(t, "the lock was freed and not taken")
	}
}

func TestExchange(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	require.Error(t, Exchange(one, two))
	require.NoError(t, os.MkdirAll(filepath.Join(one, "in it"), 0o700))
	require.NoError(t, os.WriteFile(two, nil, 0o600))
	require.NoError(t, CanExchange(dir))
	require.NoError(t, Exchange(one, two))
	require.FileExists(t, one)
	require.DirExists(t, filepath.Join(two, "in it"))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 2, "trying leaves nothing")
	require.Error(t, CanExchange(filepath.Join(dir, "absent")))
}

// A copy has what the file has, or nothing is left of the attempt.
func TestCopy(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	for i, content := range []string{"", "content", strings.Repeat("more than one part\n", 4<<20)} {
		require.NoError(t, os.WriteFile(from, []byte(content), 0o600))
		f, err := os.Open(from)
		require.NoError(t, err)
		name := fmt.Sprint(to, i)
		require.NoError(t, Copy(name, f, 0o600))
		got, err := os.ReadFile(name)
		require.NoError(t, err)
		require.True(t, string(got) == content, "%d bytes of %d", len(got), len(content))
		require.ErrorIs(t, Copy(from, f, 0o600), fs.ErrExist)
		require.NoError(t, f.Close())
	}
	d, err := os.Open(dir) // what cannot be read
	require.NoError(t, err)
	defer d.Close()
	require.Error(t, Copy(to, d, 0o600))
	require.NoFileExists(t, to)
}

// A file that was streamed has what the reader gave, in its order; and an error of either is told.
func TestStream(t *testing.T) {
	content := []byte(strings.Repeat("more than one part\n", 2<<20))
	open := func() *os.File {
		f, err := os.Create(filepath.Join(t.TempDir(), "a"))
		require.NoError(t, err)
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	for name, r := range map[string]io.Reader{
		"whole":        bytes.NewReader(content),
		"halves":       iotest.HalfReader(bytes.NewReader(content)),
		"with its end": iotest.DataErrReader(bytes.NewReader(content)),
	} {
		f := open()
		n, err := Stream(f, r)
		require.NoError(t, err, name)
		require.Equal(t, int64(len(content)), n, name)
		got, err := os.ReadFile(f.Name())
		require.NoError(t, err)
		require.True(t, bytes.Equal(content, got), name)
	}
	n, err := Stream(open(), bytes.NewReader(nil))
	require.NoError(t, err)
	require.Zero(t, n)
	for _, broken := range []error{io.ErrUnexpectedEOF, fmt.Errorf("wrapped: %w", io.EOF)} { // ends of something else
		_, err = Stream(open(), io.MultiReader(bytes.NewReader(content[:5<<20+1]), iotest.ErrReader(broken)))
		require.ErrorIs(t, err, broken)
	}
	f := open()
	require.NoError(t, f.Close())
	_, err = Stream(f, bytes.NewReader(content))
	require.ErrorIs(t, err, os.ErrClosed)
}
