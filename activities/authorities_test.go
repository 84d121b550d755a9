package activities

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
	"github.com/flotilla-etcd/flotilla/objectstore/objectstoretest"
	"github.com/flotilla-etcd/flotilla/pki"
)

// everyStore runs a test over a directory and over S3.
func everyStore(t *testing.T, test func(t *testing.T, a *Authorities)) {
	t.Run("directory", func(t *testing.T) { test(t, &Authorities{region(t)}) })
	t.Run("S3", func(t *testing.T) {
		server := objectstoretest.Start(t)
		server.Setenv(t)
		server.Bucket(t, "fleet")
		r := region(t)
		var err error
		r.Store, err = objectstore.Open(t.Context(), server.Location("fleet/prefix"), objectstore.Options{})
		require.NoError(t, err)
		test(t, &Authorities{r})
	})
}

// hooked is a store that calls before each of its calls; what that does is done by
// the time that the call is made.
type hooked struct {
	objectstore.Store
	before func(call, key string)
}

func (h hooked) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	h.before("put if absent", key)
	return h.Store.PutIfAbsent(ctx, key, data)
}

func (h hooked) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	h.before("get", key)
	return h.Store.Get(ctx, key)
}

func (h hooked) List(ctx context.Context, prefix string) ([]objectstore.Object, error) {
	h.before("list", prefix)
	return h.Store.List(ctx, prefix)
}

// via gives the same authorities over a store that calls before the n-th (from 1)
// call of a kind, once.
func (a *Authorities) via(call string, n int, before func()) *Authorities {
	r := a.Region
	r.Store = hooked{r.Store, func(made, _ string) {
		if made != call {
			return
		}
		if n--; n == 0 {
			before()
		}
	}}
	return &Authorities{r}
}

func rotation(change fleet.CertificateChange) fleet.StepRequest {
	op := operation()
	op.Kind, op.Options.Certificates = fleet.RollCluster, change
	return fleet.StepRequest{Operation: op}
}

var rotate = rotation(fleet.UseNewCA)

type step func(context.Context, fleet.StepRequest) (fleet.StepReply, error)

func must(t *testing.T, f step) string {
	t.Helper()
	reply, err := f(t.Context(), rotate)
	require.NoError(t, err)
	return reply.Note
}

// observed gives what a look sees.
func (a *Authorities) observed(t *testing.T) fleet.Observation {
	t.Helper()
	var obs fleet.Observation
	require.NoError(t, a.stored(t.Context(), rotate.Operation, false, &obs))
	return obs
}

// sealedVersions gives the keys of the versions that hold something.
func (a *Authorities) sealedVersions(t *testing.T) (keys []string) {
	t.Helper()
	k, err := a.first().list(t.Context(), "orders", "uid")
	require.NoError(t, err)
	for _, o := range k.versions {
		if o.Size > 0 {
			keys = append(keys, o.Key)
		}
	}
	return keys
}

func request(t *testing.T) fleet.CertificateRequest {
	t.Helper()
	_, csr, err := pki.NewKeyAndRequest("alice")
	require.NoError(t, err)
	return fleet.CertificateRequest{Cluster: "orders", UID: "uid", CSR: string(csr), Name: "alice"}
}

// issuerOf gives the fingerprint of the one in the bundle that signed the certificate,
// and when that ends.
func issuerOf(t *testing.T, answer fleet.CertificateReply) (string, time.Time) {
	t.Helper()
	leaf := certificates(t, answer.Certificate)[0]
	for _, ca := range certificates(t, answer.CA) {
		if leaf.CheckSignatureFrom(ca) == nil {
			return pki.Fingerprint(ca), leaf.NotAfter
		}
	}
	require.FailNow(t, "the bundle that came with a certificate does not hold who signed it")
	return "", time.Time{}
}

func certificates(t *testing.T, text string) (all []*x509.Certificate) {
	t.Helper()
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		require.NoError(t, err)
		all = append(all, cert)
	}
	return all
}

