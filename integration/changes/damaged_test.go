package changes

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/integration/harness"
)

// TestDamagedMemberIsLeftOut alters one byte of a value in the store of one member while its
// cluster is stopped, as no checksum notices: of the first to be started, which would keep the
// others from serving, and of the last. The start names it, the others serve what was written,
// and a failover replaces it.
func TestDamagedMemberIsLeftOut(t *testing.T) {
	abreast(t)
	e := harness.Start(t)
	e.StartWorker("flotilla-worker")
	for version, damaged := range map[string]int{"3.5.35": 1, older: 1, newer: 3} {
		spec := small("odd-"+strings.ReplaceAll(version, ".", "-"), 3, version)
		e.Create(spec)
		a, err := e.Connect(t.Context(), spec.Name)
		require.NoError(t, err)
		for i := range 20 {
			_, err := a.Put(t.Context(), fmt.Sprintf("key-%02d", i), "value")
			require.NoError(t, err)
		}
		require.NoError(t, a.Close())
		answer := e.CLI("stop", spec.Name, "--yes")
		require.Zero(t, answer.Code, answer.Err)
		odd := fleet.MemberName(spec.Name, damaged)
		alterByte(t, storeOf(t, e, spec.Name, odd))

		answer = e.CLI("start", spec.Name)
		require.Zero(t, answer.Code, "%s %s", answer.Out, answer.Err)
		said := answer.Out + answer.Err
		require.Contains(t, said, "2/3 members")
		require.Contains(t, said, "member "+odd+": its data differs from what ")
		require.Contains(t, said, "flotilla failover "+spec.Name+" "+odd)
		allAreRight(t, e, spec.Name, 2)

		answer = e.CLI("failover", spec.Name, odd)
		require.Zero(t, answer.Code, "%s %s", answer.Out, answer.Err)
		require.NoError(t, e.Stands(t.Context(), spec.Name))
		allAreRight(t, e, spec.Name, 3)
		e.Decommission(spec.Name, fleet.Options{})
	}
	e.ExpectNothingLeft()
}

// storeOf gives the file that a member has its keys in.
func storeOf(t *testing.T, e *harness.Env, cluster, member string) string {
	t.Helper()
	disks, err := e.Provider.ListDisks(t.Context(), iaas.Tags{fleet.TagCluster: cluster, fleet.TagMember: member})
	require.NoError(t, err)
	require.Len(t, disks, 1)
	file := filepath.Join(e.Dir, "local/disks", disks[0].ID, "data", member, "data/member/snap/db")
	require.FileExists(t, file)
	return file
}

// alterByte changes a byte of the last value in a store.
func alterByte(t *testing.T, store string) {
	t.Helper()
	db, err := bolt.Open(store, 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(func(tx *bolt.Tx) error {
		keys := tx.Bucket([]byte("key"))
		name, value := keys.Cursor().Last()
		altered := strings.Replace(string(value), "value", "walue", 1)
		require.NotEqual(t, string(value), altered)
		return keys.Put(append([]byte{}, name...), []byte(altered))
	}))
	require.NoError(t, db.Close())
}

// allAreRight expects every value as it was written at each member that serves, of which there
// are to be so many.
func allAreRight(t *testing.T, e *harness.Env, cluster string, serve int) {
	t.Helper()
	a, err := e.Connect(t.Context(), cluster)
	require.NoError(t, err)
	defer a.Close()
	endpoints, err := e.Client.Endpoints(t.Context(), cluster)
	require.NoError(t, err)
	read := 0
	for _, endpoint := range endpoints {
		a.SetEndpoints(endpoint.ClientURL())
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		got, err := a.Get(ctx, "key-", clientv3.WithPrefix(), clientv3.WithSerializable())
		cancel()
		if err != nil {
			continue // who was left out
		}
		read++
		require.Len(t, got.Kvs, 20, endpoint.Member)
		for _, kv := range got.Kvs {
			require.Equal(t, "value", string(kv.Value), "%s at %s", kv.Key, endpoint.Member)
		}
	}
	require.Equal(t, serve, read)
}
