package etcdadmin

import (
	"context"
	"errors"
	"io"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// Snapshot streams the store of one member as it is at one moment: a bbolt file
// followed by its SHA-256 (32 bytes), which is what VerifySnapshot and etcdutl
// read. The member is named, or is one of the endpoints, which also works when
// no quorum and no membership is to be had. A learner serves it too.
//
// The stream lasts as long as ctx; whoever reads it closes it. Its errors are
// *fleet.Error: a stream that ended early is never io.EOF. Errors:
// fleet.NotFound when there is no such member, fleet.Conflict when it has not
// started, else as of the calls.
func (c *Client) Snapshot(ctx context.Context, member string) (io.ReadCloser, error) {
	endpoints, err := c.addresses(ctx, member)
	if err != nil {
		return nil, err
	}
	resource := "snapshot of member " + member
	var errs []error
	for _, endpoint := range endpoints {
		client, err := c.at(endpoint)
		if err != nil {
			return nil, err
		}
		r, err := c.openStream(ctx, client, endpoint, resource+" at "+endpoint)
		if err == nil {
			return r, nil
		}
		errs = append(errs, err)
	}
	return nil, fleet.Errorf(fleet.KindOf(errs[0]), resource, "%w", errors.Join(errs...))
}

// openStream starts the stream and waits for its first piece, so that a member
// that refuses or is silent is found before anything is stored.
func (c *Client) openStream(ctx context.Context, client *clientv3.Client, endpoint, resource string) (io.ReadCloser, error) {
	streaming, cancel := context.WithCancel(ctx)
	p, err := openPieces(streaming, client)
	if err != nil {
		cancel()
		return nil, c.because(ctx, endpoint, resource, err)
	}
	return &stream{pieces: p, cancel: cancel, resource: resource}, nil
}

// addresses gives the client URLs of a member.
func (c *Client) addresses(ctx context.Context, member string) ([]string, error) {
	if slices.Contains(c.cfg.Endpoints, member) {
		return []string{member}, nil
	}
	// What a member last knew is enough to find an address by.
	list, err := c.lastKnown(ctx)
	if err != nil {
		return nil, err
	}
	resource := "member " + member
	for _, m := range list.Members {
		switch {
		case m.Name != member || member == "":
		case len(m.ClientURLs) == 0:
			return nil, fleet.Errorf(fleet.Conflict, resource, "it has not told the cluster its client address")
		default:
			return m.ClientURLs, nil
		}
	}
	return nil, fleet.Errorf(fleet.NotFound, resource, "the %s has no member of that name that has started", c.resource())
}

// stream is a snapshot that is being read.
type stream struct {
	pieces   *pieces
	cancel   context.CancelFunc
	resource string
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.pieces.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = explain(s.resource, err)
	}
	return n, err
}

// Close ends the stream on both sides.
func (s *stream) Close() error {
	s.cancel()
	return nil
}
