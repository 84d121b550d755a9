package objectstore_test

import (
	"bytes"
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

func TestS3(t *testing.T) {
	server := objectstoretest.Start(t)
	server.Setenv(t)
	buckets := strings.NewReplacer("/", "-", "_", "-")
	for what, prefix := range map[string]string{"whole bucket": "", "prefix": "/some/prefix/"} {
		t.Run(what, func(t *testing.T) {
			objectstoretest.Suite(t, func(t *testing.T) objectstore.Store {
				bucket := strings.ToLower(buckets.Replace(t.Name()))
				server.Bucket(t, bucket)
				t.Cleanup(func() {
					require.Empty(t, server.Uploads(t, bucket), "uploads were left half way")
				})
				return open(t, server.Location(bucket+prefix))
			})
		})
	}
}

// A process that is killed while it puts a large object leaves parts of it, which no list has.
func TestAbort(t *testing.T) {
	server := objectstoretest.Start(t)
	server.Setenv(t)
	server.Bucket(t, "bucket")
	s := open(t, server.Location("bucket/fleet"))
	a := s.(objectstore.Aborter)
	for _, key := range []string{"fleet/a/1", "fleet/a/2", "fleet/b/1", "others/a/1"} {
		server.LeaveUpload(t, "bucket", key)
	}
	aborted, err := a.Abort(t.Context(), "a/", time.Hour)
	require.NoError(t, err)
	require.Empty(t, aborted, "they may still be written")
	require.Len(t, server.Uploads(t, "bucket"), 4)
	aborted, err = a.Abort(t.Context(), "a/", 0)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"a/1", "a/2"}, aborted)
	require.ElementsMatch(t, []string{"fleet/b/1", "others/a/1"}, server.Uploads(t, "bucket"))
	aborted, err = a.Abort(t.Context(), "a/", 0)
	require.NoError(t, err)
	require.Empty(t, aborted)
}

func TestS3Troubles(t *testing.T) {
	server := objectstoretest.Start(t)
	server.Setenv(t)
	server.Bucket(t, "bucket")
	require.NoError(t, everything(t, open(t, server.Location("bucket")), fleet.Kind("")))

	t.Run("no bucket", func(t *testing.T) {
		err := everything(t, open(t, server.Location("missing")), fleet.Invalid)
		require.ErrorContains(t, err, "the bucket does not exist")
		require.ErrorContains(t, err, "create the bucket")
	})
	t.Run("wrong key", func(t *testing.T) {
		t.Setenv("AWS_ACCESS_KEY_ID", "nobody")
		require.Error(t, everything(t, open(t, server.Location("bucket")), fleet.Denied))
	})
	t.Run("wrong secret", func(t *testing.T) {
		t.Setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
		err := everything(t, open(t, server.Location("bucket")), fleet.Denied)
		require.NotContains(t, err.Error(), "not-the-secret")
		require.NotContains(t, err.Error(), server.SecretKey)
	})
	t.Run("server down", func(t *testing.T) {
		s := open(t, server.Location("bucket"))
		server.Stop()
		began := time.Now()
		err := everything(t, s, fleet.Unavailable)
		require.ErrorContains(t, err, "no answer")
		require.Less(t, time.Since(began), 30*time.Second, "seven calls")
	})
}

// everything calls all methods, wants the kind of each, and gives the last error.
func everything(t *testing.T, s objectstore.Store, kind fleet.Kind) (last error) {
	t.Helper()
	check := func(what string, err error) {
		t.Helper()
		require.Equal(t, kind, fleet.KindOf(err), "%s: %v", what, err)
		if err != nil {
			require.ErrorContains(t, err, "s3://")
			last = err
		}
	}
	check("put", s.Put(t.Context(), "k", strings.NewReader("x"), 1))
	check("put of parts", s.Put(t.Context(), "big", bytes.NewReader(make([]byte, objectstore.PartSize+1)), -1))
	check("get", func() error {
		r, err := s.Get(t.Context(), "k")
		if err != nil {
			return err
		}
		return r.Close()
	}())
	_, err := s.Stat(t.Context(), "k")
	check("stat", err)
	_, err = s.List(t.Context(), "")
	check("list", err)
	check("delete", s.Delete(t.Context(), "k"))
	check("put if absent", s.PutIfAbsent(t.Context(), "k", nil))
	return last
}

