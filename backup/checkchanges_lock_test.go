package backup

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
	"github.com/flotilla-etcd/flotilla/objectstore/objectstoretest"
)

// Of changes, too, what is locked is not replaced before its time where the bucket has no
// versions, and what else is damaged is; where it has, the new one lies beside the damaged
// one, and is locked as well.
func TestRepairOfLockedChanges(t *testing.T) {
	for what, start := range map[string]func(testing.TB) *objectstoretest.Server{"versions": objectstoretest.StartVersioned, "no versions": objectstoretest.Start} {
		t.Run(what, func(t *testing.T) {
			server, v := LockedPair(t, start)
			lock := objectstore.LockRule{Mode: objectstore.Governance, For: 10 * time.Second}.From(time.Now())
			locked, err := saveSegmentOf(t, v, "2f", 2, 5, lock)
			require.NoError(t, err)
			open := storeSegment(t, v, "2f", 6, 9)
			_, err = (&Copier{Vault: v, Cluster: "orders", UID: "u1"}).Changes(t.Context(), nil)
			require.NoError(t, err)
			for _, s := range []Segment{locked, open} { // the disk under the bucket loses a bit of each
				AlterBit(t, server, "locked", s.Objects[0].Key)
			}

			m := Manifest{Cluster: "orders", UID: "u1", ID: "a", History: "2f", Revision: 1}
			check := func() fleet.ChangesCheck {
				t.Helper()
				found, _, err := v.CheckChanges(t.Context(), m, ChangesAsk{Repair: true, By: "ada"}, nil)
				require.NoError(t, err)
				require.Equal(t, int64(9), found.Reach.Revision)
				return found
			}
			found := check()
			require.Len(t, found.Damaged, 2)
			if what == "versions" {
				require.True(t, found.Right(), "%+v", found)
				versions := server.Versions(t, "locked", locked.Objects[0].Key)
				require.Len(t, versions, 2)
				for _, version := range versions {
					require.Error(t, server.DeleteVersion(t, "locked", locked.Objects[0].Key, version), "each is locked")
				}
			} else {
				require.Equal(t, []any{locked.ID, false, true}, []any{found.Damaged[0].ID, found.Damaged[0].Repaired, found.Damaged[1].Repaired})
				require.Contains(t, found.Damaged[0].NotRepaired, "cannot be repaired in")
				require.Eventually(t, func() bool { return check().Right() }, time.Minute, time.Second, "after its time")
			}
			found, _, err = Vault{Store: v.Store, Key: v.Key}.CheckChanges(t.Context(), m, ChangesAsk{}, nil)
			require.NoError(t, err)
			require.True(t, found.Right(), "%+v", found)
		})
	}
}
