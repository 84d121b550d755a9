package activities

import (
	"context"
	"fmt"
	"io"
	"time"

	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/etcdadmin"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/pki"
	"github.com/flotilla-etcd/flotilla/plan"
)

// Authorities keeps the certificate authority of each cluster: made once, sealed
// with the fleet's key, in the object store.
type Authorities struct{ Region }

// Limits of a client certificate's life: shorter is of no use to a person,
// longer than a quarter is a key that will be forgotten somewhere.
const (
	minValidity = time.Minute
	maxValidity = 90 * 24 * time.Hour
)

// maxAuthority bounds what is read as a sealed authority; it is about 1 KiB.
const maxAuthority = 64 << 10

func authorityKey(cluster, uid string) string {
	return fmt.Sprintf("clusters/%s/%s/authority.age", cluster, uid)
}

// CreateAuthority makes a cluster's certificate authority if there is none. Of
// two attempts at once, the first that stores its own wins.
func (a *Authorities) CreateAuthority(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	authority, err := pki.NewAuthority(r.Operation.Cluster, r.Operation.UID, time.Now())
	if err != nil {
		return note("", err)
	}
	sealed, err := authority.Seal(a.Key)
	if err != nil {
		return note("", err)
	}
	err = a.Store.PutIfAbsent(ctx, authorityKey(r.Operation.Cluster, r.Operation.UID), sealed)
	if fleet.Is(err, fleet.Conflict) {
		return note("was there already", nil)
	}
	return note("sealed in "+a.Store.String(), err)
}

// DestroyAuthority deletes everything sealed for a cluster. Certificates that it
// signed are good for nothing from then on: no server is left that trusts them.
func (a *Authorities) DestroyAuthority(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	return note("", a.Store.Delete(ctx, authorityKey(r.Operation.Cluster, r.Operation.UID)))
}

// IssueCertificate signs a client's request and says where the cluster is.
func (a *Authorities) IssueCertificate(ctx context.Context, r fleet.CertificateRequest) (fleet.CertificateReply, error) {
	return reply(a.issue(ctx, r))
}

func (a *Authorities) issue(ctx context.Context, r fleet.CertificateRequest) (fleet.CertificateReply, error) {
	validity := time.Duration(r.Validity)
	if validity < minValidity || validity > maxValidity {
		return fleet.CertificateReply{}, fleet.Errorf(fleet.Invalid, "client certificate",
			"a validity of %s is not between %s and %s", validity, minValidity, maxValidity)
	}
	authority, err := a.authority(ctx, r.Cluster, r.UID)
	if err != nil {
		return fleet.CertificateReply{}, err
	}
	now := time.Now()
	certificate, err := authority.SignClient([]byte(r.CSR), r.Name, validity, now)
	if err != nil {
		return fleet.CertificateReply{}, err
	}
	obs, err := a.resources(ctx, r.Cluster)
	if err != nil {
		return fleet.CertificateReply{}, err
	}
	var endpoints []fleet.Endpoint
	for _, h := range obs.Hosts {
		if h.State == fleet.HostRunning {
			endpoints = append(endpoints, plan.EndpointOf(h.Host))
		}
	}
	return fleet.CertificateReply{
		CA: string(authority.CertificatePEM()), Certificate: string(certificate),
		Expires: now.Add(validity), Endpoints: endpoints,
	}, nil
}

// FleetRecipient gives the public part of the fleet's key, for who has to send
// something that workers alone may read.
func (a *Authorities) FleetRecipient(context.Context) (fleet.FleetRecipientReply, error) {
	return fleet.FleetRecipientReply{Recipient: a.Key.Recipient()}, nil
}

// authority opens a cluster's authority.
func (r Region) authority(ctx context.Context, cluster, uid string) (*pki.Authority, error) {
	object, err := r.Store.Get(ctx, authorityKey(cluster, uid))
	if fleet.Is(err, fleet.NotFound) {
		return nil, fleet.Errorf(fleet.NotFound, "cluster "+cluster, "has no certificate authority: it is not created yet, or gone")
	}
	if err != nil {
		return nil, err
	}
	defer object.Close()
	sealed, err := io.ReadAll(io.LimitReader(object, maxAuthority))
	if err != nil {
		return nil, err
	}
	return pki.OpenAuthority(sealed, r.Key)
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
		Endpoints: urls, TLS: config, Log: r.Log.With(zap.String("cluster", cluster)),
	})
}
