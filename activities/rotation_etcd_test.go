package activities

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/pki"
	"github.com/flotilla-etcd/flotilla/plan"
)

// roll runs a change of certificates to its end.
func (s *stand) roll(change fleet.CertificateChange) {
	s.t.Helper()
	s.begin(change)
	s.run(50)
}

func (s *stand) begin(change fleet.CertificateChange) {
	spec := s.op.Spec
	s.op.ID, s.op.Generation, s.op.Kind, s.op.Before = string(change), string(change), fleet.RollCluster, &spec
	s.op.Options = fleet.Options{Certificates: change}
}

// user is a client as `flotilla env` makes one, with what it was given at that time.
type user struct {
	s         *stand
	tls       *tls.Config
	endpoints []fleet.Endpoint
}

func (s *stand) newUser(validity time.Duration) user {
	s.t.Helper()
	key, csr, err := pki.NewKeyAndRequest("alice")
	require.NoError(s.t, err)
	var answer fleet.CertificateReply
	_, err = as(s.t, func(ctx context.Context) error {
		answer, err = (&Authorities{s.Region}).issue(ctx, fleet.CertificateRequest{
			Cluster: "orders", UID: "uid", CSR: string(csr), Name: "alice", Validity: fleet.Duration(validity),
		})
		return err
	})
	require.NoError(s.t, err)
	pair, err := tls.X509KeyPair([]byte(answer.Certificate), key)
	require.NoError(s.t, err)
	roots := x509.NewCertPool()
	require.True(s.t, roots.AppendCertsFromPEM([]byte(answer.CA)))
	return user{s, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{pair}}, answer.Endpoints}
}

// with gives a client that trusts what u trusts and shows what other shows.
func (u user) with(other user) user {
	config := u.tls.Clone()
	// Shown whatever the server asks for.
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &other.tls.Certificates[0], nil }
	u.tls = config
	return u
}