func TestAuthorityIsReplaced(t *testing.T) {
	everyStore(t, func(t *testing.T, a *Authorities) {
		must(t, a.CreateAuthority)
		first := a.observed(t).Trust
		require.Empty(t, first.Other)
		issued, err := a.sign(t.Context(), request(t), time.Second)
		require.NoError(t, err)

		_, err = a.SwitchAuthority(t.Context(), rotate)
		require.ErrorContains(t, err, "there is no second one")
		for i := range 2 { // the second time is an attempt that lost its answer
			require.Contains(t, must(t, a.ExtendAuthority), []string{" beside " + first.Signer, "was there already"}[i])
			must(t, a.CreateAuthority)
		}
		extended := a.observed(t).Trust
		require.Equal(t, fleet.Trust{Signer: first.Signer, Other: extended.Other}, extended)
		require.NotEmpty(t, extended.Other)
		_, err = a.RetireAuthority(t.Context(), rotate)
		require.ErrorContains(t, err, "it has not signed yet")

		for range 2 {
			must(t, a.SwitchAuthority)
		}
		switched := a.observed(t)
		require.True(t, switched.Trust.Switched)
		require.Equal(t, []string{extended.Other, first.Signer}, []string{switched.Trust.Signer, switched.Trust.Other})
		_, until := issuerOf(t, issued)
		require.False(t, switched.Trust.OtherUntil.Before(until), "a client's certificate is valid for longer")
		require.Equal(t, []string{"clusters/orders/uid/authority-00002.age"}, a.sealedVersions(t), "keys are kept once")

		var kind error
		require.Eventually(t, func() bool {
			_, err := a.RetireAuthority(t.Context(), rotate)
			if err != nil {
				kind = err
			}
			return err == nil
		}, 10*time.Second, 20*time.Millisecond)
		require.ErrorContains(t, kind, "clients have certificates of "+first.Signer+" that are valid until "+until.UTC().Format("2 January 2006"))
		require.False(t, time.Now().Before(until))
		require.Equal(t, "was forgotten already", must(t, a.RetireAuthority))
		require.Equal(t, fleet.Trust{Signer: extended.Other}, a.observed(t).Trust)
		k, err := a.first().list(t.Context(), "orders", "uid")
		require.NoError(t, err)
		require.Empty(t, k.others, "records of an authority that is forgotten")

		must(t, a.DestroyAuthority)
		obs := a.observed(t)
		require.False(t, obs.Authority || obs.Secrets)
		objects, err := a.Store.List(t.Context(), "")
		require.NoError(t, err)
		require.Empty(t, objects)
	})
}

func TestManyAttemptsMakeOneChange(t *testing.T) {
	everyStore(t, func(t *testing.T, a *Authorities) {
		must(t, a.CreateAuthority)
		for _, c := range []struct {
			name string
			f    step
		}{{"extend", a.ExtendAuthority}, {"switch", a.SwitchAuthority}, {"retire", a.RetireAuthority}} {
			errs := make([]error, 8)
			var attempts sync.WaitGroup
			for i := range errs {
				attempts.Go(func() { _, errs[i] = c.f(t.Context(), rotate) })
			}
			attempts.Wait()
			require.Contains(t, errs, error(nil), c.name)
			for _, err := range errs {
				if err != nil {
					require.ErrorContains(t, err, "another attempt changed it", c.name)
				}
			}
			must(t, c.f)
			require.Len(t, a.sealedVersions(t), 1, c.name)
		}
		k, err := a.kept(t.Context(), "orders", "uid")
		require.NoError(t, err)
		require.Equal(t, 3, k.version, "one for each change")
	})
}

// An attempt that stands still just before it stores, and goes on when everything has
// been done by others, changes nothing.
func TestLateAttemptChangesNothing(t *testing.T) {
	everyStore(t, func(t *testing.T, a *Authorities) {
		steps := []step{a.ExtendAuthority, a.SwitchAuthority, a.RetireAuthority}
		for i, f := range []func(*Authorities) step{
			func(late *Authorities) step { return late.ExtendAuthority },
			func(late *Authorities) step { return late.SwitchAuthority },
			func(late *Authorities) step { return late.RetireAuthority },
		} {
			must(t, a.DestroyAuthority)
			must(t, a.CreateAuthority)
			for _, done := range steps[:i] {
				must(t, done)
			}
			var want fleet.Trust
			late := a.via("put if absent", 1, func() {
				for _, next := range append(slices.Clone(steps[i:]), steps[:2]...) {
					must(t, next)
				}
				want = a.observed(t).Trust
			})
			_, err := f(late)(t.Context(), rotate)
			require.ErrorContains(t, err, "another attempt changed it")
			require.NotEmpty(t, want.Other)
			require.Equal(t, want, a.observed(t).Trust)
			require.Len(t, a.sealedVersions(t), 1)
		}
	})
}

