package objectstore_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
	"github.com/flotilla-etcd/flotilla/objectstore/objectstoretest"
)

// A locked object is there until its time has come, whoever deletes it.
func TestLock(t *testing.T) {
	for what, start := range map[string]func(testing.TB) *objectstoretest.Server{"versions": objectstoretest.StartVersioned, "no versions": objectstoretest.Start} {
		t.Run(what, func(t *testing.T) {
			server := start(t)
			server.Setenv(t)
			server.LockableBucket(t, "locked")
			server.Bucket(t, "open")
			s := open(t, server.Location("locked/fleet"))
			locker := s.(objectstore.Locker)
			require.NoError(t, locker.CanLock(t.Context()))
			until := time.Now().Add(8 * time.Second)
			require.NoError(t, s.PutIfAbsent(t.Context(), "a/manifest", []byte("x")))
			require.NoError(t, s.Put(t.Context(), "a/data", strings.NewReader("data"), -1))
			for _, key := range []string{"a/manifest", "a/data", "a/data"} {
				require.NoError(t, locker.Lock(t.Context(), key, objectstore.Lock{Mode: objectstore.Compliance, Until: until}))
			}
			err := s.Delete(t.Context(), "a/data")
			if what == "versions" { // it is hidden, and kept
				require.NoError(t, err)
				versions := server.Versions(t, "locked", "fleet/a/data")
				require.Len(t, versions, 1)
				require.ErrorContains(t, server.DeleteVersion(t, "locked", "fleet/a/data", versions[0]), "object lock")
				require.Len(t, server.Versions(t, "locked", "fleet/a/data"), 1)
			} else {
				require.Equal(t, fleet.Blocked, fleet.KindOf(err), "%v", err)
				r, err := s.Get(t.Context(), "a/data")
				require.NoError(t, err)
				require.NoError(t, r.Close())
				require.Eventually(t, func() bool { return s.Delete(t.Context(), "a/data") == nil }, time.Minute, time.Second, "after its time")
			}
			require.Equal(t, fleet.NotFound, fleet.KindOf(locker.Lock(t.Context(), "none", objectstore.Lock{Mode: objectstore.Governance, Until: time.Now().Add(time.Hour)})))

			other := open(t, server.Location("open"))
			err = other.(objectstore.Locker).CanLock(t.Context())
			require.Equal(t, fleet.Invalid, fleet.KindOf(err), "%v", err)
			require.ErrorContains(t, err, "the bucket has no object lock")
			require.NoError(t, other.Put(t.Context(), "a", strings.NewReader("a"), 1))
			err = other.(objectstore.Locker).Lock(t.Context(), "a", objectstore.Lock{Mode: objectstore.Governance, Until: time.Now().Add(time.Hour)})
			require.Equal(t, fleet.Invalid, fleet.KindOf(err), "%v", err)
		})
	}
}

// OSS has no lock of objects, and says so before anything is asked of it.
func TestLockOfOSS(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	refuse := objectstore.Options{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusConflict, Header: http.Header{}, Request: r,
			Body: io.NopCloser(strings.NewReader(`<?xml version="1.0"?><Error><Code>FileImmutable</Code><Message>The object specified is immutable.</Message></Error>`))}, nil
	})}
	s, err := objectstore.Open(t.Context(), "s3://bucket?endpoint=https://s3.oss-cn-hangzhou.aliyuncs.com", refuse)
	require.NoError(t, err)
	err = s.(objectstore.Locker).CanLock(t.Context())
	require.Equal(t, fleet.Invalid, fleet.KindOf(err), "%v", err)
	require.ErrorContains(t, err, "OSS locks whole buckets")
	require.Equal(t, fleet.Blocked, fleet.KindOf(s.Delete(t.Context(), "a")), "what its bucket's policy protects is not deletable yet")
}

func TestParseLockRule(t *testing.T) {
	for text, want := range map[string]objectstore.LockRule{
		"": {}, "governance": {Mode: objectstore.Governance}, "compliance:720h": {Mode: objectstore.Compliance, For: 720 * time.Hour},
	} {
		rule, err := objectstore.ParseLockRule(text)
		require.NoError(t, err)
		require.Equal(t, want, rule)
	}
	for _, text := range []string{"yes", "governance:", "governance:-1h", "compliance:month", ":1h"} {
		_, err := objectstore.ParseLockRule(text)
		require.Equal(t, fleet.Invalid, fleet.KindOf(err), text)
	}
}
