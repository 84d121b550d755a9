package pki

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
)

// fingerprintLength is long enough that two of a fleet's authorities never share
// one by chance, and short enough for people to compare.
const fingerprintLength = 16

// Fingerprint gives a certificate in short: the first 16 characters of the hex
// SHA-256 of its DER form.
func Fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])[:fingerprintLength]
}
