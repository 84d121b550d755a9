package backup

import (
	"context"
	"io"
	"os"
	"path/filepath"
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

// AlterBit has the disk under a bucket lose one bit of an object.
func AlterBit(t *testing.T, server *objectstoretest.Server, bucket, key string) {
	t.Helper()
	file := filepath.Join(server.Root, bucket, filepath.FromSlash(key))
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	data[len(data)/2] ^= 1
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteAt(data, 0)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}
