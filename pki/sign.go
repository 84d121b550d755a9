package pki

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// minRSABits is the shortest RSA key that is signed: NIST SP 800-131A has
// refused less since 2014. Ours are ECDSA; a user's client may bring RSA.
const minRSABits = 2048

// SignServer signs the certificate of a member's client port: common name
// member, valid for ips, for names and for LeafValidity from now. It may also be used
// as a client's, because etcd's gateway dials its own port with it. Only the public
// key is taken from the request. Errors: fleet.Invalid for a request that is
// damaged or weak, no address, or the peers' name; fleet.Denied when the
// authority is not valid now.
func (a *Authority) SignServer(csrPEM []byte, member string, ips []net.IP, now time.Time, names ...string) ([]byte, error) {
	what := "server certificate of " + member
	if err := a.notPeerName(what, member); err != nil {
		return nil, err
	}
	return a.signMember(what, csrPEM, member, ips, names, now)
}

// SignPeer signs the certificate of a member's peer port: common name PeerName,
// for both ends of the connection, valid for ips, which must hold the address
// that the member dials its peers from, because etcd compares it. Otherwise as
// SignServer.
func (a *Authority) SignPeer(csrPEM []byte, member string, ips []net.IP, now time.Time) ([]byte, error) {
	return a.signMember("peer certificate of "+member, csrPEM, PeerName(a.cluster, a.uid), ips, nil, now)
}

// SignClient signs a client's certificate with common name name, which is also
// the user that etcd sees when its authentication is on. It opens client ports
// only. Errors: fleet.Invalid as of SignServer, or for a validity that is not
// positive; fleet.Denied when the authority is not valid now.
func (a *Authority) SignClient(csrPEM []byte, name string, validity time.Duration, now time.Time) ([]byte, error) {
	what := "client certificate " + name
	if err := a.notPeerName(what, name); err != nil {
		return nil, err
	}
	if validity <= 0 {
		return nil, fleet.Errorf(fleet.Invalid, what, "a validity of %s is not positive", validity)
	}
	return a.sign(what, csrPEM, now, validity, &x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

func (a *Authority) notPeerName(what, name string) error {
	if name == PeerName(a.cluster, a.uid) {
		return fleet.Errorf(fleet.Invalid, what, "only peers may be called %s", name).WithRemedy("choose another name")
	}
	return nil
}

func (a *Authority) signMember(what string, csrPEM []byte, name string, ips []net.IP, names []string, now time.Time) ([]byte, error) {
	if len(ips) == 0 {
		return nil, fleet.Errorf(fleet.Invalid, what, "needs at least one IP address to be valid for")
	}
	for _, ip := range ips {
		if ip.To16() == nil || ip.IsUnspecified() {
			return nil, fleet.Errorf(fleet.Invalid, what, "%q is not the address of a member", ip.String())
		}
	}
	return a.sign(what, csrPEM, now, LeafValidity, &x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		IPAddresses: ips,
		DNSNames:    names,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
}

func (a *Authority) sign(what string, csrPEM []byte, now time.Time, validity time.Duration, leaf *x509.Certificate) ([]byte, error) {
	if err := validName(what, leaf.Subject.CommonName); err != nil {
		return nil, err
	}
	ca := a.signer.cert
	if now.Before(ca.NotBefore) || !now.Before(ca.NotAfter) {
		return nil, fleet.Errorf(fleet.Denied, what, "the %s is valid from %s to %s only",
			a.resource(), ca.NotBefore.Format(time.DateOnly), ca.NotAfter.Format(time.DateOnly)).
			WithRemedy("check this machine's clock")
	}
	public, err := requestedKey(what, csrPEM)
	if err != nil {
		return nil, err
	}
	leaf.NotBefore = later(now.Add(-Backdating), ca.NotBefore)
	leaf.NotAfter = earlier(now.Add(validity), ca.NotAfter)
	der, err := a.signer.certify(leaf, public)
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, what, "could not be signed: %w", err)
	}
	return encodeCertificate(der), nil
}

// certify signs a leaf with what all leaves have in common.
func (i *issuer) certify(leaf *x509.Certificate, public any) ([]byte, error) {
	// No serial number: the library draws one of 160 random bits.
	leaf.KeyUsage = x509.KeyUsageDigitalSignature
	leaf.BasicConstraintsValid = true
	return x509.CreateCertificate(rand.Reader, leaf, i.cert, public, i.key)
}

// requestedKey gives the public key of a request that proves to hold the private one.
func requestedKey(what string, csrPEM []byte) (any, error) {
	block, _ := pem.Decode(csrPEM)
	if block == nil || block.Type != pemRequest {
		return nil, fleet.Errorf(fleet.Invalid, what, "the request is not a PEM block of type %s", pemRequest)
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, what, "the request cannot be read: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fleet.Errorf(fleet.Invalid, what, "the request is not signed with the key that it is for: %w", err)
	}
	if !strong(csr.PublicKey) {
		return nil, fleet.Errorf(fleet.Invalid, what, "the key in the request is too weak").WithRemedy(strongRemedy, minRSABits)
	}
	return csr.PublicKey, nil
}

const strongRemedy = "use ECDSA P-256 or larger, Ed25519, or RSA of at least %d bits"

// strong says whether a public key can be relied on for years.
func strong(public any) bool {
	switch key := public.(type) {
	case *ecdsa.PublicKey:
		return key.Curve != elliptic.P224()
	case ed25519.PublicKey:
		return true
	case *rsa.PublicKey:
		return key.N.BitLen() >= minRSABits
	}
	return false
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
