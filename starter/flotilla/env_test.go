package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pair makes a key and a certificate for it.
func pair(t *testing.T) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func TestKeyringIsPrivateAndUsedAgain(t *testing.T) {
	certificate, key := pair(t)
	now := time.Now()
	k := keyring{Dir: t.TempDir() + "/state/orders", Cluster: "orders", UID: "01a2", Name: "eva", Issued: now, Expires: now.Add(24 * time.Hour)}
	require.NoError(t, k.write([]byte("ca"), certificate, key))

	info, err := os.Stat(k.Dir)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	entries, err := os.ReadDir(k.Dir)
	require.NoError(t, err)
	require.Len(t, entries, 4)
	for _, entry := range entries {
		info, err := entry.Info()
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), info.Mode().Perm(), entry.Name())
	}

	again, ok := readKeyring(k.Dir)
	require.True(t, ok)
	assert.Equal(t, "eva", again.Name)
	assert.True(t, again.usable(now))
	assert.False(t, again.usable(now.Add(24*time.Hour-spare/2)), "it is nearly over")
	again.Expires = again.Issued.Add(time.Minute)
	assert.True(t, again.usable(now), "a short one may be used for the first half of its life")

	_, otherKey := pair(t)
	require.NoError(t, os.WriteFile(k.path(keyFile), otherKey, 0o600))
	assert.False(t, k.usable(now), "key and certificate must belong together")
}

func TestEnvText(t *testing.T) {
	k := keyring{Dir: "/home/eva's/state", Cluster: "orders", Expires: time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC),
		Endpoints: []string{"https://127.0.0.1:2379", "https://127.0.0.2:2379"}}
	golden(t, "env-sh", envText("sh", k))
	golden(t, "env-fish", envText("fish", k))
}

func TestStateDir(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", "/state")
	dir, err := stateDir()
	require.NoError(t, err)
	assert.Equal(t, "/state/flotilla", dir)
	t.Setenv("XDG_STATE_HOME", "relative") // the specification says to ignore it then
	t.Setenv("HOME", "/home/eva")
	dir, err = stateDir()
	require.NoError(t, err)
	assert.Equal(t, "/home/eva/.local/state/flotilla", dir)
}
