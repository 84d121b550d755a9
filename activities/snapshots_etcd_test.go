package activities

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
	"github.com/flotilla-etcd/flotilla/objectstore/objectstoretest"
)

// What workers that died have left of a final snapshot in a bucket is in no list and paid for,
// and whoever was only taken for dead could put it in the place of the one that counts.
func TestFinalSnapshotEndsOtherUploads(t *testing.T) {
	s := created(t, 1)
	server := objectstoretest.Start(t)
	server.Bucket(t, "finals")
	const own = "FINALS_" // it runs beside other tests
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": server.AccessKey, "AWS_SECRET_ACCESS_KEY": server.SecretKey} {
		require.NoError(t, os.Setenv(own+name, value)) //nolint:usetesting // that is not for what runs in parallel
		t.Cleanup(func() { require.NoError(t, os.Unsetenv(own+name)) })
	}
	bucket, err := objectstore.Open(t.Context(), server.Location("finals"), objectstore.Options{Environment: own})
	require.NoError(t, err)
	moved, err := s.Store.List(t.Context(), "")
	require.NoError(t, err)
	for _, o := range moved {
		r, err := s.Store.Get(t.Context(), o.Key)
		require.NoError(t, err)
		require.NoError(t, bucket.Put(t.Context(), o.Key, r, int64(o.Size)))
		require.NoError(t, r.Close())
	}
	s.Store = bucket
	server.LeaveUpload(t, "finals", finalPrefix(s.op.Cluster, s.op.UID)+s.op.ID+".db.age")
	server.LeaveUpload(t, "finals", finalPrefix("others", s.op.UID)+s.op.ID+".db.age")

	s.must(fleet.Step{Kind: fleet.SaveFinalSnapshot})
	require.Equal(t, []string{finalPrefix("others", s.op.UID) + s.op.ID + ".db.age"}, server.Uploads(t, "finals"))
	found, err := s.finalSnapshot(t.Context(), s.op.Cluster, s.op.UID)
	require.NoError(t, err)
	require.Equal(t, s.op.ID, found.Operation)
}
