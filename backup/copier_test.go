package backup

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
	"github.com/flotilla-etcd/flotilla/objectstore/objectstoretest"
	"github.com/flotilla-etcd/flotilla/pki"
)

// storeSegment stores the changes of some revisions as a recorder does.
func storeSegment(t *testing.T, v Vault, history string, first, last int64) Segment {
	t.Helper()
	s, err := saveSegmentOf(t, v, history, first, last, nil)
	require.NoError(t, err)
	return s
}

func saveSegmentOf(t *testing.T, v Vault, history string, first, last int64, lock *objectstore.Lock) (Segment, error) {
	t.Helper()
	now := time.Now().UTC().Truncate(time.Microsecond)
	plain := appendLeases(nil, nil)
	for r := first; r <= last; r++ {
		var err error
		plain, err = appendRevision(plain, Revision{Revision: r, Seen: now, Events: []*mvccpb.Event{{Kv: &mvccpb.KeyValue{Key: fmt.Appendf(nil, "k/%d", r), ModRevision: r}}}})
		require.NoError(t, err)
	}
	return v.saveSegment(t.Context(), Segment{
		Cluster: "orders", UID: "u1", History: history, ID: newSegmentID(first), First: first, Last: last,
		Earliest: now, Latest: now, Until: now, Changes: int(last - first + 1), Member: "m", Lock: lock,
	}, plain)
}

// A segment that is to be locked is, with its manifest, in both stores, and stays while it is;
// where that cannot be, it is none. A copy need not be locked.
func TestLockedSegment(t *testing.T) {
	server := objectstoretest.Start(t)
	server.Setenv(t)
	key, err := pki.GenerateFleetKey()
	require.NoError(t, err)
	on := func(bucket string, make func(testing.TB, string)) objectstore.Store {
		make(t, bucket)
		s, err := objectstore.Open(t.Context(), server.Location(bucket), objectstore.Options{})
		require.NoError(t, err)
		return s
	}
	v := Vault{Store: on("first", server.LockableBucket), Second: on("second", server.LockableBucket), Key: key}
	open := on("open", server.Bucket)
	lock := objectstore.LockRule{Mode: objectstore.Governance, For: 10 * time.Second}.From(time.Now())
	s, err := saveSegmentOf(t, v, "2f", 2, 5, lock)
	require.NoError(t, err)
	require.True(t, s.LockedAt(time.Now()))
	for _, second := range []objectstore.Store{v.Second, open} {
		copied := Vault{Store: v.Store, Second: second, Key: key}
		n, err := (&Copier{Vault: copied, Cluster: "orders", UID: "u1"}).Changes(t.Context(), nil)
		require.NoError(t, err)
		require.Equal(t, 1, n)
	}
	for _, in := range []objectstore.Store{v.Store, v.Second} {
		for _, key := range []string{s.prefix() + manifestName, s.Objects[0].Key} {
			require.Equal(t, fleet.Blocked, fleet.KindOf(in.Delete(t.Context(), key)), "%s in %s", key, in)
		}
		alone := Vault{Store: in, Key: key}
		entries, err := alone.Segments(t.Context(), "orders", "u1")
		require.NoError(t, err)
		require.Len(t, entries, 1)
		require.Equal(t, lock, entries[0].Segment.Lock)
		require.Equal(t, fleet.Blocked, fleet.KindOf(alone.DeleteSegment(t.Context(), "orders", "u1", "2f", s.ID)))
	}
	_, err = saveSegmentOf(t, Vault{Store: open, Key: key}, "2f", 6, 7, lock)
	require.Equal(t, fleet.Invalid, fleet.KindOf(err), "%v", err)
	left, err := open.List(t.Context(), changesOf("orders", "u1"))
	require.NoError(t, err)
	require.Len(t, left, 2, "what was copied, and nothing of what could not be locked")
	require.Eventually(t, func() bool { return v.DeleteSegment(t.Context(), "orders", "u1", "2f", s.ID) == nil }, time.Minute, time.Second, "after its time")
}

