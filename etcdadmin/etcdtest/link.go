package etcdtest

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Link is the network between a member's peers and its peer port: what they connect
// to instead, at a pace that can be set. What the member itself connects to (in etcd:
// the stream of the leader's messages) does not pass through it; snapshots do.
type Link struct {
	// URL is where peers connect.
	URL string

	target string
	pace   atomic.Int64
	passed atomic.Int64
	conns  sync.WaitGroup
}

// NewLink opens a link to a member that is closed when the test ends. pace is how
// many bytes a second pass to the member, over all connections.
func NewLink(t testing.TB, target string, pace int64) *Link {
	t.Helper()
	// Members' certificates are for this address too.
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := &Link{URL: "https://" + listener.Addr().String(), target: target}
	l.SetPace(pace)
	ctx, cancel := context.WithCancel(context.Background())
	l.conns.Go(func() { l.accept(ctx, listener) })
	t.Cleanup(func() {
		cancel()
		_ = listener.Close()
		l.conns.Wait()
	})
	return l
}

// SetPace changes the pace, also of what is on its way.
func (l *Link) SetPace(bytesPerSecond int64) { l.pace.Store(bytesPerSecond) }

// Passed gives how many bytes have passed to the member.
func (l *Link) Passed() int64 { return l.passed.Load() }

func (l *Link) accept(ctx context.Context, listener net.Listener) {
	for {
		in, err := listener.Accept()
		if err != nil {
			return
		}
		l.conns.Go(func() { l.relay(ctx, in) })
	}
}

// relay joins one connection to the member until either side ends it.
func (l *Link) relay(ctx context.Context, in net.Conn) {
	out, err := (&net.Dialer{}).DialContext(ctx, "tcp", l.target)
	if err != nil {
		_ = in.Close()
		return
	}
	end := sync.OnceFunc(func() { _ = in.Close(); _ = out.Close() })
	defer end()
	defer context.AfterFunc(ctx, end)()
	var back sync.WaitGroup
	back.Go(func() { defer end(); _, _ = io.Copy(in, out) })
	defer back.Wait()
	defer end()
	const step = 20 * time.Millisecond
	tick := time.NewTicker(step)
	defer tick.Stop()
	for {
		n, err := io.CopyN(out, in, max(1, l.pace.Load()*int64(step)/int64(time.Second)))
		l.passed.Add(n)
		if err != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
