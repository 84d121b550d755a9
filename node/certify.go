package node

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"net"
	"os"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/node/internal/durable"
	"github.com/flotilla-etcd/flotilla/node/service"
)

// Certify stores a member's certificates, after checking that they fit its keys
// and the authority. A running etcd serves the new leaf certificates from its
// next handshake on; the authorities it trusts it reads only when it starts.
// Errors: fleet.NotFound when the member was not prepared; fleet.Invalid for
// certificates that do not fit.
func (n *Node) Certify(ctx context.Context, req CertifyRequest) (*fleet.MemberReport, error) {
	unlock, err := n.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	m, err := n.member(req.Member)
	if err != nil {
		return nil, err
	}
	leaves := []struct{ key, cert, pem string }{
		{serverKey, serverCert, req.ServerCert},
		{peerKey, peerCert, req.PeerCert},
	}
	for _, leaf := range leaves {
		if err := n.checkLeaf(m.Member, leaf.key, []byte(leaf.pem), []byte(req.CA)); err != nil {
			return nil, err
		}
	}
	// The authority goes first: between two of these writes, and after a kill there,
	// a leaf of the old authority is still trusted as long as the bundle holds it.
	old, err := os.ReadFile(n.pkiFile(m.Member, caCert))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, onHost("certificates of "+resourceOf(m.Member), err)
	}
	err = nil
	if !bytes.Equal(old, []byte(req.CA)) {
		// Whatever runs or starts from here on until the end, may have read either.
		m.TrustsSince = new(service.Moment)
		if err := n.writeMember(m); err != nil {
			return nil, err
		}
		err = durable.WriteFile(n.pkiFile(m.Member, caCert), []byte(req.CA), 0o644)
	}
	for _, leaf := range leaves {
		if err == nil {
			err = durable.WriteFile(n.pkiFile(m.Member, leaf.cert), []byte(leaf.pem), 0o644)
		}
	}
	if err != nil {
		return nil, onHost("certificates of "+resourceOf(m.Member), err)
	}
	m.Certified = req.Generation
	if m.TrustsSince == nil || m.TrustsSince.IsZero() {
		now := service.Now()
		m.TrustsSince = &now
	}
	if err := n.writeMember(m); err != nil {
		return nil, err
	}
	return n.reportOn(ctx, m), nil
}

// checkLeaf refuses a certificate that is not for this key, not by this
// authority, not valid now, or not for both ends of a connection.
func (n *Node) checkLeaf(member, keyFile string, certPEM, caPEM []byte) error {
	resource := "certificate for " + keyFile + " of " + resourceOf(member)
	key, err := os.ReadFile(n.pkiFile(member, keyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return fleet.Errorf(fleet.NotFound, resource, "there is no such key on this host").WithRemedy("prepare the member first")
	}
	if err != nil {
		return onHost(resource, err)
	}
	pair, err := tls.X509KeyPair(certPEM, key)
	if err != nil {
		// The library's words are left out: it had the key before it.
		return fleet.Errorf(fleet.Invalid, resource, "it is not a certificate for the key on this host").
			WithRemedy("prepare the member again and sign the requests that it gives")
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(caPEM) {
		return fleet.Errorf(fleet.Invalid, resource, "the authority is not a PEM bundle of certificates")
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		_, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: n.Now(), KeyUsages: []x509.ExtKeyUsage{usage}})
		if err != nil {
			return fleet.Errorf(fleet.Invalid, resource, "%w", err)
		}
	}
	return nil
}

// checkCertified refuses to start a member whose certificates are not there, or
// would be refused by whoever it talks to.
func (n *Node) checkCertified(req StartRequest) error {
	ca, err := os.ReadFile(n.pkiFile(req.Member, caCert))
	for _, leaf := range []struct{ key, cert string }{{serverKey, serverCert}, {peerKey, peerCert}} {
		if err != nil {
			break
		}
		var cert []byte
		if cert, err = os.ReadFile(n.pkiFile(req.Member, leaf.cert)); err != nil {
			break
		}
		if err := n.checkLeaf(req.Member, leaf.key, cert, ca); err != nil {
			return fleet.Errorf(fleet.Conflict, resourceOf(req.Member), "it is not certified: %w", err).WithRemedy("certify it again")
		}
		x, _ := parseLeaf(cert)
		if ip := net.ParseIP(req.Address); x.VerifyHostname(ip.String()) != nil {
			return fleet.Errorf(fleet.Conflict, resourceOf(req.Member), "its %s is for %s, not for %s", leaf.cert, x.IPAddresses, ip).
				WithRemedy("certify it for that address")
		}
		if leaf.cert == peerCert && req.PeerCN != "" && x.Subject.CommonName != req.PeerCN {
			return fleet.Errorf(fleet.Conflict, resourceOf(req.Member), "its peer certificate is for %q, but peers must be %q",
				x.Subject.CommonName, req.PeerCN).WithRemedy("certify it again")
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fleet.Errorf(fleet.Conflict, resourceOf(req.Member), "it is not certified").WithRemedy("certify it first")
	}
	return onHost(resourceOf(req.Member), err)
}

// parseLeaf reads the first certificate of a PEM text.
func parseLeaf(certPEM []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(certPEM)
	if block == nil {
		return nil, errors.New("not a PEM block")
	}
	return x509.ParseCertificate(block.Bytes)
}
