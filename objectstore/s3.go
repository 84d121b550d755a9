package objectstore

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/s3utils"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// What an upload may hold in memory. An object of up to PartSize bytes is one
// request. A larger one goes up in parts of that size, one after another, of
// which S3 allows 10,000: 78 GiB, far over etcd's largest store.
const (
	PartSize = 8 << 20
	// MaxBuffered is the most of one object that a Put holds in memory: the
	// beginning, which was read to see whether it is small, and one part.
	MaxBuffered = 2 * PartSize
)

// tries is how often one request is sent. More than once, because connections
// do break; few, because waiting is the caller's business, who can say so.
const tries = 3

// bucket keeps objects in an S3 bucket, below a prefix.
type bucket struct {
	client *minio.Client
	// once sends each request a single time: the second try of a conditional
	// put finds what the first has written and calls it a conflict.
	once   *minio.Client
	bucket string
	prefix string // ends at "/" unless empty
	name   string
	oss    bool
}

// openS3 reads s3://bucket/prefix?endpoint=…&region=…&pathStyle=true.
func openS3(u *url.URL, opts Options) (Store, error) {
	resource := "object store s3://" + u.Host
	invalid := func(format string, args ...any) error {
		return fleet.Errorf(fleet.Invalid, resource, format, args...).
			WithRemedy("write it as s3://bucket/prefix?endpoint=https://host:port&region=eu-west-1&pathStyle=true")
	}
	if err := s3utils.CheckValidBucketNameStrict(u.Host); err != nil {
		return nil, invalid("%q cannot be the name of a bucket: %w", u.Host, err)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, invalid("what follows the ? cannot be read")
	}
	for option := range query {
		if !slices.Contains([]string{"endpoint", "region", "pathStyle"}, option) {
			return nil, invalid("there is no option %q", option)
		}
	}
	b := &bucket{bucket: u.Host, prefix: strings.Trim(u.Path, "/")}
	if b.prefix != "" {
		if why := checkSegments(b.prefix); why != "" {
			return nil, invalid("the prefix cannot be used: %s", why)
		}
		b.prefix += "/"
	}
	endpoint, err := url.Parse(cmp.Or(query.Get("endpoint"), "https://s3.amazonaws.com"))
	switch {
	case err != nil, endpoint.Host == "", endpoint.Scheme != "http" && endpoint.Scheme != "https",
		strings.Trim(endpoint.Path, "/") != "", endpoint.RawQuery != "":
		return nil, invalid("the endpoint is not of the form https://host:port")
	case endpoint.User != nil:
		return nil, invalid("the endpoint carries credentials, which belong in the environment")
	}
	b.oss = s3utils.IsAliyunOSSEndpoint(*endpoint)
	if b.oss && endpoint.Scheme != "https" {
		return nil, invalid("OSS is spoken to over https only, as it cannot read signed streams")
	}
	lookup := minio.BucketLookupAuto
	if text := query.Get("pathStyle"); text != "" {
		style, err := strconv.ParseBool(text)
		if err != nil {
			return nil, invalid("pathStyle is %q, not true or false", text)
		}
		lookup = minio.BucketLookupDNS
		if style {
			lookup = minio.BucketLookupPath
		}
	}
	b.name = "s3://" + b.bucket + "/" + b.prefix + " at " + endpoint.Host
	if err := b.connect(endpoint, region(query.Get("region"), *endpoint, opts.Environment), lookup, opts); err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "object store "+b.name, "cannot be opened: %w", err)
	}
	return b, nil
}

// region gives the region that requests are signed for. Empty lets minio-go ask
// Amazon, which servers that are not Amazon need not answer.
func region(named string, endpoint url.URL, environment string) string {
	if r := cmp.Or(named, os.Getenv(environment+"AWS_REGION"), os.Getenv(environment+"AWS_DEFAULT_REGION")); r != "" {
		return r
	}
	if s3utils.IsAmazonEndpoint(endpoint) {
		return s3utils.GetRegionFromURL(endpoint)
	}
	// s3.oss-cn-hangzhou.aliyuncs.com
	for label := range strings.SplitSeq(endpoint.Hostname(), ".") {
		if r, ok := strings.CutPrefix(label, "oss-"); ok {
			return strings.TrimSuffix(r, "-internal")
		}
	}
	return "us-east-1" // what servers take that have no regions
}

