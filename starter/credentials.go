package starter

import (
	"context"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// certificateTimeout bounds signing: one read of the sealed authority.
const certificateTimeout = time.Minute

// Credentials has a client's certificate request (PEM) signed by a cluster's own
// authority. The private key stays with the caller: only the request travels. The
// certificate carries name and is good for validity.
func (c *Client) Credentials(ctx context.Context, cluster, name string, csrPEM []byte, validity time.Duration) (workflows.CertificateReply, error) {
	view, err := c.Describe(ctx, cluster)
	if err != nil {
		return workflows.CertificateReply{}, err
	}
	if view.Summary.Phase == fleet.PhaseGone {
		return workflows.CertificateReply{}, fleet.Errorf(fleet.NotFound, cluster, "is decommissioned: there is nothing left to connect to")
	}
	var reply workflows.CertificateReply
	err = c.run(ctx, "certificate/"+cluster, "certificate for "+cluster, certificateTimeout,
		region{view.Summary.Provider, view.Summary.Region}, workflows.CertificateType,
		workflows.CertificateRequest{
			Cluster: cluster, UID: view.Summary.UID, Provider: view.Summary.Provider, Region: view.Summary.Region,
			CSR: string(csrPEM), Name: name, Validity: fleet.Duration(validity),
			Elsewhere: view.Elsewhere,
		}, &reply)
	if err == nil && len(reply.Endpoints) == 0 {
		reply.Endpoints = view.Endpoints
	}
	return reply, err
}

// Recipient says whom to seal to what only the workers of a region may read.
func (c *Client) Recipient(ctx context.Context, provider, regionName string) (string, error) {
	var reply workflows.RecipientReply
	err := c.run(ctx, "recipient/"+provider+"/"+regionName, "fleet key of "+regionName, certificateTimeout,
		region{provider, regionName}, workflows.RecipientType, workflows.RecipientRequest{Provider: provider, Region: regionName}, &reply)
	return reply.Recipient, err
}
