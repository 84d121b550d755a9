package etcdadmin

import (
	"context"
	"crypto/tls"
	"net/url"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// refusalTimeout is how long a member may take to say that it refuses our
// certificate: it does so at once after the handshake, or not at all.
const refusalTimeout = 300 * time.Millisecond

// because gives the reason of a call that failed at an endpoint, as explain does,
// and finds it out where the library could not tell. Since TLS 1.3 a member
// refuses a certificate after our side believes that all is well; gRPC writes
// then, finds the connection broken, and never reads the refusal.
func (c *Client) because(ctx context.Context, endpoint, resource string, err error) error {
	explained := explain(resource, err)
	if c.cfg.TLS == nil || ctx.Err() != nil || !fleet.Is(explained, fleet.Unavailable) {
		return explained
	}
	if refused := c.refusal(ctx, endpoint); refused != nil && refusedTLS(refused.Error()) {
		return explain(resource, refused)
	}
	return explained
}

// refusal connects to the endpoint and listens, without a word of its own, for
// what the member says of the handshake: an alert of TLS, or any other end.
func (c *Client) refusal(ctx context.Context, endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, refusalTimeout)
	defer cancel()
	config := c.cfg.TLS.Clone()
	config.NextProtos = []string{"h2"}
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // nothing was written
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetReadDeadline(deadline); err != nil {
			return err
		}
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}
