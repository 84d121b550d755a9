package backup

import (
	"context"
	"io"

	"github.com/flotilla-etcd/flotilla/backup/sealed"
	"github.com/flotilla-etcd/flotilla/fleet"
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