// An attempt that died between storing a version and emptying the one before it is
// made up for by the next one.
func TestKeysOfFormerVersionsDoNotStay(t *testing.T) {
	a := &Authorities{region(t)}
	must(t, a.CreateAuthority)
	before, err := a.authority(t.Context(), "orders", "uid")
	require.NoError(t, err)
	extended, err := before.Extend(time.Now())
	require.NoError(t, err)
	require.NoError(t, a.storeAuthority(t.Context(), rotate.Operation, 1, extended))
	require.Len(t, a.sealedVersions(t), 2)
	require.Equal(t, extended.Trust().Other+" was there already", must(t, a.ExtendAuthority))
	require.Equal(t, []string{"clusters/orders/uid/authority-00001.age"}, a.sealedVersions(t))
}

func TestAuthorityIsReadWhileItChanges(t *testing.T) {
	everyStore(t, func(t *testing.T, a *Authorities) {
		must(t, a.CreateAuthority)
		reader := a.via("get", 1, func() {
			must(t, a.ExtendAuthority)
			must(t, a.SwitchAuthority)
		})
		read, err := reader.authority(t.Context(), "orders", "uid")
		require.NoError(t, err)
		require.True(t, read.Trust().Switched)
		gone := a.via("get", 1, func() { must(t, a.DestroyAuthority) })
		_, err = gone.authority(t.Context(), "orders", "uid")
		require.Equal(t, fleet.NotFound, fleet.KindOf(err), "%v", err)
	})
}

// Whenever authorities are switched while a certificate is issued, it is either of the
// next one, or keeps the former one from being forgotten.
func TestIssuingWhileAuthoritiesAreSwitched(t *testing.T) {
	for name, moment := range map[string]struct {
		call string
		n    int
	}{
		"before anything":                       {"list", 1},
		"between looking up who signs and that": {"get", 1},
		"before the record is made":             {"put if absent", 1},
		"after the record is made":              {"list", 3},
		"while it looks again who signs":        {"get", 2},
	} {
		t.Run(name, func(t *testing.T) {
			a := &Authorities{region(t)}
			must(t, a.CreateAuthority)
			first := a.observed(t).Trust.Signer
			fired := false
			issuer := a.via(moment.call, moment.n, func() {
				fired = true
				must(t, a.ExtendAuthority)
				must(t, a.SwitchAuthority)
			})
			answer, err := issuer.sign(t.Context(), request(t), time.Hour)
			require.NoError(t, err)
			require.True(t, fired)
			signer, until := issuerOf(t, answer)
			trust := a.observed(t).Trust
			require.Equal(t, trust.Signer, signer, "it was not given out before the switch")
			require.Len(t, certificates(t, answer.CA), 2)
			recorded, err := a.clientsUntil(t.Context(), "orders", "uid", signer)
			require.NoError(t, err)
			require.False(t, recorded.Before(until))
			if recorded, err = a.clientsUntil(t.Context(), "orders", "uid", first); recorded.IsZero() {
				require.NoError(t, err)
				must(t, a.RetireAuthority)
				return
			}
			_, err = a.RetireAuthority(t.Context(), rotate)
			require.ErrorContains(t, err, "clients have certificates of "+first)
		})
	}
}

