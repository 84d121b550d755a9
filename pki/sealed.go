package pki

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"io"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// What a sealed authority holds is PEM: the certificate that signs and its key,
// then the other certificate and its key, if there is one. What certificates do
// not say of themselves stands in the headers of their blocks. Those that were
// sealed before authorities could be replaced have no headers.
const (
	headerCluster      = "Cluster"
	headerUID          = "Uid"
	headerClientsUntil = "Clients-Until" // RFC 3339; absent when unknown
	headerRole         = "Role"          // of the other one
)

// The roles of the other one.
const (
	roleNext   = "next"
	roleFormer = "former"
)

// Seal gives the authority, with its private keys, sealed with the fleet's key.
func (a *Authority) Seal(k *FleetKey) ([]byte, error) {
	blocks, err := a.signer.blocks(map[string]string{headerCluster: a.cluster, headerUID: a.uid})
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, a.resource(), "its key could not be encoded")
	}
	if a.other != nil {
		role := roleNext
		if a.switched {
			role = roleFormer
		}
		others, err := a.other.blocks(map[string]string{headerRole: role})
		if err != nil {
			return nil, fleet.Errorf(fleet.Invalid, a.resource(), "its other key could not be encoded")
		}
		blocks = append(blocks, others...)
	}
	return sealBlocks(a.resource(), k.Seal, blocks)
}

func sealBlocks(resource string, seal func(io.Writer) (io.WriteCloser, error), blocks []*pem.Block) ([]byte, error) {
	var sealed bytes.Buffer
	w, err := seal(&sealed)
	if err != nil {
		return nil, err
	}
	for _, block := range blocks {
		if err := pem.Encode(w, block); err != nil {
			return nil, fleet.Errorf(fleet.Unavailable, resource, "could not be sealed: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fleet.Errorf(fleet.Unavailable, resource, "could not be sealed: %w", err)
	}
	return sealed.Bytes(), nil
}

func (i *issuer) blocks(headers map[string]string) ([]*pem.Block, error) {
	key, err := x509.MarshalPKCS8PrivateKey(i.key)
	if err != nil {
		return nil, err
	}
	if !i.clientsUntil.IsZero() {
		headers[headerClientsUntil] = roundUp(i.clientsUntil, time.Second).UTC().Format(time.RFC3339)
	}
	return []*pem.Block{
		{Type: pemCertificate, Headers: headers, Bytes: i.cert.Raw},
		{Type: pemPrivateKey, Bytes: key},
	}, nil
}

// roundUp gives the first multiple of d that is not before t.
func roundUp(t time.Time, d time.Duration) time.Time {
	if down := t.Truncate(d); down.Before(t) {
		return down.Add(d)
	}
	return t
}

// OpenAuthority gives back what Seal sealed. Errors: fleet.Denied when it was
// sealed with another key, fleet.Lost when it is damaged or is no authority.
func OpenAuthority(sealed []byte, k *FleetKey) (*Authority, error) {
	const resource = "sealed certificate authority"
	text, err := k.openAll(sealed, resource)
	if err != nil {
		return nil, err
	}
	// From here on errors never wrap what parsers say: they had the key before them.
	if a := parseAuthority(text); a != nil {
		return a, nil
	}
	return nil, fleet.Errorf(fleet.Lost, resource, "it was opened, but does not hold an authority").
		WithRemedy("restore it from a copy")
}

// openAll gives all that is in sealed bytes; errors as of Open, about resource.
func (k *FleetKey) openAll(sealed []byte, resource string) ([]byte, error) {
	r, err := k.Open(bytes.NewReader(sealed))
	if err != nil {
		return nil, about(err, resource)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, about(err, resource)
	}
	return text, nil
}

// parseAuthority reads what Seal writes; nil for anything else.
func parseAuthority(text []byte) *Authority {
	signer, headers, rest := parseIssuer(text)
	if signer == nil {
		return nil
	}
	a := &Authority{cluster: headers[headerCluster], uid: headers[headerUID], signer: signer}
	if subject := signer.cert.Subject; a.cluster == "" && len(subject.Organization) == 1 && len(subject.OrganizationalUnit) == 1 {
		a.cluster, a.uid = subject.Organization[0], subject.OrganizationalUnit[0]
	}
	if a.cluster == "" || a.uid == "" {
		return nil
	}
	if len(bytes.TrimSpace(rest)) == 0 {
		return a
	}
	other, headers, rest := parseIssuer(rest)
	role := headers[headerRole]
	if other == nil || role != roleNext && role != roleFormer || len(bytes.TrimSpace(rest)) > 0 {
		return nil
	}
	a.other, a.switched = other, role == roleFormer
	return a
}

// parseIssuer reads a certificate and its key; nil for anything else.
func parseIssuer(text []byte) (i *issuer, headers map[string]string, rest []byte) {
	certBlock, rest := pem.Decode(text)
	keyBlock, rest := pem.Decode(rest)
	if certBlock == nil || keyBlock == nil || certBlock.Type != pemCertificate || keyBlock.Type != pemPrivateKey {
		return nil, nil, nil
	}
	cert, err := x509.ParseCertificate(certBlock.Bytes)
	if err != nil || !cert.IsCA {
		return nil, nil, nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(keyBlock.Bytes)
	if err != nil {
		return nil, nil, nil
	}
	key, ok := parsed.(crypto.Signer)
	if !ok || !fits(key, cert) {
		return nil, nil, nil
	}
	i = &issuer{cert: cert, key: key}
	if until := certBlock.Headers[headerClientsUntil]; until != "" {
		if i.clientsUntil, err = time.Parse(time.RFC3339, until); err != nil {
			return nil, nil, nil
		}
	}
	return i, certBlock.Headers, rest
}

// fits says whether a key is the one of a certificate.
func fits(key crypto.Signer, cert *x509.Certificate) bool {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(cert.PublicKey)
}
