// Package objectstore keeps what must outlive a cluster's hosts: snapshots,
// releases, sealed secrets, records. A Store is a bucket that speaks S3, or a
// directory.
//
// It knows nothing of what it keeps. Of ours it imports fleet alone, for the
// kinds of error: every error it returns is a *fleet.Error that names the object
// and the store, and never carries a credential.
//
// What is true of every store:
//
//   - An object is there whole or not at all; a reader never sees half of one.
//   - Deleting and putting are idempotent. Unavailable may mean that the
//     request was carried out and only its answer was lost.
//   - A key is one to 1024 bytes of segments joined by "/"; no segment is empty,
//     "." or "..", longer than 255 bytes or begins with ".partial-".
//   - A key that another key goes on from ("a" beside "a/b") is refused by stores
//     that are directories underneath. Do not make such keys.
package objectstore

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// Store keeps objects by key. It is safe for concurrent use.
type Store interface {
	// Put writes an object whole or not at all, over one that is there. size is
	// in bytes, -1 when unknown; a reader that gives another number of bytes is
	// an Invalid error, and an error of the reader's own is underneath the one
	// returned. A store may keep up to MaxBuffered bytes of it in memory.
	Put(ctx context.Context, key string, r io.Reader, size int64) error
	// PutIfAbsent writes a small object only if there is none of that key;
	// fleet.Conflict otherwise. Of several at once exactly one succeeds. Who
	// gets Unavailable does not know whether it did, and compares with Get.
	PutIfAbsent(ctx context.Context, key string, data []byte) error
	// Get opens an object for reading; fleet.NotFound if there is none. The
	// reader must be closed; its errors are *fleet.Error too.
	Get(ctx context.Context, key string) (io.ReadCloser, error)
	// Stat describes an object; fleet.NotFound if there is none.
	Stat(ctx context.Context, key string) (Object, error)
	// List gives the objects whose keys begin with prefix, ordered by key in
	// bytes. The prefix need not end at a "/"; the empty one gives all.
	List(ctx context.Context, prefix string) ([]Object, error)
	// ListAfter is List without the keys up to this one, which need not exist: of many
	// objects it asks only for those behind.
	ListAfter(ctx context.Context, prefix, after string) ([]Object, error)
	// Delete removes an object. Absent is a success.
	Delete(ctx context.Context, key string) error
	// String is what a person calls the store, without credentials.
	String() string
}

// Linker is a Store that others can read from without credentials of their own. Buckets
// are, directories are not.
type Linker interface {
	// Link gives a URL that reads an object for as long as it is valid, at most seven days.
	// It asks the store nothing: an object that is not there shows when it is read.
	Link(ctx context.Context, key string, validFor time.Duration) (string, error)
}

// Filer is a Store whose objects are files of this machine.
type Filer interface {
	// File gives the path of an object's file, whether or not it is there.
	File(key string) string
}

// Object is what a store says of an object.
type Object struct {
	Key      string      `json:"key"`
	Size     fleet.Bytes `json:"size"`
	Modified time.Time   `json:"modified"`
	// ETag is opaque and changes when the content does. It is not a checksum.
	ETag string `json:"etag,omitempty"`
}

// Options are what a location does not say.
type Options struct {
	// Transport is what S3 is spoken over; nil means one with timeouts of ours.
	Transport http.RoundTripper
	// Environment is what the names of environment variables begin with that are for this
	// store alone, as in SECOND_AWS_ACCESS_KEY_ID. Where none of them names credentials,
	// those of every store are taken; AWS_REGION is that of another store then.
	Environment string
}

