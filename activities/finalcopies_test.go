package activities

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore/objectstoretest"
)

// A final snapshot is copied although its cluster is gone, its manifest follows, and neither
// half a copy nor what is damaged counts.
func TestFinalSnapshotsAreCopied(t *testing.T) {
	everyStore(t, func(t *testing.T, on *Authorities) {
		a, first, second := twoStores(t, on)
		s := &Snapshots{a.Region}
		plain := bytes.Repeat([]byte("final "), 100_000)
		sum := sha256.Sum256(plain)
		save := func(uid string) fleet.Snapshot {
			t.Helper()
			is := fleet.Snapshot{
				Key: finalPrefix("orders", uid) + "op.db.age", Operation: "op", Taken: time.Now().UTC(), Size: fleet.Bytes(len(plain)),
				SHA256: hex.EncodeToString(sum[:]), Revision: 7, Keys: 1,
			}
			sealed, stop := s.sealed(bytes.NewReader(plain))
			defer stop()
			require.NoError(t, first.Put(t.Context(), is.Key, sealed, -1))
			require.NoError(t, s.record(t.Context(), is))
			return is
		}
		is := save("gone")
		all := &copiers{copies: &Copies{a.Region}, alive: map[string]bool{"lives": true}}
		begin := func() *finalCopies { return &finalCopies{all: all, share: fleet.RecordRequest{Of: 1}} }
		f := begin()
		moved := 0
		look := func(f *finalCopies) error { return f.look(t.Context(), func(string, int64) { moved++ }) }
		require.NoError(t, look(f))
		require.Equal(t, contents(t, first), contents(t, second))
		moved = 0
		require.NoError(t, look(f))
		require.NoError(t, look(begin()))
		require.Zero(t, moved, "what is there is read again")

		is.Closed = time.Now().UTC()
		require.NoError(t, s.record(t.Context(), is))
		require.NoError(t, look(f))
		require.Equal(t, contents(t, first), contents(t, second))
		is.Closed = time.Time{} // the cluster was started again
		require.NoError(t, s.record(t.Context(), is))
		require.NoError(t, look(f))
		require.Equal(t, contents(t, first), contents(t, second))

		// One is damaged in the first store; the other is copied all the same.
		bad := save("damaged")
		save("whole")
		first.Set(objectstoretest.Faults{Key: bad.Key, Flip: 5000})
		require.Equal(t, fleet.Lost, fleet.KindOf(look(f)))
		first.Set(objectstoretest.Faults{})
		manifest := "snapshots/orders/whole/op.json"
		require.Contains(t, contents(t, second), manifest)
		require.NotContains(t, contents(t, second), "snapshots/orders/damaged/op.json")

		second.Set(objectstoretest.Faults{Key: bad.Key, Flip: 5000})
		require.Error(t, look(f), "the second store has not kept what was sent")
		second.Set(objectstoretest.Faults{})
		require.NotContains(t, contents(t, second), "snapshots/orders/damaged/op.json")
		require.NoError(t, look(f))
		require.Equal(t, contents(t, first), contents(t, second))

		r, err := second.Get(t.Context(), bad.Key)
		require.NoError(t, err)
		defer r.Close()
		opened, err := a.Key.Open(r)
		require.NoError(t, err)
		got, err := io.ReadAll(opened)
		require.NoError(t, err)
		require.True(t, bytes.Equal(plain, got))
	})
}
