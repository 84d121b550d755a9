package objectstore_test

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/objectstore"
	"github.com/flotilla-etcd/flotilla/objectstore/objectstoretest"
)

// rights notes which rights of IAM the requests that pass need ("Actions, resources, and
// condition keys for Amazon S3").
type rights struct {
	next http.RoundTripper
	mu   sync.Mutex
	seen map[string]bool
}

func (r *rights) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	r.seen[rightFor(req)] = true
	r.mu.Unlock()
	return r.next.RoundTrip(req)
}

func rightFor(req *http.Request) string {
	query := req.URL.Query()
	object := strings.Contains(strings.Trim(req.URL.Path, "/"), "/") // after the bucket: the server is asked by path
	switch {
	case query.Has("retention"):
		return map[string]string{http.MethodPut: "s3:PutObjectRetention", http.MethodGet: "s3:GetObjectRetention"}[req.Method]
	case query.Has("object-lock"):
		return "s3:GetBucketObjectLockConfiguration"
	case query.Has("location"):
		return "s3:GetBucketLocation"
	case !object && query.Has("uploads"):
		return "s3:ListBucketMultipartUploads"
	case !object && req.Method == http.MethodGet:
		return "s3:ListBucket"
	case object && req.Method == http.MethodDelete && query.Has("uploadId"):
		return "s3:AbortMultipartUpload"
	case object && req.Method == http.MethodGet && query.Has("uploadId"):
		return "s3:ListMultipartUploadParts"
	case object && req.Method == http.MethodDelete:
		return "s3:DeleteObject"
	case object && (req.Method == http.MethodGet || req.Method == http.MethodHead):
		return "s3:GetObject"
	case object && (req.Method == http.MethodPut || req.Method == http.MethodPost):
		return "s3:PutObject"
	}
	return "unknown: " + req.Method + " " + req.URL.RequestURI()
}

// The policy in the docs has the rights of all that a store is asked, and no others.
func TestPolicyIsWhatIsAsked(t *testing.T) {
	server := objectstoretest.Start(t)
	server.Setenv(t)
	server.LockableBucket(t, "bucket")
	asked := &rights{next: http.DefaultTransport, seen: map[string]bool{}}
	s, err := objectstore.Open(t.Context(), server.Location("bucket/fleet"), objectstore.Options{Transport: asked})
	require.NoError(t, err)
	ctx := t.Context()
	large := bytes.Repeat([]byte("etcd"), objectstore.PartSize/2) // goes up in parts
	require.NoError(t, s.Put(ctx, "large", bytes.NewReader(large), int64(len(large))))
	require.NoError(t, s.PutIfAbsent(ctx, "small", []byte("x")))
	_, err = s.Stat(ctx, "small")
	require.NoError(t, err)
	r, err := s.Get(ctx, "small")
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	_, err = s.List(ctx, "")
	require.NoError(t, err)
	require.NoError(t, s.Delete(ctx, "small"))
	server.LeaveUpload(t, "bucket", "fleet/left")
	aborted, err := s.(objectstore.Aborter).Abort(ctx, "", 0)
	require.NoError(t, err)
	require.Len(t, aborted, 1)
	locker := s.(objectstore.Locker)
	require.NoError(t, locker.CanLock(ctx))
	require.NoError(t, locker.Lock(ctx, "large", objectstore.Lock{Mode: objectstore.Governance, Until: time.Now().Add(time.Minute)}))

	page, err := os.ReadFile("../docs/providers/aws.md")
	require.NoError(t, err)
	granted := map[string]bool{}
	for _, action := range regexp.MustCompile(`"(s3:\w+)"`).FindAllStringSubmatch(string(page), -1) {
		granted[action[1]] = true
	}
	// Where neither --object-store nor AWS_REGION says the region, Amazon is asked; this server's is known.
	asked.seen["s3:GetBucketLocation"] = true
	require.Equal(t, slices.Sorted(maps.Keys(asked.seen)), slices.Sorted(maps.Keys(granted)), "asked, and granted in docs/providers/aws.md")
}
