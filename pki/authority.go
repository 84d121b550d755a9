package pki

import (
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

// Authority is the certificate authority of one incarnation of one cluster: the
// one that signs and, while it is being replaced, a second one that is trusted as
// well (replace.go). It holds private keys: it prints as its name only, and leaves
// a process only sealed. It never changes, and is safe for concurrent use.
type Authority struct {
	cluster, uid string
	// Pointers, because fmt does not follow those: keys are inside.
	signer *issuer
	other  *issuer // nil unless authorities are being replaced
	// switched says that other is the one that signed before, not the next one.
	switched bool
}

// issuer is a certificate that signs others, and its key.
type issuer struct {
	cert *x509.Certificate
	key  crypto.Signer
	// clientsUntil is when the last of those client certificates ends that it signed
	// without a record: when it began itself, if there are none; zero when nobody can tell.
	clientsUntil time.Time
}

// NewAuthority makes the authority of a cluster, valid for AuthorityValidity
// from now. It signs leaves only (path length 0). Errors: fleet.Invalid without
// a cluster or a UID.
func NewAuthority(cluster, uid string, now time.Time) (*Authority, error) {
	if err := validCluster(cluster, uid); err != nil {
		return nil, err
	}
	signer, err := newIssuer(cluster, uid, fmt.Sprintf("flotilla %s %s", cluster, uid), now)
	if err != nil {
		return nil, err
	}
	return &Authority{cluster: cluster, uid: uid, signer: signer}, nil
}

func validCluster(cluster, uid string) error {
	const resource = "certificate authority"
	if cluster == "" || uid == "" {
		return fleet.Errorf(fleet.Invalid, resource, "needs the name and the UID of its cluster")
	}
	if err := validName(resource, cluster); err != nil {
		return err
	}
	return validName(resource, uid)
}

func newIssuer(cluster, uid, commonName string, now time.Time) (*issuer, error) {
	resource := authorityResource(cluster)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fleet.Errorf(fleet.Unavailable, resource, "no key could be made: %w", err)
	}
	// Cluster and UID also stand apart, so that nobody has to take the common
	// name to pieces.
	template := &x509.Certificate{
		Subject: pkix.Name{
			CommonName:         commonName,
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
	return &issuer{cert: cert, key: key, clientsUntil: cert.NotBefore}, nil
}

func authorityResource(cluster string) string { return "certificate authority of " + cluster }

func (a *Authority) resource() string { return authorityResource(a.cluster) }

// trusted gives what is trusted, older first: then a switch does not change a
// byte of the bundle, and nobody takes it for another one.
func (a *Authority) trusted() []*issuer {
	switch {
	case a.other == nil:
		return []*issuer{a.signer}
	case a.switched:
		return []*issuer{a.other, a.signer}
	default:
		return []*issuer{a.signer, a.other}
	}
}

// CertificatePEM gives what members and clients trust: the authority's certificate,
// or both while it is being replaced.
func (a *Authority) CertificatePEM() []byte {
	var bundle []byte
	for _, i := range a.trusted() {
		bundle = append(bundle, encodeCertificate(i.cert.Raw)...)
	}
	return bundle
}

// ValidUntil is when the one that signs ends: nothing it signs is valid for longer.
func (a *Authority) ValidUntil() time.Time { return a.signer.cert.NotAfter }

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
	for _, i := range a.trusted() {
		roots.AddCert(i.cert)
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		RootCAs:      roots,
		Certificates: []tls.Certificate{pair},
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
