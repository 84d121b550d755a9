package backup_test

import (
	"context"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/backup"
	"github.com/flotilla-etcd/flotilla/etcdadmin/etcdtest"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
	"github.com/flotilla-etcd/flotilla/objectstore/objectstoretest"
)

// aged is a store all of which is older than anything may be on its way into the second one.
type aged struct{ objectstore.Store }

func (a aged) List(ctx context.Context, prefix string) ([]objectstore.Object, error) {
	objects, err := a.Store.List(ctx, prefix)
	for i := range objects {
		objects[i].Modified = objects[i].Modified.Add(-3 * time.Hour)
	}
	return objects, err
}

// recordedPair is a cluster whose changes behind a backup are in both of two stores.
type recordedPair struct {
	*source
	p        *pair
	base     backup.Manifest
	end      int64
	segments []backup.SegmentEntry // those with changes
}

func recordPair(t *testing.T, p *pair) *recordedPair {
	t.Helper()
	s := startSource(t, etcdtest.V37)
	s.vault, s.faulty = p.Vault, p.first
	s.writeMany(t, 20)
	r := &recordedPair{source: s, p: p, base: s.save(t, "a")}
	one := s.record(t, r.base.Revision+1, 1<<20)
	for range 8 {
		s.writeMany(t, 12)
		one.await(t, s.revision(t))
	}
	one.stop(t)
	r.end = s.revision(t)
	r.copy(t)
	p.first.Store, p.second.Store = aged{p.first.Store}, aged{p.second.Store}
	_, segments := s.list(t)
	r.segments = slices.DeleteFunc(segments, func(e backup.SegmentEntry) bool { return e.Segment.Empty() })
	require.GreaterOrEqual(t, len(r.segments), 8)
	return r
}

// copy has the second store follow.
func (r *recordedPair) copy(t *testing.T) {
	t.Helper()
	c := r.p.copier()
	_, _, err := c.Snapshots(t.Context(), nil)
	require.NoError(t, err)
	_, err = c.Changes(t.Context(), nil)
	require.NoError(t, err)
}

func (r *recordedPair) check(t *testing.T, m backup.Manifest, repair bool) (fleet.ChangesCheck, []fleet.BackupRepair) {
	t.Helper()
	check, repaired, err := r.p.CheckChanges(t.Context(), m, backup.ChangesAsk{Repair: repair, By: "ada"}, nil)
	require.NoError(t, err)
	return check, repaired
}

// replay has what a vault gives for a revision compared with what the cluster had there.
func (r *recordedPair) replay(t *testing.T, v backup.Vault, revision int64) {
	t.Helper()
	segments, err := v.Segments(t.Context(), "orders", "u1")
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "snapshot.db")
	done, err := v.Replay(t.Context(), r.base, backup.ReachOf(r.base, segments), backup.Target{Revision: revision}, file, nil)
	require.NoError(t, err)
	r.same(t, file, done, revision)
}

// keysOf are the manifest and the data of a segment.
func keysOf(s backup.Segment) [2]string {
	return [2]string{path.Dir(s.Objects[0].Key) + "/manifest.json", s.Objects[0].Key}
}