// Issuers and replacements go on beside each other; no certificate that was given out
// may end after its authority was forgotten.
func TestNoAuthorityIsForgottenTooEarly(t *testing.T) {
	a := &Authorities{region(t)}
	must(t, a.CreateAuthority)
	const validity = time.Second
	ctx, cancel := context.WithCancel(t.Context())
	var issuers sync.WaitGroup
	ends := make([]map[string]time.Time, 4) // per issuer: the last end by authority
	for i := range ends {
		ends[i] = map[string]time.Time{}
		wanted := request(t)
		issuers.Go(func() {
			for ctx.Err() == nil {
				answer, err := a.sign(ctx, wanted, validity)
				if err != nil {
					if ctx.Err() == nil {
						t.Errorf("issuing: %v", err)
					}
					return
				}
				// Not the certificate's own: that is cut to whole seconds.
				signer, _ := issuerOf(t, answer)
				ends[i][signer] = answer.Expires
			}
		})
	}
	forgotten := map[string]time.Time{}
	for range 3 {
		must(t, a.ExtendAuthority)
		must(t, a.SwitchAuthority)
		former := a.observed(t).Trust.Other
		require.Eventually(t, func() bool {
			_, err := a.RetireAuthority(ctx, rotate)
			return err == nil
		}, 30*time.Second, 10*time.Millisecond)
		forgotten[former] = time.Now()
	}
	cancel()
	issuers.Wait()
	issued := 0
	for _, by := range ends {
		for signer, end := range by {
			issued++
			if at, over := forgotten[signer]; over {
				require.False(t, end.After(at), "%s was forgotten %s before a certificate of it ends", signer, end.Sub(at))
			}
		}
	}
	require.GreaterOrEqual(t, issued, len(ends), "every issuer was at work")
}

func TestRecordsAreFew(t *testing.T) {
	everyStore(t, func(t *testing.T, a *Authorities) {
		writes := 0
		r := a.Region
		r.Store = hooked{r.Store, func(call, _ string) {
			if call == "put if absent" {
				writes++
			}
		}}
		const day = 24 * time.Hour
		begin := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
		record := func(now time.Time, validity time.Duration) {
			require.NoError(t, r.recordClient(t.Context(), "orders", "uid", "abc", now, validity))
			until, err := r.clientsUntil(t.Context(), "orders", "uid", "abc")
			require.NoError(t, err)
			require.False(t, until.Before(now.Add(validity)))
			require.False(t, until.After(now.Add(validity+validity/recordSteps)), "for much longer than necessary")
		}
		for minute := range 200 {
			record(begin.Add(time.Duration(minute)*15*time.Minute), day)
		}
		require.LessOrEqual(t, writes, 50*recordSteps/24+1, "in 50 hours")
		left, err := a.Store.List(t.Context(), "")
		require.NoError(t, err)
		require.LessOrEqual(t, len(left), recordSteps+2)
		// A list that is read while things change may miss what was put after it began:
		// it must find what was there, and that must be late enough.
		require.GreaterOrEqual(t, len(left), recordSteps, "a record was deleted whose time is not over")

		writes = 0
		now := begin.Add(100 * day)
		require.NoError(t, r.recordClient(t.Context(), "orders", "uid", "abc", now, 90*day))
		require.NoError(t, r.recordClient(t.Context(), "orders", "uid", "abc", now, day))
		require.Equal(t, 1, writes, "a shorter one is on record by a longer one")
		left, err = a.Store.List(t.Context(), "")
		require.NoError(t, err)
		require.Len(t, left, 1, "what is over is not kept")
	})
}

