package aliyun

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/ecs"
)

const (
	// callTimeout bounds one call. Callers wait 20 s.
	callTimeout = 18 * time.Second
	// connectTimeout leaves time for an answer.
	connectTimeout = 5 * time.Second
	// idleTimeout is shorter than that of the load balancers in front of the API.
	idleTimeout = 50 * time.Second
	// idleConnections are kept for the next calls.
	idleConnections = 20
)

func newTransport() http.RoundTripper {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: connectTimeout}).DialContext,
		TLSHandshakeTimeout: connectTimeout,
		IdleConnTimeout:     idleTimeout,
		MaxIdleConnsPerHost: idleConnections,
		ForceAttemptHTTP2:   true,
	}
}

// call makes one call of ECS and gives its answer, or a *fleet.Error. The SDK's client is
// made for each call: it changes its own timeouts at every one, without a lock.
func call[Q requests.AcsRequest, A any](
	ctx context.Context, p *Provider, resource string, do func(*ecs.Client, Q) (A, error), request Q,
) (A, error) {
	return within(ctx, resource, func(ctx context.Context) (A, error) {
		client, err := p.client(ctx)
		if err != nil {
			var none A
			return none, err
		}
		request.SetScheme(p.scheme)
		return do(client, request)
	})
}

// within makes one call within its time, and gives its answer or a *fleet.Error. A call
// that still waits for credentials when the context ends is left behind; it sends nothing.
func within[A any](ctx context.Context, resource string, do func(context.Context) (A, error)) (A, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	type outcome struct {
		answer A
		err    error
	}
	done := make(chan outcome, 1)
	if ctx.Err() == nil {
		go func() {
			var o outcome
			defer func() { done <- o }()
			defer func() {
				if recover() != nil { // the SDK takes an error's fields for strings, unseen
					o.err = errGarbled
				}
			}()
			o.answer, o.err = do(ctx)
		}()
	}
	select {
	case o := <-done:
		if o.err != nil && ctx.Err() != nil {
			o.err = ctx.Err()
		}
		return o.answer, translate(resource, o.err)
	case <-ctx.Done():
		var none A
		return none, translate(resource, ctx.Err())
	}
}

func (p *Provider) client(ctx context.Context) (*ecs.Client, error) {
	c := &ecs.Client{}
	cfg := sdk.NewConfig().WithScheme(p.scheme).WithTimeout(callTimeout)
	cfg.Transport = carrier{ctx, p.transport}
	if err := c.InitWithOptions(p.cfg.Region, cfg, p.credentials); err != nil {
		return nil, err
	}
	c.Domain = p.host
	c.SetReadTimeout(callTimeout)
	c.SetCloseTrace(true) // a tracer would be told the URL
	return c, nil
}

// errGarbled is of an answer that the SDK does not survive.
var errGarbled = errors.New("the endpoint gave an answer that is none of ECS's")

// carrier brings the context to a request that was made without one.
type carrier struct {
	ctx  context.Context //nolint:containedctx // the SDK has no other place for it
	next http.RoundTripper
}

// errRedirected ends a call that was answered with another address: the request has the
// signature in its URL, and the API redirects nobody.
var errRedirected = errors.New("the endpoint answered with a redirection")

func (c carrier) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := c.next.RoundTrip(r.WithContext(c.ctx))
	if err == nil && answer.StatusCode/100 == 3 {
		_ = answer.Body.Close()
		return nil, errRedirected
	}
	return answer, err
}

// chain is the SDK's chain of credentials made safe for several goroutines, and with
// errors that say nothing of what was found where.
type chain struct {
	mu    sync.Mutex
	given credentials.CredentialsProvider
	inner credentials.CredentialsProvider
	found bool // credentials were had before: it is no use to tell people to configure them
}

var (
	errNoCredentials   = errors.New("there are no credentials")
	errLostCredentials = errors.New("the credentials cannot be renewed")
)

func newChain(given credentials.CredentialsProvider) *chain { return &chain{given: given} }

// GetCredentials implements credentials.CredentialsProvider.
func (c *chain) GetCredentials() (*credentials.Credentials, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil {
		c.inner = c.given
	}
	if c.inner == nil {
		c.inner = credentials.NewDefaultCredentialsProvider()
	}
	cc, err := c.inner.GetCredentials()
	switch {
	case err == nil && cc != nil:
		c.found = true
		return cc, nil
	case c.found:
		return nil, errLostCredentials
	}
	c.inner = nil // after a failure the SDK's chain asks only its last link
	return nil, errNoCredentials
}

// GetProviderName implements credentials.CredentialsProvider.
func (c *chain) GetProviderName() string { return "flotilla" }
