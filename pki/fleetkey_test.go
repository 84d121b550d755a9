package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
)

func fleetKey(t *testing.T) *FleetKey {
	t.Helper()
	k, err := GenerateFleetKey()
	require.NoError(t, err)
	return k
}

func seal(t *testing.T, k *FleetKey, text string) []byte {
	t.Helper()
	var sealed bytes.Buffer
	w, err := k.Seal(&sealed)
	require.NoError(t, err)
	_, err = io.WriteString(w, text)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return sealed.Bytes()
}

func open(k *FleetKey, sealed []byte) (string, error) {
	r, err := k.Open(bytes.NewReader(sealed))
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(r)
	return string(text), err
}

func TestFleetKeyFile(t *testing.T) {
	k := fleetKey(t)
	path := filepath.Join(t.TempDir(), "fleet.key")
	require.NoError(t, k.WriteFile(path))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	loaded, err := LoadFleetKey(path)
	require.NoError(t, err)
	text, err := open(loaded, seal(t, k, "hello"))
	require.NoError(t, err)
	require.Equal(t, "hello", text)

	err = fleetKey(t).WriteFile(path)
	require.Equal(t, fleet.Conflict, fleet.KindOf(err))
	require.ErrorContains(t, err, "not overwritten")
	again, err := LoadFleetKey(path)
	require.NoError(t, err)
	require.Equal(t, k.String(), again.String())

	for _, mode := range []os.FileMode{0o640, 0o604, 0o660} {
		require.NoError(t, os.Chmod(path, mode))
		_, err = LoadFleetKey(path)
		require.Equal(t, fleet.Denied, fleet.KindOf(err))
		require.ErrorContains(t, err, "chmod 600")
	}
	_, err = LoadFleetKey(path + ".none")
	require.Equal(t, fleet.NotFound, fleet.KindOf(err))
}

func TestFleetKeyRotation(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) *FleetKey {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		k, err := LoadFleetKey(path)
		require.NoError(t, err)
		return k
	}
	older, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	newer, err := age.GenerateHybridIdentity()
	require.NoError(t, err)
	oldKey := write("old", older.String()+"\n")
	newKey := write("new", newer.String()+"\n")
	both := write("both", "# rotated\n"+newer.String()+"\n\n"+older.String()+"\n")

	text, err := open(both, seal(t, oldKey, "from before"))
	require.NoError(t, err)
	require.Equal(t, "from before", text)
	sealed := seal(t, both, "from now")
	text, err = open(newKey, sealed)
	require.NoError(t, err)
	require.Equal(t, "from now", text)
	_, err = open(oldKey, sealed)
	require.Equal(t, fleet.Denied, fleet.KindOf(err))

	path := filepath.Join(dir, "copy")
	require.NoError(t, both.WriteFile(path))
	copied, err := LoadFleetKey(path)
	require.NoError(t, err)
	require.Len(t, copied.identities, 2)
}

func TestSealingWithoutTheKey(t *testing.T) {
	hybrid := fleetKey(t)
	plain, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	older, err := parseFleetKey("older key", []byte(plain.String()))
	require.NoError(t, err)
	for _, k := range []*FleetKey{hybrid, older} {
		require.True(t, strings.HasPrefix(k.Recipient(), "age1"), k.Recipient())
		var sealed bytes.Buffer
		w, err := SealTo(k.Recipient(), &sealed)
		require.NoError(t, err)
		_, err = io.WriteString(w, "for the fleet")
		require.NoError(t, err)
		require.NoError(t, w.Close())
		text, err := open(k, sealed.Bytes())
		require.NoError(t, err)
		require.Equal(t, "for the fleet", text)
	}
	secret := plain.String()
	for _, wrong := range []string{"", "age1", secret, hybrid.Recipient() + "\n" + older.Recipient()} {
		_, err := SealTo(wrong, io.Discard)
		require.Equal(t, fleet.Invalid, fleet.KindOf(err), "%v", err)
		require.NotContains(t, fmt.Sprintf("%+v", err), secret[15:30])
	}
}