func TestAuthorityIsImported(t *testing.T) {
	a := &Authorities{region(t)}
	root := func() []byte {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "etcd-ca"}, NotBefore: time.Now().Add(-time.Hour),
			NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}
		certDER, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		require.NoError(t, err)
		keyDER, err := x509.MarshalECPrivateKey(key)
		require.NoError(t, err)
		sealed, err := pki.SealAuthority(a.Key.Recipient(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certDER}),
			pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}), time.Now())
		require.NoError(t, err)
		return sealed
	}
	adopt := func(sealed []byte) (fleet.StepReply, error) {
		op := operation()
		op.Kind, op.Options.Adopt = fleet.AdoptCluster, &fleet.Adoption{Authority: sealed}
		return a.ImportAuthority(t.Context(), fleet.StepRequest{Operation: op})
	}
	theirs := root()
	reply, err := adopt(theirs)
	require.NoError(t, err)
	trust := a.observed(t).Trust
	require.Contains(t, reply.Note, trust.Signer)
	reply, err = adopt(theirs)
	require.NoError(t, err)
	require.Equal(t, trust.Signer+" was there already", reply.Note)
	must(t, a.CreateAuthority)
	require.Equal(t, trust, a.observed(t).Trust, "it is not replaced by a new one")
	answer, err := a.sign(t.Context(), request(t), 24*time.Hour)
	require.NoError(t, err)
	_, until := issuerOf(t, answer)
	require.WithinDuration(t, until, answer.Expires, time.Second, "no certificate outlives its authority")
	require.WithinDuration(t, time.Now().Add(time.Hour), answer.Expires, time.Minute)

	_, err = adopt(root())
	require.ErrorContains(t, err, "is "+trust.Signer+", which is there already")
	must(t, a.ExtendAuthority)
	must(t, a.SwitchAuthority)
	_, err = adopt(theirs)
	require.NoError(t, err, "also when it is replaced by now")
	_, err = a.RetireAuthority(t.Context(), rotate)
	require.ErrorContains(t, err, "clients have certificates", "nobody knows which it has signed")

	for _, wrong := range [][]byte{nil, []byte("not sealed")} {
		_, err = adopt(wrong)
		require.Error(t, err)
	}
	_, err = a.ImportAuthority(t.Context(), fleet.StepRequest{Operation: operation()})
	require.ErrorContains(t, err, "did not come with the request")
}

func TestRecipientIsThePublicPartOfTheKey(t *testing.T) {
	a := &Authorities{region(t)}
	reply, err := a.FleetRecipient(t.Context())
	require.NoError(t, err)
	var sealed bytes.Buffer
	w, err := pki.SealTo(reply.Recipient, &sealed)
	require.NoError(t, err)
	_, err = io.WriteString(w, "for workers")
	require.NoError(t, errors.Join(err, w.Close()))
	opened, err := a.Key.Open(&sealed)
	require.NoError(t, err)
	text, err := io.ReadAll(opened)
	require.NoError(t, err)
	require.Equal(t, "for workers", string(text))
}

// An authority that nobody can open keeps a cluster from being changed, but not from
// being taken down.
func TestAuthorityThatCannotBeOpened(t *testing.T) {
	for name, sealed := range map[string]string{"damaged": "nonsense", "sealed by another fleet": otherFleets(t)} {
		t.Run(name, func(t *testing.T) {
			a := &Authorities{region(t)}
			require.NoError(t, a.Store.Put(t.Context(), authorityKey("orders", "uid", 0), strings.NewReader(sealed), int64(len(sealed))))
			var obs fleet.Observation
			require.Error(t, a.stored(t.Context(), rotate.Operation, false, &obs))
			down := operation()
			down.Kind = fleet.DecommissionCluster
			require.NoError(t, a.stored(t.Context(), down, false, &obs))
			require.True(t, obs.Authority && obs.Secrets)
			must(t, a.DestroyAuthority)
			require.NoError(t, a.stored(t.Context(), down, false, &obs))
			require.False(t, obs.Authority || obs.Secrets)
		})
	}
}

func otherFleets(t *testing.T) string {
	t.Helper()
	other, err := pki.GenerateFleetKey()
	require.NoError(t, err)
	authority, err := pki.NewAuthority("orders", "uid", time.Now())
	require.NoError(t, err)
	sealed, err := authority.Seal(other)
	require.NoError(t, err)
	return string(sealed)
}

func TestVersionsAreToldFromOtherObjects(t *testing.T) {
	prefix := secretsPrefix("orders", "uid")
	for _, version := range []int{0, 1, 12, 99999, 123456} {
		require.Equal(t, version, versionIn(authorityKey("orders", "uid", version), prefix))
	}
	for _, key := range []string{"authority", "authority-.age", "authority-0.age", "authority--1.age", "authority-x.age", "clients/abc/20260101T000000Z", "other.age"} {
		require.Equal(t, -1, versionIn(prefix+key, prefix), key)
	}
}
