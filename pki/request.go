package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// NewKeyAndRequest makes an ECDSA P-256 key (PKCS #8, PEM) and a certificate
// request for it (PEM). The name in the request is for people who look at it:
// what a certificate says is decided by whoever signs it.
func NewKeyAndRequest(commonName string) (keyPEM, csrPEM []byte, err error) {
	what := "key for " + commonName
	if err := validName(what, commonName); err != nil {
		return nil, nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fleet.Errorf(fleet.Unavailable, what, "could not be made: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fleet.Errorf(fleet.Invalid, what, "could not be encoded")
	}
	keyPEM = pem.EncodeToMemory(&pem.Block{Type: pemPrivateKey, Bytes: der})
	csrPEM, err = RequestFor(keyPEM, commonName)
	if err != nil {
		return nil, nil, err
	}
	return keyPEM, csrPEM, nil
}

// RequestFor makes a certificate request (PEM) for a key that NewKeyAndRequest
// made before. Errors: fleet.Lost when keyPEM holds no such key.
func RequestFor(keyPEM []byte, commonName string) ([]byte, error) {
	what := "key for " + commonName
	block, _ := pem.Decode(keyPEM)
	if block == nil || block.Type != pemPrivateKey {
		return nil, fleet.Errorf(fleet.Lost, what, "it is not a PEM block of type %s", pemPrivateKey)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok {
		return nil, fleet.Errorf(fleet.Lost, what, "it is not an ECDSA key")
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: commonName},
	}, key)
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, what, "the request could not be made: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemRequest, Bytes: der}), nil
}
