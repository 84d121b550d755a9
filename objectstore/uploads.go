package objectstore

import (
	"context"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// Aborter is a Store in which a Put that was killed leaves parts of an object. They are in no
// list, and whoever has the bucket pays for them.
type Aborter interface {
	// Abort removes the parts of objects below a prefix whose Put began longer ago than age,
	// which must be longer than any may take, and gives their keys. Errors: fleet.Denied where
	// that is not allowed, fleet.Invalid where the server cannot do it.
	Abort(ctx context.Context, prefix string, age time.Duration) ([]string, error)
}

var _ Aborter = (*bucket)(nil)

// SweepUploads is Abort where the store needs it and allows it. Whoever may not do that, or has
// a server that cannot, has a lifecycle rule of the bucket for it.
func SweepUploads(ctx context.Context, s Store, prefix string, age time.Duration) ([]string, error) {
	a, is := s.(Aborter)
	if !is {
		return nil, nil
	}
	aborted, err := a.Abort(ctx, prefix, age)
	if fleet.Is(err, fleet.Denied) || fleet.Is(err, fleet.Invalid) {
		return aborted, nil
	}
	return aborted, err
}

// Abort is S3's ListMultipartUploads and AbortMultipartUpload.
func (b *bucket) Abort(ctx context.Context, prefix string, age time.Duration) (keys []string, err error) {
	if err := checkPrefix(b.name, prefix); err != nil {
		return nil, err
	}
	const atOnce = 1000 // what S3 lists at most
	core := minio.Core{Client: b.client}
	for key, upload := "", ""; ; {
		page, err := core.ListMultipartUploads(ctx, b.bucket, b.prefix+prefix, key, upload, "", atOnce)
		if err != nil {
			return keys, explainS3(about(b.name, prefix), err)
		}
		for _, u := range page.Uploads {
			if time.Since(u.Initiated) < age {
				continue
			}
			key := strings.TrimPrefix(u.Key, b.prefix)
			if err := core.AbortMultipartUpload(ctx, b.bucket, u.Key, u.UploadID); err != nil {
				if err := explainS3(about(b.name, key), err); !fleet.Is(err, fleet.NotFound) { // somebody else did
					return keys, err
				}
			}
			keys = append(keys, key)
		}
		if !page.IsTruncated {
			return keys, nil
		}
		key, upload = page.NextKeyMarker, page.NextUploadIDMarker
	}
}