func TestAuthoritySealed(t *testing.T) {
	a, k := authority(t), fleetKey(t)
	sealed, err := a.Seal(k)
	require.NoError(t, err)
	require.NotContains(t, string(sealed), pemPrivateKey)
	opened, err := OpenAuthority(sealed, k)
	require.NoError(t, err)
	require.Equal(t, a.CertificatePEM(), opened.CertificatePEM())
	require.Equal(t, "orders", opened.cluster)
	require.Equal(t, "u1", opened.uid)
	server := opened.server(t, loopback, time.Now())
	require.NoError(t, server.Leaf.CheckSignatureFrom(a.signer.cert))

	_, err = OpenAuthority(sealed, fleetKey(t))
	require.Equal(t, fleet.Denied, fleet.KindOf(err))
	require.ErrorContains(t, err, "sealed with another fleet key")

	for name, damaged := range map[string][]byte{
		"cut short":          sealed[:len(sealed)-20],
		"flipped bit":        append(bytes.Clone(sealed[:len(sealed)-1]), sealed[len(sealed)-1]^1),
		"never sealed":       []byte("hello"),
		"empty":              nil,
		"other content":      seal(t, k, "hello"),
		"only a certificate": seal(t, k, string(a.CertificatePEM())),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := OpenAuthority(damaged, k)
			require.Equal(t, fleet.Lost, fleet.KindOf(err), "%v", err)
		})
	}
}

func TestAFailingSourceIsNotDamage(t *testing.T) {
	k, cut := fleetKey(t), errors.New("connection reset")
	sealed := seal(t, k, strings.Repeat("x", 200<<10))
	r, err := k.Open(io.MultiReader(bytes.NewReader(sealed[:100<<10]), iotest.ErrReader(cut)))
	require.NoError(t, err)
	_, err = io.ReadAll(r)
	require.ErrorIs(t, err, cut)
	_, err = k.Open(iotest.ErrReader(cut))
	require.ErrorIs(t, err, cut)
}

// String is only for tests to compare keys by their public part.
func (k *FleetKey) String() string { return fmt.Sprint(*k) }

func TestSecretsAreNotPrinted(t *testing.T) {
	a, k := authority(t), fleetKey(t)
	path := filepath.Join(t.TempDir(), "fleet.key")
	require.NoError(t, k.WriteFile(path))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	_, secret, found := strings.Cut(string(text), "AGE-SECRET-KEY-")
	require.True(t, found)
	secret = "AGE-SECRET-KEY-" + secret[:60]
	scalar := fmt.Sprintf("%x", mustPKCS8(t, a))

	type holder struct {
		a  *Authority
		k  *FleetKey
		av Authority
		kv FleetKey
	}
	h := holder{a, k, *a, *k}
	for _, v := range []any{a, k, *a, *k, h, &h, []any{a, k}, []FleetKey{*k}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			got := fmt.Sprintf(verb, v)
			require.NotContains(t, got, secret[:30], "%s of %T", verb, v)
			require.NotContains(t, got, "AGE-SECRET", "%s of %T", verb, v)
			require.NotContains(t, strings.ToLower(got), scalar[80:110], "%s of %T", verb, v)
		}
	}
	require.Equal(t, "certificate authority of orders", fmt.Sprintf("%+v", a))

	for name, content := range map[string]string{
		"broken":  strings.TrimSpace(secret) + "QQQ\n",
		"private": string(pem.EncodeToMemory(&pem.Block{Type: pemPrivateKey, Bytes: mustPKCS8(t, a)})),
	} {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		_, err := LoadFleetKey(path)
		require.Equal(t, fleet.Invalid, fleet.KindOf(err))
		require.NotContains(t, fmt.Sprintf("%+v %#v", err, err), content[10:30])
	}
}

func mustPKCS8(t *testing.T, a *Authority) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(a.signer.key)
	require.NoError(t, err)
	return der
}
