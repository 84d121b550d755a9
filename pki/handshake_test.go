package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var loopback = []net.IP{net.IPv4(127, 0, 0, 1)}

func authority(t *testing.T) *Authority {
	t.Helper()
	a, err := NewAuthority("orders", "u1", time.Now())
	require.NoError(t, err)
	return a
}

// pool is what a member or client makes of the bundle that it is given.
func pool(a *Authority) *x509.CertPool {
	p := x509.NewCertPool()
	p.AppendCertsFromPEM(a.CertificatePEM())
	return p
}

// clientPort is the TLS of a member's client port: a leaf, and the bundle it trusts.
func clientPort(trusted *Authority, leaf tls.Certificate) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{leaf}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool(trusted)}
}

// peerPort is that of its peer port, with what etcd does for --peer-cert-allowed-cn.
func peerPort(trusted *Authority, leaf tls.Certificate) *tls.Config {
	c := clientPort(trusted, leaf)
	c.VerifyPeerCertificate = func(_ [][]byte, chains [][]*x509.Certificate) error {
		for _, chain := range chains {
			if chain[0].Subject.CommonName == PeerName("orders", "u1") {
				return nil
			}
		}
		return errors.New("client certificate authentication failed")
	}
	return c
}

// asks is the TLS of who dials. It sends its certificate whatever the server asks for.
func asks(trusted *Authority, leaf tls.Certificate) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, RootCAs: pool(trusted),
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &leaf, nil },
	}
}

// client makes a client's certificate for an hour.
func (a *Authority) client(t *testing.T) tls.Certificate {
	t.Helper()
	return leaf(t, func(csr []byte) ([]byte, error) { return a.SignClient(csr, "alice", time.Hour, time.Now()) })
}

// leaf makes a key and has it signed, as a host and the control plane do together.
func leaf(t *testing.T, sign func(csr []byte) ([]byte, error)) tls.Certificate {
	t.Helper()
	key, csr, err := NewKeyAndRequest("whatever the host says")
	require.NoError(t, err)
	cert, err := sign(csr)
	require.NoError(t, err)
	pair, err := tls.X509KeyPair(cert, key)
	require.NoError(t, err)
	return pair
}

func (a *Authority) server(t *testing.T, ips []net.IP, now time.Time) tls.Certificate {
	t.Helper()
	return leaf(t, func(csr []byte) ([]byte, error) { return a.SignServer(csr, "orders-1", ips, now) })
}

func (a *Authority) peer(t *testing.T) tls.Certificate {
	t.Helper()
	return leaf(t, func(csr []byte) ([]byte, error) { return a.SignPeer(csr, "orders-1", loopback, time.Now()) })
}

// handshake opens a real TCP connection, shakes hands on both sides, and moves a
// byte each way. It gives both sides' errors.
func handshake(t *testing.T, server, client *tls.Config) (serverErr, clientErr error) {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", server)
	require.NoError(t, err)
	defer listener.Close()
	done := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			done <- err
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, err = io.CopyN(conn, conn, 1)
		done <- err
	}()
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	conn, err := tls.DialWithDialer(dialer, "tcp", listener.Addr().String(), client)
	if err != nil {
		return <-done, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	// TLS 1.3 tells a client only with the first answer that it was refused.
	_, err = conn.Write([]byte{1})
	if err == nil {
		_, err = io.ReadFull(conn, make([]byte, 1))
	}
	return <-done, err
}

func TestHandshakes(t *testing.T) {
	a, other := authority(t), authority(t)
	now := time.Now()
	client := func(ca *Authority) *tls.Config {
		c, err := ca.ClientTLS("flotilla", now)
		require.NoError(t, err)
		return c
	}
	clientPort := func(cert tls.Certificate) *tls.Config { return clientPort(a, cert) }
	good := a.server(t, loopback, now)
	peerPort := peerPort(a, a.peer(t))
	with := func(c *tls.Config, certs ...tls.Certificate) *tls.Config {
		c = c.Clone()
		c.Certificates = certs
		return c
	}
	foreignClient := asks(a, other.client(t))

	for name, c := range map[string]struct {
		server, client *tls.Config
		want           string // in either side's error; empty: both are content
	}{
		"the control plane at the client port":    {clientPort(good), client(a), ""},
		"etcd's gateway at its own client port":   {clientPort(good), with(client(a), good), ""},
		"a peer at the peer port":                 {peerPort, with(client(a), a.peer(t)), ""},
		"no certificate":                          {clientPort(good), with(client(a)), "didn't provide a certificate"},
		"a client of another authority":           {clientPort(good), foreignClient, "unknown authority"},
		"a server of another authority":           {clientPort(other.server(t, loopback, now)), client(a), "unknown authority"},
		"a client at the peer port":               {peerPort, client(a), "client certificate authentication failed"},
		"a member's server leaf at the peer port": {peerPort, with(client(a), good), "client certificate authentication failed"},
		"a server for another address":            {clientPort(a.server(t, []net.IP{net.IPv4(127, 0, 0, 2)}, now)), client(a), "127.0.0.2, not 127.0.0.1"},
		"a client's certificate as a server's":    {clientPort(client(a).Certificates[0]), client(a), "IP SANs"},
		"TLS 1.1": {&tls.Config{Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, client(a),
			"protocol version not supported"},
	} {
		t.Run(name, func(t *testing.T) {
			serverErr, clientErr := handshake(t, c.server, c.client)
			if c.want == "" {
				require.NoError(t, serverErr)
				require.NoError(t, clientErr)
				return
			}
			require.Error(t, clientErr)
			require.ErrorContains(t, errors.Join(serverErr, clientErr), c.want)
		})
	}
}

func TestExpiredCertificatesAreRefused(t *testing.T) {
	past := time.Now().Add(-2 * LeafValidity)
	a, err := NewAuthority("orders", "u1", past)
	require.NoError(t, err)
	fresh, err := a.ClientTLS("flotilla", time.Now())
	require.NoError(t, err)
	stale, err := a.ClientTLS("flotilla", time.Now().Add(-OwnClientValidity-time.Minute))
	require.NoError(t, err)
	server := func(cert tls.Certificate) *tls.Config { return clientPort(a, cert) }

	_, clientErr := handshake(t, server(a.server(t, loopback, past)), fresh)
	require.ErrorContains(t, clientErr, "expired")

	serverErr, clientErr := handshake(t, server(a.server(t, loopback, time.Now())), stale)
	require.Error(t, clientErr)
	require.ErrorContains(t, serverErr, "expired")
}