func TestS3WithoutCredentials(t *testing.T) {
	for _, name := range []string{
		"AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD", "MINIO_ACCESS_KEY", "MINIO_SECRET_KEY",
	} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", t.TempDir()+"/none")
	// The container form of the role, at a port where nobody listens, keeps the
	// test from asking the metadata service of the machine it runs on.
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/")
	_, err := open(t, "s3://bucket?endpoint=http://127.0.0.1:1").Stat(t.Context(), "k")
	require.Equal(t, fleet.Denied, fleet.KindOf(err), "%v", err)
	require.ErrorContains(t, err, "no credentials were found")
}

// TestOSS looks at the requests alone: there is no OSS here to answer them.
func TestOSS(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	var seen *http.Request
	answer := func(status int, body string) objectstore.Options {
		return objectstore.Options{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			seen = r
			return &http.Response{StatusCode: status, Header: http.Header{"Etag": {`"1"`}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
		})}
	}
	const location = "s3://bucket/prefix?endpoint=https://s3.oss-cn-hangzhou.aliyuncs.com"
	s, err := objectstore.Open(t.Context(), location, answer(http.StatusOK, ""))
	require.NoError(t, err)
	require.NoError(t, s.PutIfAbsent(t.Context(), "k", []byte("x")))
	require.Equal(t, "https://bucket.s3.oss-cn-hangzhou.aliyuncs.com/prefix/k", seen.URL.String(), "virtual-host style")
	require.Empty(t, seen.Header.Get("If-None-Match"))
	require.Equal(t, "true", seen.Header.Get("X-Oss-Forbid-Overwrite"))
	require.Contains(t, seen.Header.Get("Authorization"), "x-oss-forbid-overwrite", "the header is signed")
	require.Contains(t, seen.Header.Get("Authorization"), "/cn-hangzhou/s3/")
	require.NotContains(t, seen.Header.Get("Authorization"), "if-none-match")

	require.NoError(t, s.Put(t.Context(), "k", strings.NewReader("x"), 1))
	require.Empty(t, seen.Header.Get("X-Oss-Forbid-Overwrite"))

	s, err = objectstore.Open(t.Context(), location, answer(http.StatusConflict,
		`<?xml version="1.0"?><Error><Code>FileAlreadyExists</Code><Message>The object you specified already exists and can not be overwritten.</Message></Error>`))
	require.NoError(t, err)
	err = s.PutIfAbsent(t.Context(), "k", []byte("x"))
	require.Equal(t, fleet.Conflict, fleet.KindOf(err), "%v", err)
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A link reads an object without credentials, and no other one.
func TestLink(t *testing.T) {
	server := objectstoretest.Start(t)
	server.Setenv(t)
	server.Bucket(t, "bucket")
	s := open(t, server.Location("bucket/some/prefix/"))
	require.NoError(t, s.Put(t.Context(), "node/program", strings.NewReader("program"), -1))
	link, err := s.(objectstore.Linker).Link(t.Context(), "node/program", time.Hour)
	require.NoError(t, err)
	require.NotContains(t, link, server.SecretKey)
	get := func(link string) (int, string) {
		answer, err := http.Get(link)
		require.NoError(t, err)
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		return answer.StatusCode, string(text)
	}
	status, text := get(link)
	require.Equal(t, http.StatusOK, status, text)
	require.Equal(t, "program", text)
	status, _ = get(strings.Replace(link, "program", "other", 1))
	require.Equal(t, http.StatusForbidden, status)
	_, err = s.(objectstore.Linker).Link(t.Context(), "../program", time.Hour)
	require.Equal(t, fleet.Invalid, fleet.KindOf(err))
}