// put writes through one member after another, each over a connection of its own.
func (u user) put() error {
	for _, e := range u.endpoints {
		client, err := clientv3.New(clientv3.Config{Endpoints: []string{e.ClientURL()}, TLS: u.tls, Logger: zap.NewNop()})
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(u.s.t.Context(), 10*time.Second)
		_, err = client.Put(ctx, "by/"+e.Member, time.Now().String())
		cancel()
		_ = client.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// handshake dials each member and says why it failed.
func (u user) handshake() error {
	for _, e := range u.endpoints {
		conn, err := (&tls.Dialer{Config: u.tls}).DialContext(u.s.t.Context(), "tcp", net.JoinHostPort(e.Address, strconv.Itoa(e.ClientPort)))
		if err != nil {
			return err
		}
		// TLS 1.3 tells a client only with the first answer that it was refused.
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, err = conn.Write([]byte("GET /health HTTP/1.0\r\n\r\n"))
		if err == nil {
			_, err = conn.Read(make([]byte, 1))
		}
		_ = conn.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// peerIssuers gives who signed what members serve at their peer ports.
func (s *stand) peerIssuers() []string {
	s.t.Helper()
	authority, err := s.authority(s.t.Context(), "orders", "uid")
	require.NoError(s.t, err)
	key, csr, err := pki.NewKeyAndRequest("a peer")
	require.NoError(s.t, err)
	cert, err := authority.SignPeer(csr, "a peer", []net.IP{net.IPv4(127, 0, 0, 1)}, time.Now())
	require.NoError(s.t, err)
	pair, err := tls.X509KeyPair(cert, key)
	require.NoError(s.t, err)
	roots := x509.NewCertPool()
	require.True(s.t, roots.AppendCertsFromPEM(authority.CertificatePEM()))
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{pair}}
	var issuers []string
	for _, h := range s.observed().Hosts {
		e := plan.EndpointOf(h.Host)
		conn, err := (&tls.Dialer{Config: config}).DialContext(s.t.Context(), "tcp", net.JoinHostPort(e.Address, strconv.Itoa(e.PeerPort)))
		require.NoError(s.t, err)
		chain := conn.(*tls.Conn).ConnectionState().VerifiedChains[0]
		issuers = append(issuers, pki.Fingerprint(chain[len(chain)-1]))
		_ = conn.Close()
	}
	return issuers
}

// TestAuthorityOfARunningClusterIsReplaced takes three real members through a
// replacement, with clients that keep up with it and some that do not.
func TestAuthorityOfARunningClusterIsReplaced(t *testing.T) {
	for _, minor := range []string{"3.5", "3.7"} {
		t.Run(minor, func(t *testing.T) {
			s := created(t, 3, func(op *fleet.Operation) { op.Spec.Etcd.Version = newest(t, "../bin/releases.yaml", minor) })
			s.replaceAuthority()
		})
	}
}

func (s *stand) replaceAuthority() {
	t := s.t
	pids := map[string]int{}
	// every checks what all members report, and remembers their processes.
	every := func(check func(m *fleet.MemberReport, before int, trust fleet.Trust)) {
		t.Helper()
		obs := s.observed()
		require.True(t, obs.Quorum)
		require.Len(t, obs.Hosts, 3)
		for _, h := range obs.Hosts {
			m := h.Report.Find(h.Member())
			require.NotNil(t, m)
			require.True(t, m.Ready, m.NotReady)
			require.False(t, m.TrustIsOld)
			check(m, pids[m.Name], obs.Trust)
			pids[m.Name] = m.PID
		}
	}
	var first string
	every(func(m *fleet.MemberReport, _ int, trust fleet.Trust) {
		first = m.Issuer
		require.Equal(t, fleet.Trust{Signer: first}, trust)
	})
	old := s.newUser(time.Hour)
	require.NoError(t, old.put())

	s.roll(fleet.TrustNewCA)
	every(func(m *fleet.MemberReport, before int, trust fleet.Trust) {
		require.Equal(t, []string{first, trust.Other}, m.Trusts)
		require.Equal(t, first, m.Issuer)
		require.NotEqual(t, before, m.PID, "etcd reads whom it trusts when it starts")
	})
	require.NoError(t, old.put(), "who knows the old authority only")
	kept := s.newUser(time.Hour)
	require.NoError(t, kept.put())

	s.roll(fleet.UseNewCA)
	every(func(m *fleet.MemberReport, before int, trust fleet.Trust) {
		require.Equal(t, trust.Signer, m.Issuer)
		require.NotEqual(t, first, m.Issuer)
		require.Equal(t, before, m.PID, "certificates cost no restart")
	})
	signer := s.observed().Trust.Signer
	require.Equal(t, []string{signer, signer, signer}, s.peerIssuers())
	current := s.newUser(time.Hour)
	require.NoError(t, kept.put(), "a certificate of the old one is still good")
	require.NoError(t, current.put())
	var unknown x509.UnknownAuthorityError
	require.ErrorAs(t, old.handshake(), &unknown, "members serve certificates of the new one")

	s.begin(fleet.DropOldCA)
	look := s.look(fleet.Memory{})
	require.Len(t, look.Decision.Wave, 1)
	require.Equal(t, fleet.RetireAuthority, look.Decision.Wave[0].Kind)
	_, err := s.do(look.Decision.Wave[0])
	require.ErrorContains(t, err, "clients have certificates of "+first, "they are good for another hour")
	require.NoError(t, kept.put(), "a refusal changes nothing")
	records, err := s.Store.List(t.Context(), recordsPrefix("orders", "uid", first))
	require.NoError(t, err)
	require.NotEmpty(t, records)
	for _, o := range records { // as when the hour is over
		require.NoError(t, s.Store.Delete(t.Context(), o.Key))
	}
	s.roll(fleet.DropOldCA)
	every(func(m *fleet.MemberReport, before int, trust fleet.Trust) {
		require.Equal(t, fleet.Trust{Signer: signer}, trust)
		require.Equal(t, []string{signer}, m.Trusts)
		require.Equal(t, signer, m.Issuer)
		require.NotEqual(t, before, m.PID)
	})
	require.NoError(t, current.put())
	require.NoError(t, s.newUser(time.Hour).put())
	require.ErrorContains(t, current.with(kept).handshake(), "unknown certificate authority", "nobody takes the old one's any more")
}
