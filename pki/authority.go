package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// The types of PEM blocks that are read and written.
const (
	pemCertificate = "CERTIFICATE"
	pemRequest     = "CERTIFICATE REQUEST"
	pemPrivateKey  = "PRIVATE KEY" // PKCS #8
)

// Authority is the certificate authority of one incarnation of one cluster. It
// holds the private key: it prints as its name only, and leaves a process only
// sealed. It is safe for concurrent use.
type Authority struct {
	cluster, uid string
	cert         *x509.Certificate
	key          crypto.Signer // always a pointer inside: fmt does not follow those
}

// NewAuthority makes the authority of a cluster, valid for AuthorityValidity
// from now. It signs leaves only (path length 0). Errors: fleet.Invalid without
// a cluster or a UID.
func NewAuthority(cluster, uid string, now time.Time) (*Authority, error) {
	if cluster == "" || uid == "" {
		return nil, fleet.Errorf(fleet.Invalid, "certificate authority", "needs the name and the UID of its cluster")
	}
	resource := authorityResource(cluster)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fleet.Errorf(fleet.Unavailable, resource, "no key could be made: %w", err)
	}
	// Cluster and UID also stand apart, so that nobody has to take the common
	// name to pieces.
	template := &x509.Certificate{
		Subject: pkix.Name{
			CommonName:         fmt.Sprintf("flotilla %s %s", cluster, uid),
			Organization:       []string{cluster},
			OrganizationalUnit: []string{uid},
		},
		NotBefore:             now.Add(-Backdating),
		NotAfter:              now.Add(AuthorityValidity),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, resource, "its certificate could not be made: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, resource, "its certificate could not be made: %w", err)
	}
	return &Authority{cluster: cluster, uid: uid, cert: cert, key: key}, nil
}

func authorityResource(cluster string) string { return "certificate authority of " + cluster }

func (a *Authority) resource() string { return authorityResource(a.cluster) }

// CertificatePEM gives the authority's certificate: what members and clients trust.
func (a *Authority) CertificatePEM() []byte { return encodeCertificate(a.cert.Raw) }

// Format prints the authority's name, whatever the verb.
func (a Authority) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, authorityResource(a.cluster))
}

// ClientTLS gives what the control plane dials members with: a client
// certificate in memory for name, valid for OwnClientValidity, TLS 1.2 or
// later, and trust in this authority only. Errors as of SignClient.
func (a *Authority) ClientTLS(name string, now time.Time) (*tls.Config, error) {
	keyPEM, csrPEM, err := NewKeyAndRequest(name)
	if err != nil {
		return nil, err
	}
	certPEM, err := a.SignClient(csrPEM, name, OwnClientValidity, now)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "client certificate "+name, "does not fit its key")
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		RootCAs:      roots,
		Certificates: []tls.Certificate{pair},
	}, nil
}

// Seal gives the authority, with its private key, sealed with the fleet's key.
func (a *Authority) Seal(k *FleetKey) ([]byte, error) {
	key, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, a.resource(), "its key could not be encoded")
	}
	var sealed bytes.Buffer
	w, err := k.Seal(&sealed)
	if err != nil {
		return nil, err
	}
	for _, block := range []*pem.Block{
		{Type: pemCertificate, Bytes: a.cert.Raw},
		{Type: pemPrivateKey, Bytes: key},
	} {
		if err := pem.Encode(w, block); err != nil {
			return nil, fleet.Errorf(fleet.Unavailable, a.resource(), "could not be sealed: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fleet.Errorf(fleet.Unavailable, a.resource(), "could not be sealed: %w", err)
	}
	return sealed.Bytes(), nil
}

// OpenAuthority gives back what Seal sealed. Errors: fleet.Denied when it was
// sealed with another key, fleet.Lost when it is damaged or is no authority.
func OpenAuthority(sealed []byte, k *FleetKey) (*Authority, error) {
	const resource = "sealed certificate authority"
	r, err := k.Open(bytes.NewReader(sealed))
	if err != nil {
		return nil, about(err, resource)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, about(err, resource)
	}
	// From here on errors never wrap what parsers say: they had the key before them.
	wrong := fleet.Errorf(fleet.Lost, resource, "it was opened, but does not hold an authority").
		WithRemedy("restore it from a copy")
	certBlock, rest := pem.Decode(text)
	keyBlock, _ := pem.Decode(rest)
	if certBlock == nil || keyBlock == nil || certBlock.Type != pemCertificate || keyBlock.Type != pemPrivateKey {
		return nil, wrong
	}
	cert, err := x509.ParseCertificate(certBlock.Bytes)
	if err != nil || !cert.IsCA || len(cert.Subject.Organization) != 1 || len(cert.Subject.OrganizationalUnit) != 1 {
		return nil, wrong
	}
	parsed, err := x509.ParsePKCS8PrivateKey(keyBlock.Bytes)
	if err != nil {
		return nil, wrong
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(cert.PublicKey) {
		return nil, wrong
	}
	return &Authority{
		cluster: cert.Subject.Organization[0],
		uid:     cert.Subject.OrganizationalUnit[0],
		cert:    cert,
		key:     key,
	}, nil
}

func encodeCertificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: der})
}

// validName refuses what cannot be, or should not be, a common name.
func validName(what, name string) error {
	switch {
	case name == "":
		return fleet.Errorf(fleet.Invalid, what, "needs a name")
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fleet.Errorf(fleet.Invalid, what, "the name %q has control characters", name)
	}
	return nil
}
