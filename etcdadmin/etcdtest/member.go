package etcdtest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/pki"
)

// Member is one member and its process.
type Member struct {
	Name, Address      string
	ClientURL, PeerURL string
	DataDir            string

	cluster        *Cluster
	advertised     string // where peers connect: PeerURL, or a link to it
	dir            string // certificates
	initial, state string
	process        *exec.Cmd
	exited         chan struct{}
	log            tailBuffer
}

// newMember prepares a member: its address, key and certificates.
func (c *Cluster) newMember(t testing.TB) *Member {
	t.Helper()
	address, client, peer := ports(t)
	url := func(port int) string { return "https://" + net.JoinHostPort(address, strconv.Itoa(port)) }
	dir := t.TempDir()
	m := &Member{
		Name: fmt.Sprintf("%s-%d", c.Name, len(c.Members)+1), Address: address,
		ClientURL: url(client), PeerURL: url(peer), DataDir: filepath.Join(dir, "data"),
		cluster: c, dir: dir,
	}
	m.advertised = m.PeerURL
	m.certificates(t)
	t.Cleanup(m.Kill)
	return m
}

func (m *Member) certificates(t testing.TB) {
	t.Helper()
	a, now := m.cluster.Authority, time.Now()
	// Members dial each other from the loopback's first address, whatever
	// address they listen on.
	ips := []net.IP{net.ParseIP(m.Address), net.IPv4(127, 0, 0, 1)}
	write := func(name string, data []byte) {
		require.NoError(t, os.WriteFile(m.file(name), data, 0o600))
	}
	write("ca.pem", a.CertificatePEM())
	key, csr, err := pki.NewKeyAndRequest(m.Name)
	require.NoError(t, err)
	server, err := a.SignServer(csr, m.Name, ips, now)
	require.NoError(t, err)
	write("server.pem", server)
	write("server.key", key)
	key, csr, err = pki.NewKeyAndRequest(m.Name)
	require.NoError(t, err)
	peer, err := a.SignPeer(csr, m.Name, ips, now)
	require.NoError(t, err)
	write("peer.pem", peer)
	write("peer.key", key)
}

func (m *Member) file(name string) string { return filepath.Join(m.dir, name) }

// Start runs the member's process, on the data that is there, and does not wait.
func (m *Member) Start() error {
	args := []string{
		"--name", m.Name, "--data-dir", m.DataDir, "--logger", "zap", "--log-level", "warn",
		"--listen-client-urls", m.ClientURL, "--advertise-client-urls", m.ClientURL,
		"--listen-peer-urls", m.PeerURL, "--initial-advertise-peer-urls", m.advertised,
		"--initial-cluster", m.initial, "--initial-cluster-state", m.state, "--initial-cluster-token", m.cluster.UID,
		"--client-cert-auth", "--trusted-ca-file", m.file("ca.pem"),
		"--cert-file", m.file("server.pem"), "--key-file", m.file("server.key"),
		"--peer-client-cert-auth", "--peer-trusted-ca-file", m.file("ca.pem"),
		"--peer-cert-file", m.file("peer.pem"), "--peer-key-file", m.file("peer.key"),
		"--peer-cert-allowed-cn", pki.PeerName(m.cluster.Name, m.cluster.UID),
		// Twice etcd's defaults: tests share small machines.
		"--heartbeat-interval", "200", "--election-timeout", "2000",
		// A test kills processes, never the machine.
		"--unsafe-no-fsync",
	}
	m.process = exec.CommandContext(context.Background(), m.cluster.binary, append(args, m.cluster.flags...)...)
	m.process.Stdout, m.process.Stderr = &m.log, &m.log
	endWithParent(m.process)
	if err := m.process.Start(); err != nil {
		return fmt.Errorf("etcd %s cannot be started as %s: %w", m.cluster.Version, m.Name, err)
	}
	exited, process := make(chan struct{}), m.process
	m.exited = exited
	go func() { _ = process.Wait(); close(exited) }()
	return nil
}

// AwaitReady waits until the member answers a linearizable read.
func (m *Member) AwaitReady(t testing.TB) {
	t.Helper()
	client := m.cluster.Client(t, m.ClientURL)
	m.cluster.await(t, m.Name+" to answer", func(ctx context.Context) error {
		_, err := client.Get(ctx, "health")
		return err
	})
}

// PID gives the process ID of a member that was started.
func (m *Member) PID() int { return m.process.Process.Pid }

// Kill ends the process as a crash does. It may be started again.
func (m *Member) Kill() { m.end(syscall.SIGKILL) }

// Stop ends the process as an operator does, and waits until it has ended.
func (m *Member) Stop() { m.end(syscall.SIGTERM) }

func (m *Member) end(signal syscall.Signal) {
	if m.process == nil {
		return
	}
	_ = m.process.Process.Signal(signal)          // it may have ended
	_ = m.process.Process.Signal(syscall.SIGCONT) // a paused process takes no other signal
	<-m.exited
}

// Pause stops the process without ending it: its connections stay, and nothing
// answers at them.
func (m *Member) Pause(t testing.TB) {
	t.Helper()
	require.NoError(t, m.process.Process.Signal(syscall.SIGSTOP))
}

// Resume lets a paused process go on.
func (m *Member) Resume(t testing.TB) {
	t.Helper()
	require.NoError(t, m.process.Process.Signal(syscall.SIGCONT))
}

// tailBuffer keeps the last of what a process wrote.
type tailBuffer struct {
	mu   sync.Mutex
	data []byte
}

// tailSize is enough for the lines around a failure.
const tailSize = 8 << 10

func (b *tailBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.data = append(b.data, p...)
	if len(b.data) > 2*tailSize {
		b.data = bytes.Clone(b.data[len(b.data)-tailSize:])
	}
	return len(p), nil
}

func (b *tailBuffer) tail() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.TrimSpace(string(b.data))
}
