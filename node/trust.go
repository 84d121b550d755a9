package node

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/node/service"
	"github.com/flotilla-etcd/flotilla/pki"
)

// trust fills in what a report says of a member's certificates: which authorities
// it trusts, which one signed them, until when they are good.
func (n *Node) trust(m member, s service.Status, r *fleet.MemberReport) {
	r.Certified = m.Certified
	// etcd reads the bundle when it starts. A process that began in the same tick of
	// the clock is taken for older: at worst it is restarted once more.
	since := m.TrustsSince
	r.TrustIsOld = s.Running && since != nil &&
		(since.IsZero() || since.Boot == s.Began.Boot && since.Until(s.Began) == 0)
	text, err := os.ReadFile(n.pkiFile(m.Member, caCert))
	if err != nil {
		return
	}
	authorities := certificatesIn(text)
	for _, ca := range authorities {
		r.Trusts = append(r.Trusts, pki.Fingerprint(ca))
	}
	var until time.Time
	var issuers []string
	for _, file := range []string{serverCert, peerCert} {
		text, err := os.ReadFile(n.pkiFile(m.Member, file))
		if err != nil {
			return
		}
		leaf, err := parseLeaf(text)
		if err != nil {
			return
		}
		if until.IsZero() || leaf.NotAfter.Before(until) {
			until = leaf.NotAfter
		}
		issuer := ""
		for _, ca := range authorities {
			if leaf.CheckSignatureFrom(ca) == nil {
				issuer = pki.Fingerprint(ca)
			}
		}
		issuers = append(issuers, issuer)
	}
	r.CertifiedUntil = until
	// They differ after a certify that was killed half way: then there is no one issuer.
	if issuers[0] == issuers[1] {
		r.Issuer = issuers[0]
	}
}

// certificatesIn reads a PEM bundle; what is in it besides certificates is skipped.
func certificatesIn(bundle []byte) []*x509.Certificate {
	var all []*x509.Certificate
	for {
		var block *pem.Block
		if block, bundle = pem.Decode(bundle); block == nil {
			return all
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == "CERTIFICATE" {
			all = append(all, cert)
		}
	}
}
