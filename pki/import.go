package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// ImportAuthority makes an authority of a cluster of a certificate and its key (both
// PEM) that something else made: a root, valid now, whose ECDSA, RSA or Ed25519
// key may sign what members and clients need. What it has signed before is known
// to nobody here, so that client certificates of it count as valid until it ends
// itself. Errors: fleet.Invalid, with what is wrong; never with a part of the key.
func ImportAuthority(certPEM, keyPEM []byte, cluster, uid string, now time.Time) (*Authority, error) {
	if err := validCluster(cluster, uid); err != nil {
		return nil, err
	}
	signer, err := importIssuer(certPEM, keyPEM, now)
	if err != nil {
		return nil, err
	}
	return &Authority{cluster: cluster, uid: uid, signer: signer}, nil
}

// SealAuthority seals an authority that something else made to the fleet, for
// OpenImported. It refuses what ImportAuthority refuses.
func SealAuthority(recipient string, certPEM, keyPEM []byte, now time.Time) ([]byte, error) {
	i, err := importIssuer(certPEM, keyPEM, now)
	if err != nil {
		return nil, err
	}
	blocks, err := i.blocks(map[string]string{})
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, importResource, "its key could not be encoded")
	}
	seal := func(w io.Writer) (io.WriteCloser, error) { return SealTo(recipient, w) }
	return sealBlocks(importResource, seal, blocks)
}

// OpenImported opens what SealAuthority sealed. Errors: fleet.Denied when it was
// sealed to another fleet, fleet.Lost when it is damaged, otherwise those of
// ImportAuthority.
func OpenImported(sealed []byte, k *FleetKey, cluster, uid string, now time.Time) (*Authority, error) {
	text, err := k.openAll(sealed, importResource)
	if err != nil {
		return nil, err
	}
	return ImportAuthority(text, text, cluster, uid, now)
}

const importResource = "certificate authority to take over"

func importIssuer(certPEM, keyPEM []byte, now time.Time) (*issuer, error) {
	cert, err := importedCertificate(certPEM, now)
	if err != nil {
		return nil, err
	}
	key, err := importedKey(keyPEM)
	if err != nil {
		return nil, err
	}
	if !fits(key, cert) {
		return nil, fleet.Errorf(fleet.Invalid, importResource, "the key is not the one of the certificate")
	}
	i := &issuer{cert: cert, key: key, clientsUntil: cert.NotAfter}
	if err := i.try(now); err != nil {
		return nil, fleet.Errorf(fleet.Invalid, importResource, "what it signs for members is not valid: %w", err)
	}
	return i, nil
}

func importedCertificate(text []byte, now time.Time) (*x509.Certificate, error) {
	wrong := func(format string, args ...any) error {
		return fleet.Errorf(fleet.Invalid, importResource, format, args...)
	}
	var ders [][]byte
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == pemCertificate {
			ders = append(ders, block.Bytes)
		}
	}
	if len(ders) != 1 {
		return nil, wrong("the certificate's PEM holds %d certificates, not one", len(ders))
	}
	cert, err := x509.ParseCertificate(ders[0])
	switch {
	case err != nil:
		return nil, wrong("its certificate cannot be read: %w", err)
	case !cert.BasicConstraintsValid || !cert.IsCA:
		return nil, wrong("%s is no authority, but a certificate that one has signed", cert.Subject)
	case cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageCertSign == 0:
		return nil, wrong("%s may not sign certificates (key usage)", cert.Subject)
	case !bytes.Equal(cert.RawSubject, cert.RawIssuer):
		// Who trusts the root alone refuses leaves that come without what is between.
		return nil, wrong("%s is not a root: %s has signed it", cert.Subject, cert.Issuer)
	case now.Before(cert.NotBefore) || !now.Before(cert.NotAfter):
		return nil, wrong("%s is valid from %s to %s only", cert.Subject,
			cert.NotBefore.Format(time.DateOnly), cert.NotAfter.Format(time.DateOnly))
	case !strong(cert.PublicKey):
		return nil, fleet.Errorf(fleet.Invalid, importResource, "its key is too weak").WithRemedy(strongRemedy, minRSABits)
	}
	return cert, nil
}

// importedKey reads a key as OpenSSL, cfssl and Go write them.
func importedKey(text []byte) (crypto.Signer, error) {
	// Errors never wrap what parsers say: they had the key before them.
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if strings.Contains(block.Type, "ENCRYPTED") || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
			return nil, fleet.Errorf(fleet.Invalid, importResource, "its key is encrypted with a passphrase").
				WithRemedy("decrypt it first, for example with: openssl pkey")
		}
		var parsed any
		var err error
		switch block.Type {
		case pemPrivateKey:
			parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			parsed, err = x509.ParseECPrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			parsed, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		default:
			continue // EC PARAMETERS, or the certificate beside it
		}
		if key, ok := parsed.(crypto.Signer); ok && err == nil {
			return key, nil
		}
		return nil, fleet.Errorf(fleet.Invalid, importResource, "its key is damaged, or of a kind that cannot sign")
	}
	return nil, fleet.Errorf(fleet.Invalid, importResource, "there is no private key in PEM")
}

// try signs a leaf that is thrown away, and says why nobody would accept it:
// constraints and extended usages of a root hold for all that it signs.
func (i *issuer) try(now time.Time) error {
	probe, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	usages := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	der, err := i.certify(&x509.Certificate{
		Subject: pkix.Name{CommonName: "probe"}, NotBefore: now, NotAfter: i.cert.NotAfter, ExtKeyUsage: slices.Clone(usages),
	}, probe.Public())
	if err != nil {
		return err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AddCert(i.cert)
	for _, usage := range usages { // Verify is content with any one of a list
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
			return err
		}
	}
	return nil
}