// Whatever is altered, cut or missing of recorded changes in one of two stores is found, named,
// and replaced by what the other has; what is right is not written. Afterwards each store by
// itself leads to every revision, and those are what the cluster had.
func TestChangesAreRepaired(t *testing.T) {
	for on, p := range pairs(t) {
		t.Run(on, func(t *testing.T) {
			r := recordPair(t, p)
			check, _ := r.check(t, r.base, false)
			require.True(t, check.Right(), "%+v", check)
			require.Equal(t, r.end, check.Reach.Revision)
			require.GreaterOrEqual(t, check.Segments, len(r.segments))

			whole := digests(t, p.first)
			stores := map[fleet.Where]*objectstoretest.Faulty{fleet.InFirst: p.first, fleet.InSecond: p.second}
			hows := []string{"one bit", "cut", "missing"}
			times := 0
			for round := range 8 {
				// Each object is damaged in one store at most; a segment may be in both.
				planted := map[string]bool{}
				spoiled := map[*objectstoretest.Faulty][]string{}
				for i, e := range r.segments {
					for j, key := range keysOf(e.Segment) {
						if r.random.IntN(3) > 0 && (i+j)%8 != round {
							continue
						}
						where := []fleet.Where{fleet.InFirst, fleet.InSecond}[r.random.IntN(2)]
						spoil(t, stores[where], key, hows[r.random.IntN(3)])
						planted[e.ID+" "+string(where)] = true
						spoiled[stores[where]] = append(spoiled[stores[where]], key)
					}
				}
				before := map[fleet.Where]map[string]string{fleet.InFirst: tags(t, p.first), fleet.InSecond: tags(t, p.second)}
				check, repaired := r.check(t, r.base, false)
				require.Empty(t, repaired)
				found := map[string]bool{}
				for _, d := range check.Damaged {
					found[d.ID+" "+string(d.Where)] = true
					i := slices.IndexFunc(r.segments, func(e backup.SegmentEntry) bool { return e.ID == d.ID })
					is := r.segments[i].Segment
					require.Equal(t, []any{is.First, is.Last, is.Earliest, stores[d.Where].String()}, []any{d.First, d.Last, d.Earliest, d.Store})
					require.NotEmpty(t, d.Why)
				}
				require.Equal(t, planted, found)
				require.False(t, check.Right())
				require.Empty(t, check.Lost, "restores take what is whole")
				require.Equal(t, r.end, check.Reach.Revision)
				for where, store := range stores {
					require.Equal(t, before[where], tags(t, store), "nothing is written unless that is asked for")
				}

				check, repaired = r.check(t, r.base, true)
				require.True(t, check.Right(), "%+v", check)
				require.Len(t, check.Damaged, len(planted))
				require.Len(t, repaired, len(spoiled))
				times += len(repaired)
				for _, store := range stores {
					after := tags(t, store)
					for key, tag := range before[map[bool]fleet.Where{true: fleet.InFirst, false: fleet.InSecond}[store == p.first]] {
						if !slices.Contains(spoiled[store], key) {
							require.Equal(t, tag, after[key], "%s was right, and was written", key)
						}
					}
					alone, _, err := backup.Vault{Store: store, Key: p.Key}.CheckChanges(t.Context(), r.base, backup.ChangesAsk{}, nil)
					require.NoError(t, err)
					require.True(t, alone.Right(), "%+v", alone)
					require.Equal(t, r.end, alone.Reach.Revision)
				}
				repairs := "backups/orders/u1/snapshots/a/repairs.json"
				without := func(all []backup.Object) []backup.Object {
					return slices.DeleteFunc(all, func(o backup.Object) bool { return o.Key == repairs })
				}
				require.Equal(t, whole, without(digests(t, p.first)))
				require.Equal(t, whole, without(digests(t, p.second)))
				entries, err := p.List(t.Context(), "orders", "u1")
				require.NoError(t, err)
				require.Len(t, entries[0].Repairs, min(times, 16))
				require.Equal(t, "ada", entries[0].Repairs[0].By)
			}
			for i := range 10 {
				store := []objectstore.Store{p.first, p.second}[i%2]
				r.replay(t, backup.Vault{Store: store, Key: p.Key}, r.base.Revision+r.random.Int64N(r.end-r.base.Revision+1))
			}
		})
	}
}

