package pki

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// The phases of a replacement, in their order.
var phases = []string{"before", "extended", "switched", "retired"}

// replaced takes an authority through a replacement.
func replaced(t *testing.T, a *Authority) map[string]*Authority {
	t.Helper()
	extended, err := a.Extend(time.Now())
	require.NoError(t, err)
	switched, err := extended.Switch()
	require.NoError(t, err)
	return map[string]*Authority{"before": a, "extended": extended, "switched": switched, "retired": switched.Retire()}
}

func (a *Authority) pem() []string {
	return strings.SplitAfter(strings.TrimSpace(string(a.CertificatePEM())), "-----END CERTIFICATE-----\n")
}

func TestReplacingAnAuthority(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	a, err := NewAuthority("orders", "u1", now)
	require.NoError(t, err)
	first := Fingerprint(a.signer.cert)
	require.Equal(t, fleet.Trust{Signer: first}, a.Trust())
	require.Same(t, a, a.Retire(), "there is nothing to forget")
	_, err = a.Switch()
	require.Equal(t, fleet.Blocked, fleet.KindOf(err))

	extended, err := a.Extend(now.Add(time.Hour))
	require.NoError(t, err)
	second := Fingerprint(extended.other.cert)
	require.NotEqual(t, first, second)
	require.Equal(t, fleet.Trust{Signer: first, Other: second}, extended.Trust())
	require.Equal(t, fleet.Trust{Signer: first}, a.Trust(), "an authority never changes")
	require.Len(t, extended.pem(), 2)
	require.Equal(t, a.pem()[0], strings.TrimSpace(extended.pem()[0]))
	require.Equal(t, "flotilla orders u1 20260102T040405Z", extended.other.cert.Subject.CommonName)
	again, err := extended.Extend(now.Add(2 * time.Hour))
	require.NoError(t, err)
	require.Same(t, extended, again, "a second time makes no third one")

	switched, err := extended.Switch()
	require.NoError(t, err)
	require.Equal(t, fleet.Trust{Signer: second, Other: first, Switched: true, OtherUntil: now.Add(-Backdating)}, switched.Trust())
	require.Equal(t, extended.CertificatePEM(), switched.CertificatePEM(), "the bundle stays the same, byte for byte")
	again, err = switched.Switch()
	require.NoError(t, err)
	require.Same(t, switched, again, "a second time switches nothing back")
	_, err = switched.Extend(now)
	require.Equal(t, fleet.Blocked, fleet.KindOf(err), "%v", err)

	retired := switched.Retire()
	require.Equal(t, fleet.Trust{Signer: second}, retired.Trust())
	require.Len(t, retired.pem(), 1)
	require.Equal(t, "certificate authority of orders", fmt.Sprintf("%+v", switched))

	cancelled := extended.Retire()
	require.Equal(t, a.Trust(), cancelled.Trust(), "what does not sign is forgotten, also before it did")
}

func TestWhatWasSignedWithoutARecord(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	a, err := NewAuthority("orders", "u1", now)
	require.NoError(t, err)
	a.signer.clientsUntil = time.Time{} // as those before authorities could be replaced
	extended, err := a.Extend(now)
	require.NoError(t, err)
	switched, err := extended.Switch()
	require.NoError(t, err)
	require.Equal(t, now.Add(MaxClientValidity), switched.Trust().OtherUntil)
}

func TestReplacedAuthoritySealed(t *testing.T) {
	k := fleetKey(t)
	for phase, a := range replaced(t, authority(t)) {
		t.Run(phase, func(t *testing.T) {
			sealed, err := a.Seal(k)
			require.NoError(t, err)
			require.NotContains(t, string(sealed), pemPrivateKey)
			opened, err := OpenAuthority(sealed, k)
			require.NoError(t, err)
			require.Equal(t, a.CertificatePEM(), opened.CertificatePEM())
			require.Equal(t, "orders u1", opened.cluster+" "+opened.uid)
			want, got := a.Trust(), opened.Trust()
			require.WithinRange(t, got.OtherUntil, want.OtherUntil, want.OtherUntil.Add(time.Second), "it is never told too early")
			want.OtherUntil = got.OtherUntil
			require.Equal(t, want, got)
			require.NoError(t, opened.server(t, loopback, time.Now()).Leaf.CheckSignatureFrom(a.signer.cert))
		})
	}
}

