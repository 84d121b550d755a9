// Package etcdtest runs small etcd clusters for tests: real processes of a given
// release, mutual TLS with certificates of package pki, on loopback addresses.
//
// It is for tests and benchmarks alone: nothing that is shipped imports it. A
// release that is not there fails the test and says how to get it.
package etcdtest

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/flotilla-etcd/flotilla/pki"
)

// The newest release of each minor that is tested.
const (
	V35 = "3.5.35"
	V36 = "3.6.16"
	V37 = "3.7.3"
)

// Versions are all of them, oldest first.
var Versions = []string{V35, V36, V37}

// readyTimeout is long because many tests may start at once on a small machine;
// a cluster alone is ready within three seconds.
const readyTimeout = 60 * time.Second

// Cluster is a running cluster.
type Cluster struct {
	Name, UID, Version string
	Authority          *pki.Authority
	// TLS is a client's side of mutual TLS.
	TLS     *tls.Config
	Members []*Member

	binary string
	flags  []string
}

// Start runs a cluster of n voters, with flags besides those it needs, until
// the test ends. It returns when every member answers linearizable reads.
func Start(t testing.TB, version string, n int, flags ...string) *Cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts real processes")
	}
	c := &Cluster{Name: "test", UID: strings.ToLower(rand.Text()[:8]), Version: version, flags: flags}
	var err error
	c.binary, err = Binary(version)
	require.NoError(t, err)
	c.Authority, err = pki.NewAuthority(c.Name, c.UID, time.Now())
	require.NoError(t, err)
	c.TLS, err = c.Authority.ClientTLS("flotilla", time.Now())
	require.NoError(t, err)
	for range n {
		c.Members = append(c.Members, c.newMember(t))
	}
	for _, m := range c.Members {
		m.initial, m.state = c.initial(c.Members), "new"
		require.NoError(t, m.Start())
	}
	for _, m := range c.Members {
		m.AwaitReady(t)
	}
	return c
}

// Endpoints gives the client URLs of all members.
func (c *Cluster) Endpoints() (urls []string) {
	for _, m := range c.Members {
		urls = append(urls, m.ClientURL)
	}
	return urls
}

// Client gives a client of the endpoints, by default of all. It is closed when
// the test ends.
func (c *Cluster) Client(t testing.TB, endpoints ...string) *clientv3.Client {
	t.Helper()
	if len(endpoints) == 0 {
		endpoints = c.Endpoints()
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints, TLS: c.TLS, Logger: zap.NewNop()})
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// Leader gives the member that leads, waiting for one.
func (c *Cluster) Leader(t testing.TB) *Member {
	t.Helper()
	var leader *Member
	client := c.Client(t)
	c.await(t, "a leader", func(ctx context.Context) error {
		for _, m := range c.Members {
			// Of its own, so that a paused member does not use up the others'.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second/2)
			s, err := client.Status(ctx, m.ClientURL)
			cancel()
			if err == nil && s.Leader != 0 && s.Leader == s.Header.MemberId {
				leader = m
				return nil
			}
		}
		return fmt.Errorf("no member says that it leads")
	})
	return leader
}

// Follower gives a member that does not lead.
func (c *Cluster) Follower(t testing.TB) *Member {
	t.Helper()
	leader := c.Leader(t)
	i := slices.IndexFunc(c.Members, func(m *Member) bool { return m != leader })
	require.NotEqual(t, -1, i, "the cluster has one member only")
	return c.Members[i]
}

// AddLearner adds a member that follows without a vote. Unless start is true
// it is only announced.
func (c *Cluster) AddLearner(t testing.TB, start bool) *Member {
	t.Helper()
	m := c.newMember(t)
	c.add(t, m)
	if start {
		require.NoError(t, m.Start())
		c.await(t, "the learner to answer", func(ctx context.Context) error {
			_, err := c.Client(t, m.ClientURL).Status(ctx, m.ClientURL)
			return err
		})
	}
	return m
}

// AddLearnerBehind adds a learner whose peers reach it over a link of this pace, and
// starts it.
func (c *Cluster) AddLearnerBehind(t testing.TB, bytesPerSecond int64) (*Member, *Link) {
	t.Helper()
	m := c.newMember(t)
	link := NewLink(t, strings.TrimPrefix(m.PeerURL, "https://"), bytesPerSecond)
	m.advertised = link.URL
	c.add(t, m)
	require.NoError(t, m.Start())
	return m, link
}

// add announces a member to the cluster, as a learner.
func (c *Cluster) add(t testing.TB, m *Member) {
	t.Helper()
	client := c.Client(t)
	// A new cluster refuses it until all members have seen each other for 5 s.
	c.await(t, "the learner to be added", func(ctx context.Context) error {
		_, err := client.MemberAddAsLearner(ctx, []string{m.advertised})
		if errors.Is(err, rpctypes.ErrPeerURLExist) {
			err = nil // it was added, and the answer came too late
		}
		return err
	})
	c.Members = append(c.Members, m)
	m.initial, m.state = c.initial(c.Members), "existing"
}

func (c *Cluster) initial(members []*Member) string {
	var all []string
	for _, m := range members {
		all = append(all, m.Name+"="+m.advertised)
	}
	return strings.Join(all, ",")
}

// await tries until it works, each time for a second at most.
func (c *Cluster) await(t testing.TB, what string, try func(context.Context) error) {
	t.Helper()
	deadline := time.After(readyTimeout)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		err := try(ctx)
		cancel()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			require.FailNow(t, "etcd "+c.Version+" was not ready", "waited %s for %s: %v\n%s", readyTimeout, what, err, c.logs())
		case <-tick.C:
		}
	}
}

// logs gives the end of what each member wrote.
func (c *Cluster) logs() string {
	var b strings.Builder
	for _, m := range c.Members {
		fmt.Fprintf(&b, "--- %s\n%s\n", m.Name, m.log.tail())
	}
	return b.String()
}

// ports gives a loopback address and two ports on it. Where all of 127/8 is
// there (Linux) each member has an address of its own, as hosts have; where it
// is not, all share 127.0.0.1.
func ports(t testing.TB) (address string, client, peer int) {
	t.Helper()
	for range 20 {
		b := make([]byte, 3)
		_, _ = rand.Read(b)
		// Not 127.0.x.y, which people give to things of their own.
		address = fmt.Sprintf("127.%d.%d.%d", 1+int(b[0])%254, b[1], 1+int(b[2])%254)
		if free(address, 2379) && free(address, 2380) {
			return address, 2379, 2380
		}
	}
	// Both are held until both are known, so that they differ.
	a, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	b, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	client, peer = a.Addr().(*net.TCPAddr).Port, b.Addr().(*net.TCPAddr).Port
	require.NoError(t, a.Close())
	require.NoError(t, b.Close())
	return "127.0.0.1", client, peer
}

func free(address string, port int) bool {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", net.JoinHostPort(address, strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}