// What is whole in neither store is said, with what cannot be restored because of it, and stays
// as it is; a backup behind it heals what comes after. A store that is away proves nothing.
func TestChangesThatCannotBeRepaired(t *testing.T) {
	for on, p := range pairs(t) {
		t.Run(on, func(t *testing.T) {
			r := recordPair(t, p)
			away := objectstoretest.Faults{Refuse: fleet.Errorf(fleet.Unavailable, "object store", "no answer")}
			victim, other := r.segments[3].Segment, r.segments[5].Segment
			key := keysOf(victim)[1]
			spoil(t, p.first, key, "one bit")
			for _, faults := range []objectstoretest.Faults{away, {Key: ".age", Refuse: away.Refuse}} {
				before := tags(t, p.first)
				p.second.Set(faults)
				_, repaired, err := p.CheckChanges(t.Context(), r.base, backup.ChangesAsk{Repair: true}, nil)
				require.Equal(t, fleet.Unavailable, fleet.KindOf(err), "%v", err)
				require.Empty(t, repaired)
				p.second.Set(objectstoretest.Faults{})
				require.Equal(t, before, tags(t, p.first))
			}

			lost := func(m backup.Manifest, repair bool) []fleet.LostRevisions {
				t.Helper()
				check, _ := r.check(t, m, repair)
				return check.Lost
			}
			require.Empty(t, lost(r.base, false))
			for _, how := range []string{"cut", "missing"} { // and then its manifests
				spoil(t, p.second, key, how)
				untouched := map[*objectstoretest.Faulty]map[string]string{p.first: tags(t, p.first), p.second: tags(t, p.second)}
				check, repaired := r.check(t, r.base, true)
				require.Empty(t, repaired)
				require.Len(t, check.Damaged, 1)
				d := check.Damaged[0]
				require.Equal(t, []any{victim.ID, victim.First, victim.Last, fleet.InBoth, false}, []any{d.ID, d.First, d.Last, d.Where, d.Repaired})
				require.Equal(t, victim.First-1, check.Reach.Revision)
				require.Len(t, check.Lost, 1)
				require.Equal(t, []any{victim.First, r.end, false}, []any{check.Lost[0].First, check.Lost[0].Last, check.Lost[0].Healed})
				require.False(t, check.Right())
				require.False(t, check.Lost[0].After.After(victim.Earliest))
				require.True(t, check.Lost[0].Before.After(victim.Earliest))
				for store, tags1 := range untouched {
					require.Equal(t, tags1, tags(t, store))
				}
			}
			for _, key := range keysOf(victim) { // it is nowhere any more: the revisions show it
				spoil(t, p.first, key, "missing")
				spoil(t, p.second, keysOf(victim)[0], "missing")
			}
			check, _ := r.check(t, r.base, true)
			require.Empty(t, check.Damaged)
			require.Len(t, check.Lost, 1)
			require.Equal(t, []int64{victim.First, r.end}, []int64{check.Lost[0].First, check.Lost[0].Last})
			r.replay(t, p.Vault, victim.First-1)

			// What is damaged behind it is mended all the same.
			spoil(t, p.second, keysOf(other)[1], "one bit")
			check, repaired := r.check(t, r.base, true)
			require.Len(t, repaired, 1)
			require.True(t, check.Damaged[0].Repaired)

			// A backup heals it.
			b := r.save(t, "b")
			r.copy(t)
			require.Equal(t, []fleet.LostRevisions{{
				First: victim.First, Last: b.Revision - 1, After: check.Lost[0].After, Before: b.Taken, Healed: true,
			}}, lost(r.base, false))
			one := r.record(t, b.Revision+1, 1<<20)
			r.writeMany(t, 20)
			r.end = r.revision(t)
			one.await(t, r.end)
			one.stop(t)
			r.copy(t)
			check, _ = r.check(t, b, false)
			require.True(t, check.Right(), "%+v", check)
			require.Equal(t, r.end, check.Reach.Revision)
		})
	}
}

// What has just been recorded need not be in the second store yet. What retention has removed
// from the first one need not be anywhere.
func TestChangesOnTheirWay(t *testing.T) {
	p := pairs(t)["directories"]
	s := startSource(t, etcdtest.V37)
	s.vault, s.faulty = p.Vault, p.first
	m := s.save(t, "a")
	one := s.record(t, m.Revision+1, 1<<20)
	s.writeMany(t, 12)
	one.await(t, s.revision(t))
	one.stop(t)
	r := &recordedPair{source: s, p: p, base: m, end: s.revision(t)}
	for _, repair := range []bool{false, true} {
		check, repaired := r.check(t, m, repair)
		require.True(t, check.Right(), "%+v", check)
		require.Equal(t, check.Segments, check.NotCopied)
		require.Equal(t, r.end, check.Reach.Revision)
		require.Empty(t, repaired)
	}
	p.first.Store = aged{p.first.Store}
	check, _ := r.check(t, m, false)
	require.Len(t, check.Damaged, check.Segments)
	require.Equal(t, fleet.InSecond, check.Damaged[0].Where)
	r.copy(t)
	check, _ = r.check(t, m, false)
	require.True(t, check.Right(), "%+v", check)

	b := s.save(t, "b")
	r.copy(t)
	_, segments := s.list(t)
	for _, e := range segments {
		require.NoError(t, backup.Vault{Store: p.first}.DeleteSegment(t.Context(), "orders", "u1", e.History, e.ID))
	}
	check, _ = r.check(t, m, false)
	require.Len(t, check.Damaged, len(segments), "retention would have kept them")
	check, repaired, err := p.CheckChanges(t.Context(), m, backup.ChangesAsk{Keep: time.Nanosecond, Repair: true}, nil)
	require.NoError(t, err)
	require.Empty(t, repaired)
	require.Zero(t, check.Segments)
	check, _ = r.check(t, b, false)
	require.True(t, check.Right(), "%+v", check)
	require.Zero(t, check.Segments, fmt.Sprint(check))
}
