package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/node/internal/durable"
)

const (
	// maxArchive is ten times a release of today: what is larger is not one.
	maxArchive = 1 * fleet.GiB
	// stallTimeout is how long a source may send nothing. A slow one is waited
	// for; one that stopped is not.
	stallTimeout = 30 * time.Second
)

// fetch streams an archive to a file and gives its SHA-256.
func (n *Node) fetch(ctx context.Context, source, resource, to string) (string, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	body, size, err := open(ctx, source, resource)
	if err != nil {
		return "", err
	}
	defer body.Close()
	if size > int64(maxArchive) {
		return "", fleet.Errorf(fleet.Invalid, resource, "the archive has %s; releases have less than %s", fleet.Bytes(size).Human(), maxArchive)
	}
	if free, err := freeSpace(filepath.Dir(to)); err == nil && size > int64(free) {
		return "", n.noSpace(resource, fleet.Bytes(size))
	}
	watched := &stallReader{r: body, stalled: time.AfterFunc(stallTimeout, func() { cancel(errStalled) })}
	defer watched.stalled.Stop()
	hash := sha256.New()
	written, err := durable.WriteFrom(to, io.TeeReader(io.LimitReader(watched, int64(maxArchive)+1), hash), 0o600)
	switch {
	case err != nil && isNoSpace(err):
		return "", n.noSpace(resource, fleet.Bytes(max(size, written)))
	case err != nil:
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return "", fleet.Errorf(fleet.Unavailable, resource, "the download from %s broke off after %s: %w",
			plainURL(source), fleet.Bytes(written).Human(), err)
	case written > int64(maxArchive):
		return "", fleet.Errorf(fleet.Invalid, resource, "the archive has more than %s", maxArchive)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

var errStalled = errors.New("nothing came for " + stallTimeout.String())

// stallReader puts its timer back whenever something comes.
type stallReader struct {
	r       io.Reader
	stalled *time.Timer
}

func (s *stallReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.stalled.Reset(stallTimeout)
	return n, err
}

// open gives what a URL or path leads to, and its size if that is known, or -1.
func open(ctx context.Context, source, resource string) (io.ReadCloser, int64, error) {
	u, err := url.Parse(source)
	if err != nil || source == "" {
		return nil, 0, fleet.Errorf(fleet.Invalid, resource, "its source is not a URL or a path")
	}
	switch u.Scheme {
	case "http", "https":
		return openHTTP(ctx, source, resource)
	case "file":
		return openFile(u.Path, resource)
	case "":
		return openFile(source, resource)
	}
	return nil, 0, fleet.Errorf(fleet.Invalid, resource, "its source is a %s URL; https, http, file and paths are understood", u.Scheme)
}

func openFile(path, resource string) (io.ReadCloser, int64, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, fleet.Errorf(fleet.NotFound, resource, "there is no file %s on this host", path)
	}
	if err != nil {
		return nil, 0, fleet.Errorf(fleet.Denied, resource, "%w", err)
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		_ = f.Close()
		return nil, 0, fleet.Errorf(fleet.Invalid, resource, "%s is not a file", path)
	}
	return f, info.Size(), nil
}

// client bounds everything but the body, which stallReader bounds.
var client = &http.Client{Transport: &http.Transport{
	Proxy:                 http.ProxyFromEnvironment,
	DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
	TLSHandshakeTimeout:   10 * time.Second,
	ResponseHeaderTimeout: stallTimeout,
	DisableCompression:    true, // the archive's own hash is what counts
	ForceAttemptHTTP2:     true,
}}

func openHTTP(ctx context.Context, source, resource string) (io.ReadCloser, int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, source, nil)
	if err != nil {
		return nil, 0, fleet.Errorf(fleet.Invalid, resource, "its source is not a URL")
	}
	resp, err := client.Do(req)
	if err != nil {
		// The library's error quotes the whole URL, which may be a signed one.
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return nil, 0, fleet.Errorf(fleet.Unavailable, resource, "%s does not answer: %w", plainURL(source), err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, resp.ContentLength, nil
	}
	_ = resp.Body.Close()
	kind := fleet.Unavailable
	switch resp.StatusCode {
	case http.StatusNotFound, http.StatusGone:
		kind = fleet.NotFound
	case http.StatusUnauthorized, http.StatusForbidden:
		kind = fleet.Denied
	case http.StatusTooManyRequests:
		kind = fleet.Throttled
	}
	return nil, 0, fleet.Errorf(kind, resource, "%s answered %s", plainURL(source), resp.Status)
}

// plainURL gives a source without what may be secret in it: user and signature.
func plainURL(source string) string {
	u, err := url.Parse(source)
	if err != nil {
		return "its source"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}
