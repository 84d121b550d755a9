package harness

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/pki"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// Access is a stock etcd client of a cluster, by mutual TLS, as a user has one.
type Access struct {
	*clientv3.Client
	Endpoints []string
}

// Connect gets a client certificate signed and connects with it, by these options if any.
func (e *Env) Connect(ctx context.Context, cluster string, dial ...grpc.DialOption) (*Access, error) {
	key, csr, err := pki.NewKeyAndRequest("crash-test")
	if err != nil {
		return nil, err
	}
	var reply workflows.CertificateReply
	// A control plane that died or is busy answers later; what it refuses, it refuses.
	waited := e.Within(Patience, func() error {
		reply, err = e.Client.Credentials(ctx, cluster, "crash-test", csr, time.Hour)
		if fleet.Is(err, fleet.Unavailable) {
			return err
		}
		return nil
	})
	if err = errors.Join(err, waited); err != nil {
		return nil, fmt.Errorf("getting a certificate: %w", err)
	}
	certificate, err := tls.X509KeyPair([]byte(reply.Certificate), key)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(reply.CA))
	a := &Access{}
	for _, endpoint := range reply.Endpoints {
		a.Endpoints = append(a.Endpoints, endpoint.ClientURL())
	}
	a.Client, err = clientv3.New(clientv3.Config{
		Endpoints: a.Endpoints, DialTimeout: 5 * time.Second, DialOptions: dial, Logger: zap.NewNop(),
		TLS: &tls.Config{
			MinVersion: tls.VersionTLS12, RootCAs: pool, Certificates: []tls.Certificate{certificate},
		},
	})
	return a, err
}

// connectToAll connects when clients are told of so many voters: one that is too busy to
// answer the control plane within a second is left out of what they are told.
func (e *Env) connectToAll(ctx context.Context, cluster string, voters int) (a *Access, err error) {
	err = e.Within(Patience, func() (err error) {
		if a, err = e.Connect(ctx, cluster); err != nil {
			return err
		}
		if len(a.Endpoints) != voters {
			return errors.Join(fmt.Errorf("expected that clients are told of %d voters; they are told of %v", voters, a.Endpoints), a.Close())
		}
		return nil
	})
	return a, err
}

// Serves writes to a cluster and reads it back, linearizably, from every member:
// all of these, voters, and no others. It gives the revision of the write.
func (e *Env) Serves(ctx context.Context, cluster string, members ...string) (revision int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	a, err := e.connectToAll(ctx, cluster, len(members))
	if err != nil {
		return 0, err
	}
	defer a.Close()
	list, err := a.MemberList(ctx)
	if err != nil {
		return 0, fmt.Errorf("listing its members: %w", err)
	}
	var names []string
	for _, m := range list.Members {
		if names = append(names, m.Name); m.IsLearner {
			return 0, fmt.Errorf("expected voters only, but %s is a learner", m.Name)
		}
	}
	if !same(names, members) {
		return 0, fmt.Errorf("expected etcd to list %v; it lists %v", members, names)
	}
	put, err := a.Put(ctx, "from-the-test", cluster)
	if err != nil {
		return 0, fmt.Errorf("writing to it: %w", err)
	}
	for _, endpoint := range a.Endpoints {
		a.SetEndpoints(endpoint)
		got, err := a.Get(ctx, "from-the-test")
		if err != nil || len(got.Kvs) != 1 || string(got.Kvs[0].Value) != cluster {
			return 0, fmt.Errorf("expected to read at %s what was written; got %v, %w", endpoint, got, err)
		}
	}
	return put.Header.Revision, nil
}