func (b *bucket) connect(endpoint *url.URL, region string, lookup minio.BucketLookupType, opts Options) error {
	creds := findCredentials(region, opts.Environment)
	client := func(retries int) (*minio.Client, error) {
		transport := opts.Transport
		if transport == nil {
			t, err := newTransport(endpoint.Scheme == "https")
			if err != nil {
				return nil, err
			}
			// A connection that the server has just closed looks like a lost
			// answer; who may not repeat a request needs a fresh one.
			t.DisableKeepAlives = retries == 1
			transport = t
		}
		if b.oss {
			transport = &ossTransport{next: transport, creds: creds, region: region}
		}
		return minio.New(endpoint.Host, &minio.Options{
			Creds: creds, Secure: endpoint.Scheme == "https", Transport: transport,
			Region: region, BucketLookup: lookup, MaxRetries: retries,
		})
	}
	var err error
	if b.client, err = client(tries); err != nil {
		return err
	}
	b.once, err = client(1)
	return err
}

// String gives "s3://bucket/prefix/ at host:port".
func (b *bucket) String() string { return b.name }

func (b *bucket) Put(ctx context.Context, key string, r io.Reader, size int64) error {
	if err := checkKey(b.name, key); err != nil {
		return err
	}
	resource := about(b.name, key)
	src := &source{ctx: ctx, r: r, size: size}
	begin := make([]byte, PartSize)
	if size >= 0 && size < PartSize {
		begin = make([]byte, size+1) // one more, to see the end
	}
	n, err := io.ReadFull(src, begin)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		// All of it: one request, which can be sent again.
		if src.err == nil {
			err = again(ctx, func() error {
				_, err := b.client.PutObject(ctx, b.bucket, b.prefix+key, bytes.NewReader(begin[:n]), int64(n),
					minio.PutObjectOptions{SendContentMd5: true})
				return err
			})
		}
	case err == nil:
		// In parts. minio-go aborts them if anything fails, the source included,
		// in a context of its own. What a killed process leaves is not an
		// object; Abort removes it, or a lifecycle rule of the bucket.
		_, err = b.client.PutObject(ctx, b.bucket, b.prefix+key, io.MultiReader(bytes.NewReader(begin[:n]), src), -1,
			minio.PutObjectOptions{SendContentMd5: true, PartSize: PartSize})
	}
	if failed := src.failure(resource); failed != nil {
		return failed
	}
	if err != nil {
		return explainS3(resource, err)
	}
	return nil
}

func (b *bucket) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	if err := checkKey(b.name, key); err != nil {
		return err
	}
	opts := minio.PutObjectOptions{
		SendContentMd5: true,
		// In one request: a condition holds for that one only.
		DisableMultipart: true,
		// A plain body, signed by its MD5, goes out together with its header: of a
		// stream of signed chunks a refusal breaks the connection before it is
		// read. And OSS's requests are signed again, which no stream survives.
		DisableContentSha256: true,
	}
	opts.SetMatchETagExcept("*") // If-None-Match: *
	err := again(ctx, func() error {
		_, err := b.once.PutObject(ctx, b.bucket, b.prefix+key, bytes.NewReader(data), int64(len(data)), opts)
		return err
	})
	if err != nil {
		return explainS3(about(b.name, key), err)
	}
	return nil
}

// again repeats a put that versitygw refused because its parent directory was
// being removed by a delete of the last object beside it (seen with v1.8.0).
// Nothing was stored then, so that a conditional put may be repeated as well.
func again(ctx context.Context, put func() error) error {
	const attempts = 20 // each is lost only to another delete at that very moment
	err := put()
	for range attempts {
		if code := minio.ToErrorResponse(err).Code; code != parentVanished || ctx.Err() != nil {
			break
		}
		err = put()
	}
	return err
}