func TestDamagedReplacementIsRefused(t *testing.T) {
	k := fleetKey(t)
	a := replaced(t, authority(t))["extended"]
	signer, err := a.signer.blocks(map[string]string{headerCluster: "orders", headerUID: "u1"})
	require.NoError(t, err)
	other := func(headers map[string]string) []*pem.Block {
		blocks, err := a.other.blocks(headers)
		require.NoError(t, err)
		return blocks
	}
	next := other(map[string]string{headerRole: roleNext})
	late := other(map[string]string{headerRole: roleNext})
	late[0].Headers[headerClientsUntil] = "tomorrow"
	for name, blocks := range map[string][]*pem.Block{
		"no role":       append(signer[:2:2], other(map[string]string{})...),
		"unknown role":  append(signer[:2:2], other(map[string]string{headerRole: "friend"})...),
		"swapped keys":  {signer[0], next[1], next[0], signer[1]},
		"no second key": {signer[0], signer[1], next[0]},
		"a third one":   {signer[0], signer[1], next[0], next[1], next[0], next[1]},
		"no time":       append(signer[:2:2], late...),
		"a leaf":        {{Type: pemCertificate, Bytes: leafBytes(t, a)}, signer[1]},
		"no key":        {signer[0]},
	} {
		t.Run(name, func(t *testing.T) {
			var text strings.Builder
			for _, b := range blocks {
				text.Write(pem.EncodeToMemory(b))
			}
			_, err := OpenAuthority(seal(t, k, text.String()), k)
			require.Equal(t, fleet.Lost, fleet.KindOf(err), "%v", err)
			require.NotContains(t, err.Error(), "BEGIN")
		})
	}
}

func leafBytes(t *testing.T, a *Authority) []byte {
	t.Helper()
	return a.client(t).Certificate[0]
}

// What is in testdata was sealed by releases before this one; see its README.
func TestAuthoritiesOfEarlierReleasesOpen(t *testing.T) {
	text, err := os.ReadFile("testdata/fleet.key")
	require.NoError(t, err)
	k, err := parseFleetKey("testdata/fleet.key", text)
	require.NoError(t, err)
	read := func(name string) []byte {
		data, err := os.ReadFile("testdata/" + name)
		require.NoError(t, err)
		return data
	}
	began := time.Date(2026, 1, 2, 2, 59, 5, 0, time.UTC)
	for name, want := range map[string]struct {
		cluster string
		trust   fleet.Trust
	}{
		"authority-1": {"orders u1", fleet.Trust{Signer: "@1"}},
		"authority-2": {"orders u1", fleet.Trust{Signer: "@2", Other: "@1", Switched: true, OtherUntil: began}},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := OpenAuthority(read(name+".age"), k)
			require.NoError(t, err)
			require.Equal(t, string(read(name+".crt")), string(a.CertificatePEM()))
			require.Equal(t, want.cluster, a.cluster+" "+a.uid)
			names := map[string]string{}
			for i, cert := range a.trusted() {
				names[fmt.Sprintf("@%d", i+1)] = Fingerprint(cert.cert)
			}
			want.trust.Signer, want.trust.Other = names[want.trust.Signer], names[want.trust.Other]
			require.Equal(t, want.trust, a.Trust())
			server := a.server(t, loopback, a.signer.cert.NotBefore.Add(time.Hour))
			require.NoError(t, server.Leaf.CheckSignatureFrom(a.signer.cert))
		})
	}
}

// TestHandshakesWhileAuthoritiesAreReplaced has members of each phase meet clients
// and peers of each phase. A member of a phase has the leaf and the bundle that the
// control plane gives out in it.
func TestHandshakesWhileAuthoritiesAreReplaced(t *testing.T) {
	const yes, server, client = "", "the server refuses", "the client refuses"
	want := map[string]map[string]string{ // by the phase of who is dialled, and of who dials
		"before":   {"before": yes, "extended": yes, "switched": server, "retired": client},
		"extended": {"before": yes, "extended": yes, "switched": yes, "retired": client},
		"switched": {"before": client, "extended": yes, "switched": yes, "retired": yes},
		"retired":  {"before": client, "extended": server, "switched": yes, "retired": yes},
	}
	at := replaced(t, authority(t))
	clients, peers, servers := map[string]tls.Certificate{}, map[string]tls.Certificate{}, map[string]tls.Certificate{}
	for phase, a := range at {
		clients[phase], peers[phase], servers[phase] = a.client(t), a.peer(t), a.server(t, loopback, time.Now())
	}
	for i, dialled := range phases {
		for j, dials := range phases {
			expected := want[dialled][dials]
			if max(i, j)-min(i, j) <= 1 {
				require.Equal(t, yes, expected, "who is one move apart must understand each other")
			}
			for port, c := range map[string]struct{ server, client *tls.Config }{
				"client": {clientPort(at[dialled], servers[dialled]), asks(at[dials], clients[dials])},
				"peer":   {peerPort(at[dialled], peers[dialled]), asks(at[dials], peers[dials])},
			} {
				t.Run(dials+" dials "+dialled+" at the "+port+" port", func(t *testing.T) {
					serverErr, clientErr := handshake(t, c.server, c.client)
					var unknown x509.UnknownAuthorityError
					switch expected {
					case yes:
						require.NoError(t, errors.Join(serverErr, clientErr))
					case server:
						require.ErrorAs(t, serverErr, &unknown)
						require.Error(t, clientErr)
					case client:
						require.ErrorAs(t, clientErr, &unknown)
					}
				})
			}
		}
	}
	// The control plane dials with the phase that it has just read.
	for _, phase := range phases {
		own, err := at[phase].ClientTLS("flotilla-worker", time.Now())
		require.NoError(t, err)
		serverErr, clientErr := handshake(t, clientPort(at[phase], servers[phase]), own)
		require.NoError(t, errors.Join(serverErr, clientErr), phase)
	}
}
