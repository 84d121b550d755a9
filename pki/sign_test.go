package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
)

func parse(t *testing.T, certPEM []byte) *x509.Certificate {
	t.Helper()
	block, rest := pem.Decode(certPEM)
	require.NotNil(t, block)
	require.Empty(t, rest)
	cert, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	return cert
}

func TestAuthorityCertificate(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	a, err := NewAuthority("orders", "u1", now)
	require.NoError(t, err)
	ca := parse(t, a.CertificatePEM())
	require.Equal(t, "flotilla orders u1", ca.Subject.CommonName)
	require.True(t, ca.IsCA)
	require.True(t, ca.MaxPathLenZero)
	require.Equal(t, now.Add(-Backdating), ca.NotBefore)
	require.Equal(t, now.Add(AuthorityValidity), ca.NotAfter)
	require.Equal(t, elliptic.P256(), ca.PublicKey.(*ecdsa.PublicKey).Curve)

	_, err = NewAuthority("", "u1", now)
	require.True(t, fleet.Is(err, fleet.Invalid), "%v", err)
}

func TestOnlyThePublicKeyOfARequestCounts(t *testing.T) {
	a, now := authority(t), time.Now().UTC().Truncate(time.Second)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:     pkix.Name{CommonName: PeerName("orders", "u1"), Organization: []string{"root"}},
		DNSNames:    []string{"evil.example"},
		IPAddresses: []net.IP{net.IPv4(10, 0, 0, 1)},
	}, key)
	require.NoError(t, err)
	csr := pem.EncodeToMemory(&pem.Block{Type: pemRequest, Bytes: der})

	certPEM, err := a.SignServer(csr, "orders-1", loopback, now)
	require.NoError(t, err)
	cert := parse(t, certPEM)
	require.Equal(t, "CN=orders-1", cert.Subject.String())
	require.Empty(t, cert.DNSNames)
	require.Len(t, cert.IPAddresses, 1)
	require.True(t, cert.IPAddresses[0].Equal(loopback[0]))
	require.Equal(t, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, cert.ExtKeyUsage)
	require.Equal(t, now.Add(LeafValidity), cert.NotAfter)
	require.False(t, cert.IsCA)
	require.True(t, key.PublicKey.Equal(cert.PublicKey))

	certPEM, err = a.SignClient(csr, "alice", time.Hour, now)
	require.NoError(t, err)
	cert = parse(t, certPEM)
	require.Equal(t, "CN=alice", cert.Subject.String())
	require.Equal(t, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, cert.ExtKeyUsage)
	require.Equal(t, now.Add(time.Hour), cert.NotAfter)
	require.Empty(t, cert.IPAddresses)

	certPEM, err = a.SignPeer(csr, "orders-1", loopback, now)
	require.NoError(t, err)
	require.Equal(t, "CN="+PeerName("orders", "u1"), parse(t, certPEM).Subject.String())
}

func TestSigningRefuses(t *testing.T) {
	a, now := authority(t), time.Now()
	_, csr, err := NewKeyAndRequest("x")
	require.NoError(t, err)
	block, _ := pem.Decode(csr)
	tampered := append([]byte(nil), block.Bytes...)
	tampered[len(tampered)-1] ^= 1
	weak, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	require.NoError(t, err)
	weakDER, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, weak)
	require.NoError(t, err)
	request := func(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: pemRequest, Bytes: der}) }
	peerName := PeerName("orders", "u1")

	server := func(csr []byte, name string, ips []net.IP, now time.Time) error {
		_, err := a.SignServer(csr, name, ips, now)
		return err
	}
	client := func(name string, validity time.Duration) error {
		_, err := a.SignClient(csr, name, validity, now)
		return err
	}
	for name, c := range map[string]struct {
		err  error
		kind fleet.Kind
		want string
	}{
		"no PEM":           {server([]byte("x"), "m", loopback, now), fleet.Invalid, "not a PEM block"},
		"a certificate":    {server(a.CertificatePEM(), "m", loopback, now), fleet.Invalid, "not a PEM block"},
		"tampered request": {server(request(tampered), "m", loopback, now), fleet.Invalid, "not signed with the key"},
		"weak key":         {server(request(weakDER), "m", loopback, now), fleet.Invalid, "too weak"},
		"no address":       {server(csr, "m", nil, now), fleet.Invalid, "at least one IP address"},
		"any address":      {server(csr, "m", []net.IP{net.IPv4zero}, now), fleet.Invalid, "not the address of a member"},
		"no name":          {server(csr, "", loopback, now), fleet.Invalid, "needs a name"},
		"line break":       {server(csr, "a\nb", loopback, now), fleet.Invalid, "control characters"},
		"server as peer":   {server(csr, peerName, loopback, now), fleet.Invalid, "only peers may be called"},
		"client as peer":   {client(peerName, time.Hour), fleet.Invalid, "only peers may be called"},
		"no validity":      {client("alice", 0), fleet.Invalid, "not positive"},
		"ended authority":  {server(csr, "m", loopback, now.Add(AuthorityValidity)), fleet.Denied, "valid from"},
		"clock far behind": {server(csr, "m", loopback, now.Add(-time.Hour)), fleet.Denied, "check this machine's clock"},
	} {
		t.Run(name, func(t *testing.T) {
			require.ErrorContains(t, c.err, c.want)
			require.Equal(t, c.kind, fleet.KindOf(c.err))
		})
	}
}

func TestLeavesDoNotOutliveTheirAuthority(t *testing.T) {
	a := authority(t)
	_, csr, err := NewKeyAndRequest("x")
	require.NoError(t, err)
	certPEM, err := a.SignServer(csr, "m", loopback, a.signer.cert.NotAfter.Add(-time.Hour))
	require.NoError(t, err)
	require.Equal(t, a.signer.cert.NotAfter, parse(t, certPEM).NotAfter)
}

func TestRequestForAnExistingKey(t *testing.T) {
	key, first, err := NewKeyAndRequest("m")
	require.NoError(t, err)
	second, err := RequestFor(key, "m")
	require.NoError(t, err)
	a, err := requestedKey("m", first)
	require.NoError(t, err)
	b, err := requestedKey("m", second)
	require.NoError(t, err)
	require.Equal(t, a, b)

	_, err = RequestFor(first, "m")
	require.True(t, fleet.Is(err, fleet.Lost), "%v", err)
}
