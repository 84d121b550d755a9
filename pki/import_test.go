package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// foreignRoot is a root as kubeadm, cfssl or OpenSSL make them.
func foreignRoot(now time.Time) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "etcd-ca"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour).Truncate(time.Second),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, IsCA: true, BasicConstraintsValid: true,
	}
}

func selfSigned(t *testing.T, template *x509.Certificate, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return encodeCertificate(der)
}

func encodeKey(t *testing.T, kind string, key any) []byte {
	t.Helper()
	var der []byte
	var err error
	switch kind {
	case pemPrivateKey:
		der, err = x509.MarshalPKCS8PrivateKey(key)
	case "EC PRIVATE KEY":
		der, err = x509.MarshalECPrivateKey(key.(*ecdsa.PrivateKey))
	case "RSA PRIVATE KEY":
		der = x509.MarshalPKCS1PrivateKey(key.(*rsa.PrivateKey))
	}
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func ecdsaKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	require.NoError(t, err)
	return key
}

func rsaKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	return key
}

func TestImportedAuthority(t *testing.T) {
	now := time.Now()
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	p256, rsa2048 := ecdsaKey(t, elliptic.P256()), rsaKey(t)
	// openssl ecparam -genkey writes the curve's parameters before the key.
	parameters := pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7}})
	k := fleetKey(t)
	for name, c := range map[string]struct {
		key    crypto.Signer
		keyPEM []byte
	}{
		"ECDSA P-256 by OpenSSL":  {p256, append(parameters, encodeKey(t, "EC PRIVATE KEY", p256)...)},
		"ECDSA P-256 in PKCS #8":  {p256, encodeKey(t, pemPrivateKey, p256)},
		"RSA by kubeadm":          {rsa2048, encodeKey(t, "RSA PRIVATE KEY", rsa2048)},
		"RSA in PKCS #8":          {rsa2048, encodeKey(t, pemPrivateKey, rsa2048)},
		"Ed25519":                 {edwards, encodeKey(t, pemPrivateKey, edwards)},
		"certificate in the same": {p256, append(selfSigned(t, foreignRoot(now), p256), encodeKey(t, pemPrivateKey, p256)...)},
	} {
		t.Run(name, func(t *testing.T) {
			certPEM := selfSigned(t, foreignRoot(now), c.key)
			a, err := ImportAuthority(certPEM, c.keyPEM, "orders", "u1", now)
			require.NoError(t, err)
			require.Equal(t, string(certPEM), string(a.CertificatePEM()))

			sealed, err := a.Seal(k)
			require.NoError(t, err)
			a, err = OpenAuthority(sealed, k)
			require.NoError(t, err, "it does not say itself whose it is")
			require.Equal(t, "orders u1", a.cluster+" "+a.uid)
			require.NotContains(t, fmt.Sprintf("%v %+v %#v %x", a, *a, struct{ a Authority }{*a}, a), "PrivateKey{")

			server, peer := clientPort(a, a.server(t, loopback, now)), peerPort(a, a.peer(t))
			for what, pair := range map[string][2]*tls.Config{
				"client": {server, asks(a, a.client(t))}, "peer": {peer, asks(a, a.peer(t))},
			} {
				serverErr, clientErr := handshake(t, pair[0], pair[1])
				require.NoError(t, errors.Join(serverErr, clientErr), what)
			}
			serverErr, _ := handshake(t, peer, asks(a, a.client(t)))
			require.ErrorContains(t, serverErr, "client certificate authentication failed", "a client is no peer")

			extended, err := a.Extend(now)
			require.NoError(t, err)
			switched, err := extended.Switch()
			require.NoError(t, err)
			require.Equal(t, a.signer.cert.NotAfter.UTC(), switched.Trust().OtherUntil, "nobody knows what it has signed")
			require.Equal(t, PeerName("orders", "u1"), switched.peer(t).Leaf.Subject.CommonName)
			serverErr, clientErr := handshake(t, clientPort(extended, a.server(t, loopback, now)), asks(switched, switched.client(t)))
			require.NoError(t, errors.Join(serverErr, clientErr))

			sealed, err = SealAuthority(k.Recipient(), certPEM, c.keyPEM, now)
			require.NoError(t, err)
			sent, err := OpenImported(sealed, k, "orders", "u1", now)
			require.NoError(t, err)
			require.Equal(t, a.Trust(), sent.Trust())
		})
	}
}

