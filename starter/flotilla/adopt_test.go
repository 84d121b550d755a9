package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/pki"
	"github.com/flotilla-etcd/flotilla/workflows"
)

const legacy = `name: legacy
provider: local
region: local-1
zones: [a]
voters: 1
etcd: { version: 3.6.16 }
machine: { type: small, disk: { size: 20GiB, category: ssd } }
members:
  - { name: db-a, host: h-1, disk: d-1, endpoint: { address: 127.0.0.1 }, dataDir: /var/lib/etcd, unit: etcd.service }
`

// legacyFiles writes a document and an authority, and gives their paths.
func legacyFiles(t *testing.T) (document, certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "legacy"}, NotBefore: clock.Now.Add(-time.Hour), NotAfter: clock.Now.AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, data, 0o600))
		return path
	}
	return write("legacy.yaml", []byte(legacy)),
		write("ca.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})),
		write("ca.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
}

func TestAdoptSealsTheAuthority(t *testing.T) {
	document, certificate, key := legacyFiles(t)
	fleetKey, err := pki.GenerateFleetKey()
	require.NoError(t, err)
	f := running()
	f.recipient = fleetKey.Recipient()
	got := do(t, f, false, "", "adopt", "-f", document, "--ca", certificate, "--ca-key", key, "--soak", "30s")
	require.Equal(t, exitDone, got.code, got.err)
	require.Len(t, f.adopted, 1)
	asked := f.adopted[0]
	assert.Equal(t, "legacy", asked.spec.Name)
	assert.Equal(t, fleet.Duration(30*time.Second), asked.request.Options.Policy.Soak)
	require.Len(t, asked.request.Options.Adopt.Members, 1)
	assert.Equal(t, "etcd.service", asked.request.Options.Adopt.Members[0].Unit)
	assert.Contains(t, got.err, "To adopt legacy:")

	opened, err := pki.OpenImported(asked.request.Options.Adopt.Authority, fleetKey, "legacy", "u1", clock.Now)
	require.NoError(t, err)
	sent, err := os.ReadFile(certificate)
	require.NoError(t, err)
	assert.Equal(t, string(sent), string(opened.CertificatePEM()))
	message, err := json.Marshal(asked.request)
	require.NoError(t, err)
	secret, err := os.ReadFile(key)
	require.NoError(t, err)
	assert.NotContains(t, string(message), strings.Split(string(secret), "\n")[1])
	for _, planned := range f.planned {
		assert.Zero(t, len(planned.Options.Adopt.Authority), "a forecast needs no authority")
	}
}

func TestPlanOfAnAdoptionNeedsNoKey(t *testing.T) {
	document, certificate, key := legacyFiles(t)
	for _, args := range [][]string{
		{"plan", "adopt", "-f", document}, {"plan", "adopt", "-f", document, "--ca", certificate, "--ca-key", key},
		{"adopt", "-f", document, "--ca", certificate, "--ca-key", key, "--dry-run"},
	} {
		f := running()
		got := do(t, f, false, "", args...)
		assert.Equal(t, exitDone, got.code, got.err)
		assert.Contains(t, got.out, "To adopt legacy:")
		require.Len(t, f.planned, 1)
		assert.Equal(t, fleet.AdoptCluster, f.planned[0].Kind)
		assert.Empty(t, f.adopted)
	}
}

func TestMistakesOfAdoptions(t *testing.T) {
	document, certificate, key := legacyFiles(t)
	for _, test := range []struct {
		args []string
		says string
	}{
		{[]string{"adopt"}, "name a file with -f"},
		{[]string{"adopt", "-f", document}, "name its certificate with --ca and its key with --ca-key"},
		{[]string{"adopt", "-f", "/nonexistent.yaml", "--ca", certificate, "--ca-key", key}, "no such file"},
		{[]string{"adopt", "-f", document, "--ca", certificate, "--ca-key", "/nonexistent.key"}, "the authority cannot be read"},
		{[]string{"adopt", "-f", document, "--ca", key, "--ca-key", key}, "holds 0 certificates, not one"},
		{[]string{"adopt", "-f", document, "--ca", certificate, "--ca-key", certificate}, "there is no private key in PEM"},
		{[]string{"plan", "adopt", "-f", document, "--ca", certificate}, "name its certificate with --ca and its key with --ca-key"},
		{[]string{"plan", "adopt", "-f", certificate}, "has 1 problem"},
	} {
		got := do(t, nil, false, "", test.args...)
		assert.Equal(t, exitInput, got.code, "%v: %s", test.args, got.err)
		assert.Contains(t, got.err, test.says, "%v", test.args)
	}
	f := running()
	f.reply = workflows.PlanReply{Kind: fleet.Conflict, Blocked: "legacy exists already"}
	got := do(t, f, false, "", "adopt", "-f", document, "--ca", certificate, "--ca-key", key)
	assert.Equal(t, exitFailed, got.code)
	assert.Empty(t, f.adopted)
}
