package activities

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
	"github.com/flotilla-etcd/flotilla/objectstore/objectstoretest"
	"github.com/flotilla-etcd/flotilla/pki"
)

var noAnswer = objectstoretest.Faults{Refuse: fleet.Errorf(fleet.Unavailable, "object store", "no answer")}

// twoStores gives authorities over two stores, with faults in front of each.
func twoStores(t *testing.T, a *Authorities) (with *Authorities, first, second *objectstoretest.Faulty) {
	t.Helper()
	far, err := objectstore.Open(t.Context(), t.TempDir(), objectstore.Options{})
	require.NoError(t, err)
	first, second = &objectstoretest.Faulty{Store: a.Store}, &objectstoretest.Faulty{Store: far}
	r := a.Region
	r.Store, r.Second = first, second
	return &Authorities{r}, first, second
}

// follows has the second store follow, and says what was done.
func (a *Authorities) follows(t *testing.T) []string {
	t.Helper()
	c := &secretCopy{region: a.Region, cluster: "orders", uid: "uid"}
	did, err := c.follow(t.Context(), true)
	require.NoError(t, err)
	again, err := c.follow(t.Context(), true)
	require.NoError(t, err)
	require.Empty(t, again)
	return did
}

// contents are what a store has, by key.
func contents(t *testing.T, s objectstore.Store) map[string]string {
	t.Helper()
	objects, err := s.List(t.Context(), "")
	require.NoError(t, err)
	all := map[string]string{}
	for _, o := range objects {
		text, err := objectstore.ReadWhole(t.Context(), s, o.Key, o.Size)
		require.NoError(t, err)
		all[o.Key] = string(text)
	}
	return all
}

// sealedOnly leaves out versions that were emptied.
func sealedOnly(all map[string]string) map[string]string {
	for key, text := range all {
		if text == "" && versionIn(key, secretsPrefix("orders", "uid")) >= 0 {
			delete(all, key)
		}
	}
	return all
}

// The second store has what the first has of an authority in each state of its replacement,
// as it is sealed, and gives it when the first cannot.
func TestAuthorityIsCopied(t *testing.T) {
	everyStore(t, func(t *testing.T, on *Authorities) {
		a, first, second := twoStores(t, on)
		second.Set(noAnswer)
		must(t, a.CreateAuthority) // which waits for no second store
		require.True(t, a.observed(t).Authority)
		second.Set(objectstoretest.Faults{})
		_, err := a.sign(t.Context(), request(t), time.Hour)
		require.NoError(t, err)
		for _, change := range []step{nil, a.ExtendAuthority, a.SwitchAuthority} {
			if change != nil {
				must(t, change)
			}
			require.Equal(t, []string{"copied the authority"}, a.follows(t))
			require.Equal(t, sealedOnly(contents(t, first)), sealedOnly(contents(t, second)))
		}
		want := a.observed(t)
		require.False(t, want.Trust.OtherUntil.IsZero())

		// The first store is away: whoever signs or connects goes on, whoever changes waits.
		first.Set(noAnswer)
		copied, err := a.authority(t.Context(), "orders", "uid")
		require.NoError(t, err)
		require.Equal(t, want.Trust.Signer, copied.Trust().Signer)
		_, err = a.RetireAuthority(t.Context(), rotate)
		require.Error(t, err)
		require.Error(t, func() error {
			_, err := (&secretCopy{region: a.Region, cluster: "orders", uid: "uid"}).follow(t.Context(), true)
			return err
		}(), "who cannot see the first store puts nothing back")
		first.Set(objectstoretest.Faults{})

		// It has lost everything: it gets it back, with until when clients' certificates are valid.
		lost := contents(t, first)
		for key := range lost {
			require.NoError(t, first.Delete(t.Context(), key))
		}
		require.True(t, a.observed(t).Authority)
		_, err = a.RetireAuthority(t.Context(), rotate)
		require.ErrorContains(t, err, "has no certificate authority in")
		require.Equal(t, []string{"put the authority back into the first store, which had lost it"}, a.followsOnce(t))
		a.follows(t)
		require.Equal(t, sealedOnly(lost), sealedOnly(contents(t, first)))
		require.Equal(t, want.Trust, a.observed(t).Trust)
		_, err = a.RetireAuthority(t.Context(), rotate)
		require.ErrorContains(t, err, "clients have certificates")
	})
}

func (a *Authorities) followsOnce(t *testing.T) []string {
	t.Helper()
	did, err := (&secretCopy{region: a.Region, cluster: "orders", uid: "uid"}).follow(t.Context(), true)
	require.NoError(t, err)
	return did
}

// One that is altered in either store is read from the other, and replaced by it. Of two that
// both open none is.
func TestDamagedAuthorityIsReplaced(t *testing.T) {
	everyStore(t, func(t *testing.T, on *Authorities) {
		a, first, second := twoStores(t, on)
		must(t, a.CreateAuthority)
		a.follows(t)
		whole, key := contents(t, first), authorityKey("orders", "uid", 0)
		put := func(s objectstore.Store, text []byte) {
			t.Helper()
			require.NoError(t, s.Put(t.Context(), key, bytes.NewReader(text), int64(len(text))))
		}
		for _, s := range []objectstore.Store{first, second} {
			for at := range 8 {
				altered := []byte(whole[key])
				altered[at*len(altered)/8+40] ^= 1
				put(s, altered)
				_, err := a.authority(t.Context(), "orders", "uid")
				require.NoError(t, err)
				require.NotEmpty(t, a.followsOnce(t), "bit at %d of 8", at)
				require.Equal(t, whole, contents(t, s))
			}
			put(s, []byte(whole[key])[:len(whole[key])/2])
			require.NotEmpty(t, a.followsOnce(t))
			require.Equal(t, whole, contents(t, s))
		}
		other, err := pki.NewAuthority("orders", "uid", time.Now())
		require.NoError(t, err)
		text, err := other.Seal(a.Key)
		require.NoError(t, err)
		put(second, text)
		_, err = (&secretCopy{region: a.Region, cluster: "orders", uid: "uid"}).follow(t.Context(), true)
		require.Equal(t, fleet.Conflict, fleet.KindOf(err), "%v", err)
		require.Equal(t, whole, contents(t, first))
		require.Equal(t, string(text), contents(t, second)[key])
	})
}

// What is destroyed is destroyed in both, and comes back from none.
func TestCopyOfAuthorityIsDestroyed(t *testing.T) {
	everyStore(t, func(t *testing.T, on *Authorities) {
		a, first, second := twoStores(t, on)
		must(t, a.CreateAuthority)
		a.follows(t)
		second.Set(noAnswer)
		require.Contains(t, must(t, a.DestroyAuthority), "LEFT in the second store, below clusters/orders/uid/")
		second.Set(objectstoretest.Faults{})
		require.Empty(t, contents(t, first))
		require.False(t, a.observed(t).Secrets, "nothing is left to do")
		did, err := (&secretCopy{region: a.Region, cluster: "orders", uid: "uid"}).follow(t.Context(), lives(fleet.PhaseDecommissioning))
		require.NoError(t, err)
		require.Empty(t, did)
		require.Empty(t, contents(t, first))
		require.Empty(t, must(t, a.DestroyAuthority))
		require.Empty(t, contents(t, second))
	})
}
