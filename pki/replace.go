package pki

import (
	"fmt"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// An authority is replaced in three moves, so that at no moment somebody meets a
// certificate that they do not trust: Extend, and everybody learns to trust the
// next one; Switch, and everybody gets certificates of the next one; Retire, and
// nobody trusts the former one any more. Each move gives another Authority, or
// the same one when it was made already.

// Extend makes the next authority, valid for AuthorityValidity from now, beside
// the one that signs. Errors: fleet.Blocked while the last replacement has not
// ended.
func (a *Authority) Extend(now time.Time) (*Authority, error) {
	switch {
	case a.other == nil:
	case a.switched:
		return nil, fleet.Errorf(fleet.Blocked, a.resource(), "was replaced before, and the former one is still trusted").
			WithRemedy("drop that one first")
	default:
		return a, nil
	}
	// Two authorities with one name are told apart by their keys' identifiers alone,
	// which not every TLS library minds.
	name := fmt.Sprintf("flotilla %s %s %s", a.cluster, a.uid, now.UTC().Format("20060102T150405Z"))
	next, err := newIssuer(a.cluster, a.uid, name, now)
	if err != nil {
		return nil, err
	}
	signer := *a.signer
	if signer.clientsUntil.IsZero() {
		// It signed before records were kept, for this long at most.
		signer.clientsUntil = now.Add(MaxClientValidity)
	}
	return &Authority{cluster: a.cluster, uid: a.uid, signer: &signer, other: next}, nil
}

// Switch has the next authority sign from now on; the former one stays trusted.
// Errors: fleet.Blocked without a next one.
func (a *Authority) Switch() (*Authority, error) {
	switch {
	case a.other == nil:
		return nil, fleet.Errorf(fleet.Blocked, a.resource(), "there is no second one that could sign").
			WithRemedy("have a new one trusted first")
	case a.switched:
		return a, nil
	}
	return &Authority{cluster: a.cluster, uid: a.uid, signer: a.other, other: a.signer, switched: true}, nil
}

// Retire forgets the authority that does not sign, with its key.
func (a *Authority) Retire() *Authority {
	if a.other == nil {
		return a
	}
	return &Authority{cluster: a.cluster, uid: a.uid, signer: a.signer}
}

// Trust names what is trusted. OtherUntil is zero before a switch; after it, it does
// not count the client certificates that whoever has them signed keeps a record of:
// for one that was made here, it is when that began.
func (a *Authority) Trust() fleet.Trust {
	trust := fleet.Trust{Signer: Fingerprint(a.signer.cert)}
	if a.other != nil {
		trust.Other, trust.Switched = Fingerprint(a.other.cert), a.switched
		if a.switched {
			trust.OtherUntil = a.other.clientsUntil.UTC()
		}
	}
	return trust
}
