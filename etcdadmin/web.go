package etcdadmin

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// webLimit bounds what is read of one answer over HTTP: metrics of a member with
// many peers and gRPC histograms are some 200 KiB.
const webLimit = 8 << 20

// newWeb makes the client for what members serve over plain HTTP at their client URL.
func newWeb(cfg Config) *http.Client {
	return &http.Client{
		// A connection that is made too late, to a member that hung, must not be kept: a
		// member closes it with a frame of HTTP/2, which net/http logs.
		Transport: &http.Transport{TLSClientConfig: cfg.TLS.Clone(), TLSHandshakeTimeout: cfg.AnswerTimeout, DisableKeepAlives: true},
		// A member answers itself; a certificate is not to be shown to anybody else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// get asks one endpoint for a page, for no longer than the answer timeout.
func (c *Client) get(ctx context.Context, endpoint, path, resource string) ([]byte, error) {
	if _, err := c.at(endpoint); err != nil { // its form, and whether we are closed
		return nil, err
	}
	timed, cancel := context.WithTimeout(ctx, c.cfg.AnswerTimeout)
	defer cancel()
	body, err := c.read(timed, endpoint+path)
	if err != nil {
		return nil, c.failed(ctx, timed, c.cfg.AnswerTimeout, endpoint, resource, err)
	}
	return body, nil
}

func (c *Client) read(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := c.web.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	if resp.StatusCode != http.StatusOK {
		return nil, fleet.Errorf(fleet.Conflict, url, "it answers %s", resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, webLimit+1))
	if err == nil && len(body) > webLimit {
		err = fmt.Errorf("the answer is longer than %d bytes", webLimit)
	}
	return body, err
}
