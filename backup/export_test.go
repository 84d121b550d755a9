package backup

import (
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/backup/sealed"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
	"github.com/flotilla-etcd/flotilla/objectstore/objectstoretest"
	"github.com/flotilla-etcd/flotilla/pki"
)

// Digest says what a manifest would of an object.
func (v Vault) Digest(ctx context.Context, key string) (Object, error) {
	r, err := v.Store.Get(ctx, key)
	if err != nil {
		return Object{}, err
	}
	defer r.Close()
	read := sealed.NewDigestReader(r, nil)
	_, err = io.Copy(io.Discard, read)
	return Object{Key: key, Size: fleet.Bytes(read.N), SHA256: read.Digest()}, err
}

// CopyObjects copies the data of a backup, and not its manifest.
func (v Vault) CopyObjects(ctx context.Context, m Manifest, tell Tell) error {
	for _, o := range m.Objects {
		if err := v.CopyObject(ctx, m.String(), o, tell); err != nil {
			return err
		}
	}
	return nil
}

// LockedPair gives a vault over the buckets "locked", whose objects can be locked, and "open"
// of one server.
func LockedPair(t *testing.T, start func(testing.TB) *objectstoretest.Server) (*objectstoretest.Server, Vault) {
	t.Helper()
	server := start(t)
	server.Setenv(t)
	server.LockableBucket(t, "locked")
	server.Bucket(t, "open")
	key, err := pki.GenerateFleetKey()
	require.NoError(t, err)
	v := Vault{Key: key}
	v.Store, err = objectstore.Open(t.Context(), server.Location("locked"), objectstore.Options{})
	require.NoError(t, err)
	v.Second, err = objectstore.Open(t.Context(), server.Location("open"), objectstore.Options{})
	require.NoError(t, err)
	return server, v
}