// Open gives the store at a location:
//
//	/var/lib/flotilla/objects, file:///var/lib/flotilla/objects
//	s3://bucket/prefix?endpoint=https://host:port&region=eu-west-1&pathStyle=true
//
// A directory is made if it is not there. A bucket is not: it belongs to whoever
// pays for it. Without endpoint it is Amazon's; without pathStyle the style
// follows from the endpoint. OSS is reached at its S3-compatible endpoint,
// https://s3.oss-REGION.aliyuncs.com.
//
// Credentials for S3 never stand in the location. They are looked for where
// minio-go does: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a file named by
// AWS_SHARED_CREDENTIALS_FILE, MINIO_ROOT_USER and MINIO_ROOT_PASSWORD, the role
// of the machine.
// Open speaks to no server: what is wrong there shows at the first call.
// Errors: Invalid for a location that cannot be read, Denied for a directory
// that may not be written.
func Open(ctx context.Context, location string, opts Options) (Store, error) {
	if err := ctx.Err(); err != nil {
		return nil, stopped("object store", err)
	}
	scheme, _, found := strings.Cut(location, "://")
	switch {
	case location == "":
		return nil, fleet.Errorf(fleet.Invalid, "object store", "no location was given").
			WithRemedy("name a directory, or s3://bucket/prefix?endpoint=…")
	case !found:
		return openDirectory(location)
	}
	u, err := url.Parse(location)
	if err != nil {
		// The text of a url.Error repeats the location, and with it whatever
		// password somebody put there.
		return nil, fleet.Errorf(fleet.Invalid, "object store", "the location is not a URL that can be read").
			WithRemedy("write it as s3://bucket/prefix?endpoint=https://host:port")
	}
	if u.User != nil {
		return nil, fleet.Errorf(fleet.Invalid, "object store", "the location carries credentials").
			WithRemedy("take them out of it and give them as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or in a file named by AWS_SHARED_CREDENTIALS_FILE")
	}
	switch scheme {
	case "file":
		if u.Host != "" && u.Host != "localhost" {
			return nil, fleet.Errorf(fleet.Invalid, "object store "+u.Redacted(), "a file URL has no host").
				WithRemedy("write it with three slashes, as in file:///var/lib/flotilla/objects")
		}
		return openDirectory(u.Path)
	case "s3":
		return openS3(u, opts)
	default:
		return nil, fleet.Errorf(fleet.Invalid, "object store", "%s:// is not a kind of store", scheme).
			WithRemedy("use s3://, file:// or a path")
	}
}

// Limits of keys. They are the narrower of S3's and of common file systems'.
const (
	maxKey     = 1024
	maxSegment = 255
)

// partial begins the names of files that are not objects yet.
const partial = ".partial-"

// checkKey refuses what cannot be a key in every kind of store.
func checkKey(store, key string) error {
	why := ""
	switch {
	case key == "":
		why = "a key is empty"
	case len(key) > maxKey:
		why = "a key is longer than 1024 bytes"
	default:
		why = checkSegments(key)
	}
	if why == "" {
		return nil
	}
	return fleet.Errorf(fleet.Invalid, about(store, key), "%s", why)
}

func checkSegments(key string) string {
	if !utf8.ValidString(key) || strings.ContainsFunc(key, unicode.IsControl) || strings.Contains(key, `\`) {
		return "a key has a backslash, a control character or is not UTF-8"
	}
	for segment := range strings.SplitSeq(key, "/") {
		switch {
		case segment == "", segment == ".", segment == "..":
			return `a part of the key is empty, "." or ".."`
		case len(segment) > maxSegment:
			return "a part of the key is longer than 255 bytes"
		case strings.HasPrefix(segment, partial):
			return "a part of the key begins with " + partial + ", which is kept for unfinished files"
		}
	}
	return ""
}

// checkPrefix refuses a prefix that no key can begin with. Its last part may
// go on, so of that nothing is known but the characters.
func checkPrefix(store, prefix string) error {
	why := ""
	if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
		why = checkSegments(prefix[:i])
	}
	if why == "" && prefix != "" {
		why = checkSegments(prefix + "x")
	}
	if why == "" {
		return nil
	}
	return fleet.Errorf(fleet.Invalid, about(store, prefix), "no key can begin so: %s", why)
}

// about is what errors call an object.
func about(store, key string) string {
	if key == "" {
		return "object store " + store
	}
	return "object " + key + " in " + store
}

// stopped is the error of a call whose context ended before it was answered.
func stopped(resource string, err error) *fleet.Error {
	return fleet.Errorf(fleet.Unavailable, resource, "stopped before it was done: %w", err)
}
