// Package objectstoretest holds what every objectstore.Store must do, as a suite
// that runs over any of them, and an S3 server to run it over.
//
// It is for tests alone: nothing that is shipped imports it.
package objectstoretest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
)

// Suite runs over the empty store that open gives, a new one for each part.
func Suite(t *testing.T, open func(t *testing.T) objectstore.Store) {
	for name, part := range map[string]func(*testing.T, objectstore.Store){
		"round trip":               roundTrip,
		"overwrite":                overwrite,
		"broken source":            brokenSource,
		"wrong size":               wrongSize,
		"put if absent":            putIfAbsent,
		"list":                     list,
		"list of more than a page": listPages,
		"delete":                   remove,
		"not found":                notFound,
		"keys":                     keys,
		"cancelled":                cancelled,
		"put beside delete":        putBesideDelete,
	} {
		t.Run(name, func(t *testing.T) { part(t, open(t)) })
	}
}

// sized hides everything but Read, so that a store learns no size from the reader.
type sized struct{ io.Reader }

func random(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(data)
	return data
}

func put(t *testing.T, s objectstore.Store, key string, data []byte) {
	t.Helper()
	require.NoError(t, s.Put(t.Context(), key, bytes.NewReader(data), int64(len(data))))
}

func get(t *testing.T, s objectstore.Store, key string) []byte {
	t.Helper()
	r, err := s.Get(t.Context(), key)
	require.NoError(t, err)
	data, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	return data
}

func requireKind(t *testing.T, kind fleet.Kind, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, kind, fleet.KindOf(err), "%v", err)
}

func requireEmpty(t *testing.T, s objectstore.Store) {
	t.Helper()
	all, err := s.List(t.Context(), "")
	require.NoError(t, err)
	require.Empty(t, all)
}

func roundTrip(t *testing.T, s objectstore.Store) {
	for _, n := range []int{0, 1, objectstore.PartSize - 1, objectstore.PartSize, objectstore.PartSize + 1, 20 << 20} {
		for _, known := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d bytes, size known %v", n, known), func(t *testing.T) {
				data, size := random(n), int64(-1)
				if known {
					size = int64(n)
				}
				key := fmt.Sprintf("clusters/a b+c/ü=%d,%v", n, known)
				require.NoError(t, s.Put(t.Context(), key, sized{bytes.NewReader(data)}, size))
				require.True(t, bytes.Equal(data, get(t, s, key)), "what was read differs from what was written")
				o, err := s.Stat(t.Context(), key)
				require.NoError(t, err)
				require.Equal(t, key, o.Key)
				require.Equal(t, fleet.Bytes(n), o.Size)
				require.NotEmpty(t, o.ETag)
				require.False(t, o.Modified.IsZero())
			})
		}
	}
}

func overwrite(t *testing.T, s objectstore.Store) {
	put(t, s, "k", random(300))
	before, err := s.Stat(t.Context(), "k")
	require.NoError(t, err)
	put(t, s, "k", []byte("new"))
	require.Equal(t, "new", string(get(t, s, "k")))
	after, err := s.Stat(t.Context(), "k")
	require.NoError(t, err)
	require.NotEqual(t, before.ETag, after.ETag)
}

// errSource is what a broken source says.
var errSource = errors.New("the cable was pulled")

func brokenSource(t *testing.T, s objectstore.Store) {
	for _, n := range []int{0, 1000, 12 << 20} {
		for _, size := range []int64{-1, 20 << 20} {
			broken := io.MultiReader(bytes.NewReader(random(n)), failing{})
			err := s.Put(t.Context(), "dir/broken", broken, size)
			require.ErrorIs(t, err, errSource)
			requireKind(t, fleet.Unavailable, err)
			requireEmpty(t, s)
		}
	}
	put(t, s, "dir/kept", []byte("old"))
	require.Error(t, s.Put(t.Context(), "dir/kept", io.MultiReader(bytes.NewReader(random(12<<20)), failing{}), -1))
	require.Equal(t, "old", string(get(t, s, "dir/kept")), "a failed put harmed the object before it")
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errSource }

func wrongSize(t *testing.T, s objectstore.Store) {
	for _, n := range []int{10, 10 << 20} {
		for _, said := range []int64{int64(n) - 1, int64(n) + 1, 0} {
			err := s.Put(t.Context(), "k", bytes.NewReader(random(n)), said)
			requireKind(t, fleet.Invalid, err)
			requireEmpty(t, s)
		}
	}
}

func putIfAbsent(t *testing.T, s objectstore.Store) {
	const writers = 16
	errs := make([]error, writers)
	var start, done sync.WaitGroup
	start.Add(1)
	for i := range writers {
		done.Go(func() {
			start.Wait()
			errs[i] = s.PutIfAbsent(t.Context(), "locks/one", fmt.Appendf(nil, "writer %d", i))
		})
	}
	start.Done()
	done.Wait()
	winner := -1
	for i, err := range errs {
		if err == nil {
			require.Equal(t, -1, winner, "two writers succeeded")
			winner = i
			continue
		}
		requireKind(t, fleet.Conflict, err)
	}
	require.NotEqual(t, -1, winner, "no writer succeeded")
	require.Equal(t, fmt.Sprintf("writer %d", winner), string(get(t, s, "locks/one")))
	require.NoError(t, s.Delete(t.Context(), "locks/one"))
	require.NoError(t, s.PutIfAbsent(t.Context(), "locks/one", nil), "a deleted object is absent")
	requireKind(t, fleet.Conflict, s.PutIfAbsent(t.Context(), "locks/one", []byte("x")))
}

