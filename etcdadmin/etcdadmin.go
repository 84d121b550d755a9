// Package etcdadmin is what an operator does to a running etcd cluster: look at
// its members, ask for a quorum, change the membership, move the leader, see
// whether a member is in sync and what its peers say of it, lower the version, take
// a snapshot and prove that it restores.
//
// It does single things and returns; waiting and retrying belong to activities.
// It speaks etcd's client API of 3.5, 3.6 and 3.7, and imports fleet of ours.
// Every error is a *fleet.Error that names the member or the endpoint.
package etcdadmin

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/flotilla-etcd/flotilla/fleet"
)

const (
	// DefaultAnswerTimeout is how long one member may take to answer one call. A
	// healthy one takes milliseconds, a busy disk tens of them; a look at a
	// cluster makes two calls one after another and must not take more than 2 s.
	DefaultAnswerTimeout = time.Second
	// keepAliveTime and keepAliveTimeout find that a host is gone while a stream
	// waits for it. Members close connections that ping more often than every 5 s
	// (--grpc-keepalive-min-time).
	keepAliveTime    = 10 * time.Second
	keepAliveTimeout = 5 * time.Second
	// window is how much a member may send that is not read yet, in bytes. The library begins
	// with 64 KiB, two pieces of a snapshot, and makes that more by what it measures, with a
	// ping at a time; the two sides of a snapshot on a busy machine wait for each other then.
	// Of 1 MiB a quarter is read before the member is told, and 2 ms away, which is far in a
	// region, it is 500 MB a second.
	window = 1 << 20
)

// Config is how a cluster is reached.
type Config struct {
	// Endpoints are client URLs, as https://10.0.0.1:2379. One that answers is
	// enough: the others follow from the membership.
	Endpoints []string
	// TLS is the client's side of mutual TLS; nil for plain connections.
	TLS *tls.Config
	// Log gets what the client library takes for a bug of its own; nil for none.
	Log *zap.Logger
	// AnswerTimeout is how long one member may take to answer one call; zero
	// means DefaultAnswerTimeout.
	AnswerTimeout time.Duration
	// Calls sees each unary call of a member, also one that is tried again; nil for none.
	Calls grpc.UnaryClientInterceptor
}

// Client speaks to the members of one cluster. It is safe for concurrent use.
//
// It keeps a connection to each endpoint of its own: one that is shared hands a
// call to whichever member is next, and a member that is stopped but not gone
// then swallows every third one.
type Client struct {
	cfg Config
	web *http.Client // for metrics and versions
	// answered is which endpoint answered last of those that are asked in turn.
	answered atomic.Int64

	mu      sync.Mutex
	clients map[string]*clientv3.Client // by endpoint; nil after Close
}

// Connect prepares a client. It dials nothing before the first call. Errors:
// fleet.Invalid without endpoints, or for one that is not a URL or whose scheme
// does not go with TLS.
func Connect(cfg Config) (*Client, error) {
	if len(cfg.Endpoints) == 0 {
		return nil, fleet.Errorf(fleet.Invalid, "etcd client", "no endpoints were given")
	}
	cfg.Endpoints = slices.Clone(cfg.Endpoints)
	cfg.AnswerTimeout = cmp.Or(cfg.AnswerTimeout, DefaultAnswerTimeout)
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	// The library logs each retry of each call, and each connection that fails;
	// what came of it is in our error.
	cfg.Log = cfg.Log.WithOptions(zap.IncreaseLevel(zap.DPanicLevel))
	c := &Client{cfg: cfg, web: newWeb(cfg), clients: map[string]*clientv3.Client{}}
	for _, endpoint := range cfg.Endpoints {
		if _, err := c.at(endpoint); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return c, nil
}

// Close ends all connections, and the snapshots that are being read. A second
// time it does nothing.
func (c *Client) Close() error {
	c.mu.Lock()
	clients := c.clients
	c.clients = nil
	c.mu.Unlock()
	var errs []error
	for _, endpoint := range slices.Sorted(maps.Keys(clients)) {
		if err := clients[endpoint].Close(); err != nil && !errors.Is(err, context.Canceled) {
			errs = append(errs, explain("etcd "+endpoint, err))
		}
	}
	return errors.Join(errs...)
}

// at gives the connection to one endpoint.
func (c *Client) at(endpoint string) (*clientv3.Client, error) {
	resource := "etcd " + endpoint
	wanted := "http"
	if c.cfg.TLS != nil {
		wanted = "https"
	}
	if scheme, host, _ := strings.Cut(endpoint, "://"); scheme != wanted || host == "" {
		return nil, fleet.Errorf(fleet.Invalid, resource, "the endpoint is not of the form %s://host:port", wanted)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.clients == nil {
		return nil, fleet.Errorf(fleet.Invalid, resource, "the client is closed already")
	}
	if client := c.clients[endpoint]; client != nil {
		return client, nil
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            []string{endpoint},
		TLS:                  c.cfg.TLS.Clone(),
		Logger:               c.cfg.Log,
		DialKeepAliveTime:    keepAliveTime,
		DialKeepAliveTimeout: keepAliveTimeout,
		// How large a request may be is the member's to say.
		MaxCallSendMsgSize: math.MaxInt32,
		// One retry, for a connection that broke while it was idle.
		MaxUnaryRetries: 2,
		DialOptions:     c.dialOptions(),
	})
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, resource, "no client can be made for it: %w", err)
	}
	c.clients[endpoint] = client
	return client, nil
}

