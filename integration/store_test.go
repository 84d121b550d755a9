package integration

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
	"github.com/flotilla-etcd/flotilla/objectstore"
	"github.com/flotilla-etcd/flotilla/objectstore/objectstoretest"
)

// TestS3 keeps authorities and snapshots in a real S3 server: after a decommission
// only the sealed final snapshot and its manifest are there.
func TestS3(t *testing.T) {
	server := objectstoretest.Start(t)
	server.Setenv(t)
	server.Bucket(t, "flotilla")
	location := server.Location("flotilla/fleet")
	e := harness.Start(t, harness.WithObjectStore(location))
	e.StartWorker("flotilla-worker")
	spec := harness.Spec("orders", 1, "3.7.3")
	e.Create(spec)
	revision, err := e.Serves(t.Context(), spec.Name, "orders-1")
	require.NoError(t, err)
	result := e.Decommission(spec.Name, fleet.Options{})
	require.GreaterOrEqual(t, result.FinalSnapshot.Revision, revision)

	store, err := objectstore.Open(t.Context(), location, objectstore.Options{})
	require.NoError(t, err)
	objects, err := store.List(t.Context(), "")
	require.NoError(t, err)
	var keys []string
	for _, o := range objects {
		keys = append(keys, o.Key)
	}
	manifest := result.FinalSnapshot.Key[:len(result.FinalSnapshot.Key)-len(".db.age")] + ".json"
	require.ElementsMatch(t, []string{result.FinalSnapshot.Key, manifest}, keys, "objects that are left")
	e.ExpectNothingLeft()
}