func list(t *testing.T, s objectstore.Store) {
	all := []string{"a-b/1", "a/1", "a/10", "a/2", "a/b/c", "ab", "b"}
	for i := range all {
		put(t, s, all[(i*3)%len(all)], []byte("x"))
	}
	for prefix, want := range map[string][]string{
		"": all, "a": all[:6], "a/": all[1:5], "a/1": {"a/1", "a/10"}, "a/b/": {"a/b/c"}, "a/b": {"a/b/c"}, "b": {"b"},
		"c": nil, "a/c/": nil, "b/": nil,
	} {
		objects, err := s.List(t.Context(), prefix)
		require.NoError(t, err, "prefix %q", prefix)
		require.Equal(t, want, keysOf(objects), "prefix %q", prefix)
		for _, after := range append([]string{"a/1!", "z"}, want...) {
			objects, err := s.ListAfter(t.Context(), prefix, after)
			require.NoError(t, err, "prefix %q after %q", prefix, after)
			behind := slices.DeleteFunc(slices.Clone(want), func(key string) bool { return key <= after })
			require.ElementsMatch(t, behind, keysOf(objects), "prefix %q after %q", prefix, after)
		}
	}
}

func keysOf(objects []objectstore.Object) (keys []string) {
	for _, o := range objects {
		keys = append(keys, o.Key)
	}
	return keys
}

// listPages needs more objects than S3 lists in one answer.
func listPages(t *testing.T, s objectstore.Store) {
	const n = 1100
	var (
		writers sync.WaitGroup
		want    []string
		work    = make(chan string)
	)
	for range 8 {
		writers.Go(func() {
			for key := range work {
				if err := s.Put(t.Context(), key, bytes.NewReader([]byte(key)), int64(len(key))); err != nil {
					t.Errorf("%s: %v", key, err)
				}
			}
		})
	}
	for i := range n {
		want = append(want, fmt.Sprintf("many/%d/%04d", i/500, i))
		work <- want[i]
	}
	close(work)
	writers.Wait()
	objects, err := s.List(t.Context(), "many/")
	require.NoError(t, err)
	require.Equal(t, want, keysOf(objects))
}

func remove(t *testing.T, s objectstore.Store) {
	put(t, s, "a/b/c", []byte("x"))
	put(t, s, "a/d", []byte("x"))
	require.NoError(t, s.Delete(t.Context(), "a/b/c"))
	require.NoError(t, s.Delete(t.Context(), "a/b/c"), "the second delete")
	require.NoError(t, s.Delete(t.Context(), "never/was/there"))
	require.NoError(t, s.Delete(t.Context(), "a/d/below/an/object"))
	require.Equal(t, "x", string(get(t, s, "a/d")))
	require.NoError(t, s.Delete(t.Context(), "a/d"))
	requireEmpty(t, s)
}

func notFound(t *testing.T, s objectstore.Store) {
	put(t, s, "a/b", []byte("x"))
	for _, key := range []string{"b", "a", "a/c", "c/d/e"} {
		_, err := s.Get(t.Context(), key)
		requireKind(t, fleet.NotFound, err)
		_, err = s.Stat(t.Context(), key)
		requireKind(t, fleet.NotFound, err)
		require.ErrorContains(t, err, key)
	}
}

func keys(t *testing.T, s objectstore.Store) {
	for _, key := range []string{"", "/a", "a/", "a//b", "..", "../a", "a/../b", ".", "a\x00b", `a\b`, "\xff", ".partial-x", string(bytes.Repeat([]byte("k"), 256))} {
		requireKind(t, fleet.Invalid, s.Put(t.Context(), key, bytes.NewReader(nil), 0))
		requireKind(t, fleet.Invalid, s.PutIfAbsent(t.Context(), key, nil))
		requireKind(t, fleet.Invalid, s.Delete(t.Context(), key))
		_, err := s.Get(t.Context(), key)
		requireKind(t, fleet.Invalid, err)
	}
	_, err := s.List(t.Context(), "../")
	requireKind(t, fleet.Invalid, err)
	requireEmpty(t, s)
}

func cancelled(t *testing.T, s objectstore.Store) {
	put(t, s, "there", random(1<<20))
	ctx, cancel := context.WithCancel(t.Context())
	r, err := s.Get(ctx, "there")
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	// The source cancels, so that the put is stopped in its middle.
	reader := io.MultiReader(bytes.NewReader(random(9<<20)), canceller(cancel), bytes.NewReader(random(9<<20)))
	for what, err := range map[string]error{
		"put":           s.Put(ctx, "not-there", reader, -1),
		"put if absent": s.PutIfAbsent(ctx, "not-there", []byte("x")),
		"delete":        s.Delete(ctx, "there"),
		"stat":          second(s.Stat(ctx, "there")),
		"get":           second(s.Get(ctx, "there")),
		"list":          second(s.List(ctx, "")),
		"read":          second(io.ReadAll(r)),
	} {
		require.ErrorIs(t, err, context.Canceled, what)
		requireKind(t, fleet.Unavailable, err)
	}
	objects, err := s.List(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, []string{"there"}, keysOf(objects))
}

func second[T any](_ T, err error) error { return err }

type canceller context.CancelFunc

func (c canceller) Read([]byte) (int, error) { c(); return 0, io.EOF }

// putBesideDelete: deleting the last object of a directory must not take it
// from under the next one.
func putBesideDelete(t *testing.T, s objectstore.Store) {
	var workers sync.WaitGroup
	for w := range 4 {
		workers.Go(func() {
			key := fmt.Sprintf("shared/deep/%d", w)
			for range 25 {
				if err := errors.Join(s.Put(t.Context(), key, bytes.NewReader([]byte("x")), 1), s.Delete(t.Context(), key)); err != nil {
					t.Errorf("%s: %v", key, err)
				}
			}
		})
	}
	workers.Wait()
	requireEmpty(t, s)
}