func (b *bucket) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	if err := checkKey(b.name, key); err != nil {
		return nil, err
	}
	resource := about(b.name, key)
	// Core, because Client.GetObject asks nothing before the first read.
	r, _, _, err := minio.Core{Client: b.client}.GetObject(ctx, b.bucket, b.prefix+key, minio.GetObjectOptions{})
	if err != nil {
		return nil, explainS3(resource, err)
	}
	return &body{ctx: ctx, c: r, resource: resource, explain: explainS3}, nil
}

var _ Linker = (*bucket)(nil)

// Link signs a URL (Signature Version 4, "Authenticating requests: using query parameters").
func (b *bucket) Link(ctx context.Context, key string, validFor time.Duration) (string, error) {
	if err := checkKey(b.name, key); err != nil {
		return "", err
	}
	u, err := b.client.PresignedGetObject(ctx, b.bucket, b.prefix+key, validFor, nil)
	if err != nil {
		return "", explainS3(about(b.name, key), err)
	}
	return u.String(), nil
}

func (b *bucket) Stat(ctx context.Context, key string) (Object, error) {
	if err := checkKey(b.name, key); err != nil {
		return Object{}, err
	}
	info, err := b.client.StatObject(ctx, b.bucket, b.prefix+key, minio.StatObjectOptions{})
	if err == nil {
		return b.object(info), nil
	}
	explained := explainS3(about(b.name, key), err)
	if fleet.Is(explained, fleet.NotFound) {
		// The answer to a HEAD has no body, so its 404 does not say what is
		// missing: the object, the bucket, or the user. That to a list does.
		one := minio.ListObjectsOptions{Prefix: b.prefix + key, Recursive: true, MaxKeys: 1}
		for info := range b.client.ListObjectsIter(ctx, b.bucket, one) {
			if info.Err != nil {
				return Object{}, explainS3(about(b.name, key), info.Err)
			}
			break
		}
	}
	return Object{}, explained
}

func (b *bucket) object(info minio.ObjectInfo) Object {
	return Object{
		Key: strings.TrimPrefix(info.Key, b.prefix), Size: fleet.Bytes(info.Size),
		Modified: info.LastModified, ETag: strings.Trim(info.ETag, `"`),
	}
}

func (b *bucket) List(ctx context.Context, prefix string) ([]Object, error) {
	return b.ListAfter(ctx, prefix, "")
}

func (b *bucket) ListAfter(ctx context.Context, prefix, after string) ([]Object, error) {
	if err := checkPrefix(b.name, prefix); err != nil {
		return nil, err
	}
	options := minio.ListObjectsOptions{Prefix: b.prefix + prefix, Recursive: true}
	if after != "" {
		options.StartAfter = b.prefix + after
	}
	var objects []Object
	for info := range b.client.ListObjectsIter(ctx, b.bucket, options) {
		if info.Err != nil {
			return nil, explainS3(about(b.name, prefix), info.Err)
		}
		// Servers that are a file system underneath list its directories too.
		if !strings.HasSuffix(info.Key, "/") {
			objects = append(objects, b.object(info))
		}
	}
	// The iterator just ends when the context does.
	if err := ctx.Err(); err != nil {
		return nil, stopped(about(b.name, prefix), err)
	}
	slices.SortFunc(objects, func(a, c Object) int { return cmp.Compare(a.Key, c.Key) })
	return objects, nil
}

func (b *bucket) Delete(ctx context.Context, key string) error {
	if err := checkKey(b.name, key); err != nil {
		return err
	}
	err := b.client.RemoveObject(ctx, b.bucket, b.prefix+key, minio.RemoveObjectOptions{})
	if err == nil {
		return nil
	}
	if explained := explainS3(about(b.name, key), err); !fleet.Is(explained, fleet.NotFound) {
		return explained
	}
	return nil
}
