package activities

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/etcdadmin"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/pki"
)

// Authorities keeps the certificate authority of each cluster: made once, replaced
// by another one on request, sealed with the fleet's key, in the object store.
type Authorities struct{ Region }

// minValidity is the shortest life of a client certificate that is of use to a person.
const minValidity = time.Minute

// CreateAuthority makes a cluster's certificate authority if there is none. Of
// two attempts at once, the first that stores its own wins.
func (a *Authorities) CreateAuthority(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	authority, err := pki.NewAuthority(r.Operation.Cluster, r.Operation.UID, time.Now())
	if err != nil {
		return note("", err)
	}
	err = a.storeAuthority(ctx, r.Operation, 0, authority)
	if fleet.Is(err, fleet.Conflict) {
		return note("was there already", nil)
	}
	return note("sealed in "+a.Store.String(), err)
}

// ImportAuthority stores the authority that came with an adoption. Another one that
// is there already is not overwritten: there may be certificates of it.
func (a *Authorities) ImportAuthority(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	return note(a.importAuthority(ctx, r.Operation))
}

func (a *Authorities) importAuthority(ctx context.Context, op fleet.Operation) (string, error) {
	resource := "certificate authority of " + op.Cluster
	if op.Options.Adopt == nil || len(op.Options.Adopt.Authority) == 0 {
		return "", fleet.Errorf(fleet.Invalid, resource, "did not come with the request")
	}
	imported, err := pki.OpenImported(op.Options.Adopt.Authority, a.Key, op.Cluster, op.UID, time.Now())
	if err != nil {
		return "", err
	}
	name := imported.Trust().Signer
	err = a.storeAuthority(ctx, op, 0, imported)
	if !fleet.Is(err, fleet.Conflict) {
		return name + ", sealed in " + a.Store.String(), err
	}
	present, err := a.authority(ctx, op.Cluster, op.UID)
	if err != nil {
		return "", err
	}
	if trust := present.Trust(); name != trust.Signer && name != trust.Other {
		return "", fleet.Errorf(fleet.Blocked, resource, "is %s, which is there already, and not %s, which came with the request", trust.Signer, name).
			WithRemedy("adopt the cluster with the authority that it has, or under another name")
	}
	return name + " was there already", nil
}

// ExtendAuthority makes a second authority beside the first, to be trusted as well.
func (a *Authorities) ExtendAuthority(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	before, after, err := a.changeAuthority(ctx, r.Operation, func(before *pki.Authority) (*pki.Authority, error) {
		return before.Extend(time.Now())
	})
	switch {
	case err != nil:
		return note("", err)
	case after == before:
		return note(after.Trust().Other+" was there already", nil)
	}
	return note(fmt.Sprintf("%s beside %s", after.Trust().Other, after.Trust().Signer), nil)
}

// SwitchAuthority has the second authority sign from now on.
func (a *Authorities) SwitchAuthority(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	_, after, err := a.changeAuthority(ctx, r.Operation, (*pki.Authority).Switch)
	if err != nil {
		return note("", err)
	}
	return note(fmt.Sprintf("%s signs, %s is still trusted", after.Trust().Signer, after.Trust().Other), nil)
}

// RetireAuthority forgets the authority that signed before the switch, with its key,
// once no client's certificate of it is valid any more.
func (a *Authorities) RetireAuthority(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	return note(a.retire(ctx, r.Operation))
}

func (a *Authorities) retire(ctx context.Context, op fleet.Operation) (string, error) {
	before, after, err := a.changeAuthority(ctx, op, func(before *pki.Authority) (*pki.Authority, error) {
		// Read after the version: whoever may still sign with the former authority has
		// its record there by now.
		trust, err := a.trust(ctx, op, before)
		if err != nil {
			return nil, err
		}
		return before.Retire(), retirable(op.Cluster, trust, time.Now())
	})
	switch {
	case err != nil:
		return "", err
	case before == after:
		return "was forgotten already", nil
	}
	former := before.Trust().Other
	// Nobody asks for these any more; a fingerprint never comes back.
	records, err := a.Store.List(ctx, recordsPrefix(op.Cluster, op.UID, former))
	for _, o := range records {
		if err == nil {
			err = a.Store.Delete(ctx, o.Key)
		}
	}
	return former + " is forgotten", err
}

// retirable says why the authority beside the one that signs may not be forgotten.
func retirable(cluster string, trust fleet.Trust, now time.Time) error {
	resource := "certificate authority of " + cluster
	switch {
	case trust.Other != "" && !trust.Switched:
		return fleet.Errorf(fleet.Blocked, resource, "%s is the next one: it has not signed yet", trust.Other).
			WithRemedy("have it sign before the one before it is dropped")
	case now.Before(trust.OtherUntil):
		return fleet.Errorf(fleet.Blocked, resource, "clients have certificates of %s that are valid until %s, for another %s", trust.Other,
			trust.OtherUntil.UTC().Format("2 January 2006 15:04:05 UTC"), fleet.Duration(max(trust.OtherUntil.Sub(now).Round(time.Second), time.Second))).
			WithRemedy("drop it after that")
	}
	return nil
}