func TestImportRefuses(t *testing.T) {
	now := time.Now()
	key := ecdsaKey(t, elliptic.P256())
	good, keyPEM := selfSigned(t, foreignRoot(now), key), encodeKey(t, pemPrivateKey, key)
	changed := func(change func(c *x509.Certificate)) []byte {
		c := foreignRoot(now)
		change(c)
		return selfSigned(t, c, key)
	}
	root := parse(t, good)
	intermediate := foreignRoot(now)
	intermediate.Subject.CommonName = "etcd-ca-2"
	der, err := x509.CreateCertificate(rand.Reader, intermediate, root, key.Public(), key)
	require.NoError(t, err)
	weak := ecdsaKey(t, elliptic.P224())
	t.Setenv("GODEBUG", "rsa1024min=0") // or Go itself makes no such key
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	block := func(kind string, headers map[string]string) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Headers: headers, Bytes: []byte("x")})
	}
	_, network, err := net.ParseCIDR("10.0.0.0/8")
	require.NoError(t, err)

	for name, c := range map[string]struct {
		cert, key []byte
		want      string
	}{
		"no certificate":          {nil, keyPEM, "holds 0 certificates"},
		"two certificates":        {slices.Concat(good, good), keyPEM, "holds 2 certificates"},
		"damaged certificate":     {block(pemCertificate, nil), keyPEM, "cannot be read"},
		"a leaf":                  {changed(func(c *x509.Certificate) { c.IsCA = false }), keyPEM, "is no authority"},
		"may not sign":            {changed(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature }), keyPEM, "may not sign certificates"},
		"an intermediate one":     {encodeCertificate(der), keyPEM, "is not a root: CN=etcd-ca has signed it"},
		"over":                    {changed(func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) }), keyPEM, "is valid from"},
		"not yet":                 {changed(func(c *x509.Certificate) { c.NotBefore = now.Add(time.Hour) }), keyPEM, "is valid from"},
		"another key":             {good, encodeKey(t, pemPrivateKey, ecdsaKey(t, elliptic.P256())), "not the one of the certificate"},
		"no key":                  {good, good, "no private key in PEM"},
		"damaged key":             {good, block("EC PRIVATE KEY", nil), "damaged"},
		"encrypted key":           {good, block("ENCRYPTED PRIVATE KEY", nil), "passphrase"},
		"key encrypted as of old": {good, block("RSA PRIVATE KEY", map[string]string{"Proc-Type": "4,ENCRYPTED"}), "passphrase"},
		"weak ECDSA":              {selfSigned(t, foreignRoot(now), weak), encodeKey(t, pemPrivateKey, weak), "too weak"},
		"weak RSA":                {selfSigned(t, foreignRoot(now), small), encodeKey(t, "RSA PRIVATE KEY", small), "too weak"},
		"for servers only": {changed(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), keyPEM,
			"not valid"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ImportAuthority(c.cert, c.key, "orders", "u1", now)
			require.ErrorContains(t, err, c.want)
			require.Equal(t, fleet.Invalid, fleet.KindOf(err))
			_, sealErr := SealAuthority(fleetKey(t).Recipient(), c.cert, c.key, now)
			require.EqualError(t, sealErr, err.Error(), "it is refused before it is sent")
			// A line of base64 from the middle of the key.
			if lines := strings.Split(string(c.key), "\n"); len(lines[min(1, len(lines)-1)]) > 20 {
				require.NotContains(t, fmt.Sprintf("%+v %#v", err, err), lines[1][:20])
			}
		})
	}
	constrained := changed(func(c *x509.Certificate) { c.PermittedIPRanges = []*net.IPNet{network} })
	_, err = ImportAuthority(constrained, keyPEM, "orders", "u1", now)
	require.NoError(t, err, "members may well be within its constraints")
	for _, names := range [][2]string{{"", "u1"}, {"orders", ""}, {"or\nders", "u1"}, {"orders", "u\n1"}} {
		_, err = ImportAuthority(good, keyPEM, names[0], names[1], now)
		require.Equal(t, fleet.Invalid, fleet.KindOf(err), "%q: %v", names, err)
	}
}

func TestImportedAuthorityOfAnotherFleet(t *testing.T) {
	now, k := time.Now(), fleetKey(t)
	key := ecdsaKey(t, elliptic.P256())
	certPEM, keyPEM := selfSigned(t, foreignRoot(now), key), encodeKey(t, pemPrivateKey, key)
	sealed, err := SealAuthority(fleetKey(t).Recipient(), certPEM, keyPEM, now)
	require.NoError(t, err)
	_, err = OpenImported(sealed, k, "orders", "u1", now)
	require.Equal(t, fleet.Denied, fleet.KindOf(err), "%v", err)
	_, err = OpenImported([]byte("not sealed"), k, "orders", "u1", now)
	require.Equal(t, fleet.Lost, fleet.KindOf(err), "%v", err)
	_, err = SealAuthority("nobody", certPEM, keyPEM, now)
	require.Equal(t, fleet.Invalid, fleet.KindOf(err), "%v", err)
}