// dialOptions make a call fail with the reason why there is no connection. The
// library makes calls wait for one, and then knows only that time is up.
// Connecting is tried again soon: waiting for a member that starts is our trade.
var dialOptions = []grpc.DialOption{
	grpc.WithInitialWindowSize(window), grpc.WithInitialConnWindowSize(window),
	grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		return call(ctx, method, req, reply, conn, append(opts, grpc.WaitForReady(false))...)
	}),
	grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		return open(ctx, desc, conn, method, append(opts, grpc.WaitForReady(false))...)
	}),
	grpc.WithConnectParams(grpc.ConnectParams{
		Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
		MinConnectTimeout: 5 * time.Second, // a handshake on a machine that is busy
	}),
}

func (c *Client) dialOptions() []grpc.DialOption {
	if c.cfg.Calls == nil {
		return dialOptions
	}
	return append(slices.Clone(dialOptions), grpc.WithChainUnaryInterceptor(c.cfg.Calls))
}

// ask calls one endpoint, for no longer than the answer timeout.
func ask[T any](ctx context.Context, c *Client, endpoint string, call func(context.Context, *clientv3.Client) (T, error)) (T, error) {
	var none T
	client, err := c.at(endpoint)
	if err != nil {
		return none, err
	}
	timed, cancel := context.WithTimeout(ctx, c.cfg.AnswerTimeout)
	defer cancel()
	answer, err := call(timed, client)
	if err != nil {
		return none, c.failed(ctx, timed, c.cfg.AnswerTimeout, endpoint, "etcd "+endpoint, err)
	}
	return answer, nil
}

// failed explains a call that had its own time.
func (c *Client) failed(ctx, timed context.Context, limit time.Duration, endpoint, resource string, err error) error {
	if ctx.Err() == nil && timed.Err() != nil {
		return fleet.Errorf(fleet.Unavailable, resource, "no answer within %s: %w", limit, err)
	}
	return c.because(timed, endpoint, resource, err)
}

// first asks all endpoints at once and gives the first answer. Without any, the
// error says what each of them said; its kind is theirs if they agree.
func first[T any](ctx context.Context, c *Client, resource string, call func(context.Context, *clientv3.Client) (T, error)) (T, error) {
	type result struct {
		answer T
		err    error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // of the slower ones
	results := make([]result, len(c.cfg.Endpoints))
	done := make(chan int, len(results))
	for i, endpoint := range c.cfg.Endpoints {
		go func() {
			results[i].answer, results[i].err = ask(ctx, c, endpoint, call)
			done <- i
		}()
	}
	for range results {
		if r := results[<-done]; r.err == nil {
			return r.answer, nil
		}
	}
	var said []string
	var errs []error
	kind := fleet.KindOf(results[0].err)
	for _, r := range results {
		errs = append(errs, r.err)
		said = append(said, r.err.Error())
		if fleet.KindOf(r.err) != kind {
			kind = fleet.Unavailable
		}
	}
	var none T
	return none, &fleet.Error{
		Kind: kind, Resource: resource, Err: errors.Join(errs...),
		Message: "none of its endpoints gave an answer that a quorum stands behind: " + strings.Join(said, "; "),
	}
}

// resource is what errors call the cluster: it is known by its endpoints only.
func (c *Client) resource() string {
	return fmt.Sprintf("etcd cluster at %s", strings.Join(c.cfg.Endpoints, ", "))
}