// DestroyAuthority deletes everything sealed for a cluster. Certificates that it
// signed are good for nothing from then on: no server is left that trusts them.
func (a *Authorities) DestroyAuthority(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	return note(a.destroy(ctx, r.Operation))
}

// destroy begins with the copy: where the first store has none, whoever copies finds none
// to put back. A second store that is away keeps nobody from decommissioning.
func (a *Authorities) destroy(ctx context.Context, op fleet.Operation) (said string, err error) {
	if a.Second != nil {
		_, err := within(ctx, copyWithin, "deleting the copy in the second store", func(ctx context.Context) (struct{}, error) {
			return struct{}{}, keptIn{a.Second, a.Key}.destroy(ctx, op)
		})
		if err != nil && ctx.Err() == nil {
			said = "its sealed copy is LEFT in the second store, below " + secretsPrefix(op.Cluster, op.UID) + ": " + err.Error()
		}
	}
	return said, a.first().destroy(ctx, op)
}

func (s keptIn) destroy(ctx context.Context, op fleet.Operation) error {
	k, err := s.list(ctx, op.Cluster, op.UID)
	if err != nil {
		return err
	}
	// The version that counts goes last: until then, what is left is what it was.
	for _, o := range append(k.others, k.versions...) {
		if err := s.Delete(ctx, o.Key); err != nil {
			return err
		}
	}
	return nil
}

// IssueCertificate signs a client's request and says where the cluster is.
func (a *Authorities) IssueCertificate(ctx context.Context, r fleet.CertificateRequest) (fleet.CertificateReply, error) {
	return reply(a.issue(ctx, r))
}

func (a *Authorities) issue(ctx context.Context, r fleet.CertificateRequest) (fleet.CertificateReply, error) {
	validity := time.Duration(r.Validity)
	if validity < minValidity || validity > pki.MaxClientValidity {
		return fleet.CertificateReply{}, fleet.Errorf(fleet.Invalid, "client certificate",
			"a validity of %s is not between %s and %s", validity, minValidity, pki.MaxClientValidity)
	}
	answer, err := a.sign(ctx, r, validity)
	if err != nil {
		return fleet.CertificateReply{}, err
	}
	answer.Endpoints, err = a.endpoints(ctx, fleet.Operation{Cluster: r.Cluster, UID: r.UID, Elsewhere: r.Elsewhere})
	return answer, err
}

// sign signs a client's request with the authority that signs when the certificate
// is on record; see clientrecords.go.
func (a *Authorities) sign(ctx context.Context, r fleet.CertificateRequest, validity time.Duration) (fleet.CertificateReply, error) {
	authority, err := a.authority(ctx, r.Cluster, r.UID)
	if err != nil {
		return fleet.CertificateReply{}, err
	}
	for {
		now, signer := time.Now(), authority.Trust().Signer
		certificate, err := authority.SignClient([]byte(r.CSR), r.Name, validity, now)
		if err != nil {
			return fleet.CertificateReply{}, err
		}
		err = a.inFirst(ctx, "record of a client's certificate of "+r.Cluster, func(ctx context.Context) error {
			return a.recordClient(ctx, r.Cluster, r.UID, signer, now, validity)
		})
		if err != nil {
			return fleet.CertificateReply{}, err
		}
		if authority, err = a.authority(ctx, r.Cluster, r.UID); err != nil {
			return fleet.CertificateReply{}, err
		}
		if authority.Trust().Signer == signer {
			answer := fleet.CertificateReply{
				CA: string(authority.CertificatePEM()), Certificate: string(certificate), Expires: now.Add(validity),
			}
			if end := authority.ValidUntil(); end.Before(answer.Expires) {
				answer.Expires = end
			}
			return answer, nil
		}
	}
}

// FleetRecipient gives the public part of the fleet's key, for who has to send
// something that workers alone may read.
func (a *Authorities) FleetRecipient(context.Context) (fleet.RecipientReply, error) {
	return fleet.RecipientReply{Recipient: a.Key.Recipient()}, nil
}

// connect gives an admin client of a cluster, with a certificate of its own that
// lives for an hour and is kept nowhere.
func (r Region) connect(ctx context.Context, cluster, uid string, endpoints []fleet.Endpoint) (*etcdadmin.Client, error) {
	authority, err := r.authority(ctx, cluster, uid)
	if err != nil {
		return nil, err
	}
	config, err := authority.ClientTLS("flotilla-worker", time.Now())
	if err != nil {
		return nil, err
	}
	urls := make([]string, len(endpoints))
	for i, e := range endpoints {
		urls[i] = e.ClientURL()
	}
	return etcdadmin.Connect(etcdadmin.Config{
		Endpoints: urls, TLS: config, Log: r.Log.With(zap.String("cluster", cluster)), Calls: r.Calls,
	})
}