func TestTail(t *testing.T) {
	key := func(revision int64, name string) string {
		return changesOf("my-orders", "u1") + fmt.Sprintf("2f/%019d-%s/%s", revision, name, manifestName)
	}
	now := time.Now()
	tail := &tail{}
	require.Empty(t, tail.from())
	tail.see([]string{key(5, "k"), key(9, "k")}, now)
	require.Equal(t, changesOf("my-orders", "u1")+fmt.Sprintf("2f/%019d", 5), tail.from())
	require.Equal(t, []string{key(5, "b"), key(10, "a")}, tail.unseen([]string{key(5, "b"), key(5, "k"), key(9, "k"), key(10, "a")}))
	tail.see([]string{key(7, "k")}, now.Add(overlap+time.Second))
	require.Len(t, tail.seen, 2, "the last is kept, and what was seen lately")
	require.Equal(t, changesOf("my-orders", "u1")+fmt.Sprintf("2f/%019d", 7), tail.from())
	require.Empty(t, tail.unseen([]string{key(9, "k")}))
	tail.see(nil, now.Add(3*overlap))
	require.Len(t, tail.seen, 1)
	require.Equal(t, changesOf("my-orders", "u1")+fmt.Sprintf("2f/%019d", 9), tail.from())
}

// Changes follow, those of a history that begins too, and come from the second store when the
// first has lost or altered them.
func TestCopierOfChanges(t *testing.T) {
	key, err := pki.GenerateFleetKey()
	require.NoError(t, err)
	stores := [2]*objectstoretest.Faulty{}
	for i := range stores {
		store, err := objectstore.Open(t.Context(), t.TempDir(), objectstore.Options{})
		require.NoError(t, err)
		stores[i] = &objectstoretest.Faulty{Store: store}
	}
	first, second := stores[0], stores[1]
	v := Vault{Store: first, Second: second, Key: key}
	c := &Copier{Vault: v, Cluster: "orders", UID: "u1"}
	follow := func(want int) {
		t.Helper()
		n, err := c.Changes(t.Context(), nil)
		require.NoError(t, err)
		require.Equal(t, want, n)
		a, err := first.List(t.Context(), "")
		require.NoError(t, err)
		b, err := second.List(t.Context(), "")
		require.NoError(t, err)
		require.Len(t, b, len(a))
	}
	follow(0)
	c.know("2f")
	one := storeSegment(t, v, "2f", 2, 5)
	follow(1)
	storeSegment(t, v, "2f", 6, 9)
	storeSegment(t, v, "2f", 10, 10)
	second.Set(objectstoretest.Faults{Refuse: fleet.Errorf(fleet.Unavailable, "object store", "no answer")})
	_, err = c.Changes(t.Context(), nil)
	require.Equal(t, fleet.Unavailable, fleet.KindOf(err), "%v", err)
	second.Set(objectstoretest.Faults{})
	follow(2)
	follow(0)
	for range 4 { // one that begins like the last, by whatever its name ends with, or overlaps
		storeSegment(t, v, "2f", 10, 10)
		follow(1)
	}
	storeSegment(t, v, "2f", 8, 10)
	follow(1)
	follow(0)
	c.know("1a") // sorts before
	storeSegment(t, v, "1a", 2, 3)
	follow(1)

	c = &Copier{Vault: v, Cluster: "orders", UID: "u1"}
	follow(0)
	require.NoError(t, second.Delete(t.Context(), one.Objects[0].Key))
	c = &Copier{Vault: v, Cluster: "orders", UID: "u1"}
	follow(1)

	// One that is damaged in the first store is told of, and the others are copied.
	two := storeSegment(t, v, "2f", 11, 12)
	storeSegment(t, v, "2f", 13, 13)
	first.Set(objectstoretest.Faults{Key: two.Objects[0].Key, Flip: 20})
	n, err := c.Changes(t.Context(), nil)
	require.Equal(t, fleet.Lost, fleet.KindOf(err), "%v", err)
	require.Equal(t, 1, n)
	first.Set(objectstoretest.Faults{})

	told := 0
	v.FellBack = func(string, error) { told++ }
	first.Set(objectstoretest.Faults{Key: one.Objects[0].Key, Flip: 20})
	read, err := v.readSegment(t.Context(), one)
	require.NoError(t, err)
	require.Len(t, read.revisions, 4)
	require.NoError(t, v.DeleteSegment(t.Context(), "orders", "u1", "2f", one.ID))
	first.Set(objectstoretest.Faults{})
	segments, err := v.Segments(t.Context(), "orders", "u1")
	require.NoError(t, err)
	for _, e := range segments {
		require.NoError(t, e.Err)
		require.Equal(t, e.ID != one.ID, e.InStore)
	}
	require.Len(t, segments, 11)
	require.Positive(t, told)
	first.Set(objectstoretest.Faults{Refuse: errors.New("down")})
	away, err := v.Segments(t.Context(), "orders", "u1")
	require.NoError(t, err)
	require.Len(t, away, 10)
}
