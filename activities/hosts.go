package activities

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/node"
)

// Hosts does what is done on a host, through the host side.
type Hosts struct{ Region }

// PrepareHost brings everything to a host that its member needs to start: the
// release, the member's directory, keys that are made there, and certificates
// for them. A host that ended is fleet.Lost.
func (h *Hosts) PrepareHost(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	text, err := h.prepare(ctx, r)
	return note(text, h.orEnded(ctx, r.Step, err))
}

func (h *Hosts) prepare(ctx context.Context, r fleet.StepRequest) (string, error) {
	op, step := r.Operation, r.Step
	host, err := h.Provider.Host(ctx, step.HostID)
	if err != nil {
		return "", err
	}
	report, err := call[fleet.HostReport](ctx, h.Provider, host, node.VerbReport, nil)
	if err != nil {
		return "", err
	}
	if err := h.install(ctx, host, report, versionOf(op, step)); err != nil {
		return "", err
	}
	certified, err := h.certify(ctx, op, step, host)
	return fmt.Sprintf("etcd %s, %s", versionOf(op, step), certified), err
}

// RenewCertificates signs a member's certificates anew, for the keys that it has, and
// brings it the authorities that are trusted now. Its process serves the new leaves
// from the next handshake on; it trusts the new authorities once it is restarted.
func (h *Hosts) RenewCertificates(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	host, err := h.Provider.Host(ctx, r.Step.HostID)
	if err != nil {
		return note("", err)
	}
	return note(h.certify(ctx, r.Operation, r.Step, host))
}

// certify has a host make requests for its member's keys, which are made if there are
// none, signs them, and brings the certificates. It says until when they are valid.
func (h *Hosts) certify(ctx context.Context, op fleet.Operation, step fleet.Step, host fleet.Host) (string, error) {
	requests, err := call[node.PrepareResult](ctx, h.Provider, host, node.VerbPrepare, node.PrepareRequest{
		Cluster: op.Cluster, UID: op.UID, Member: step.Member, DiskID: fleet.Unqualified(step.DiskID),
	})
	if err != nil {
		return "", err
	}
	certificates, err := h.sign(ctx, op, step.Member, host, requests)
	if err != nil {
		return "", err
	}
	member, err := call[fleet.MemberReport](ctx, h.Provider, host, node.VerbCertify, certificates)
	if err != nil {
		return "", err
	}
	return "certified until " + member.CertifiedUntil.Format(time.DateOnly), nil
}

func (h *Hosts) install(ctx context.Context, host fleet.Host, report *fleet.HostReport, version string) error {
	catalogue, err := h.catalogue()
	if err != nil {
		return err
	}
	artifact, err := catalogue.Find(version, report.Platform)
	if err != nil {
		return err
	}
	_, err = call[node.InstallResult](ctx, h.Provider, host, node.VerbInstall, node.InstallRequest{
		Version: version, URL: artifact.URL, SHA256: artifact.SHA256,
	})
	return err
}

func (h *Hosts) sign(ctx context.Context, op fleet.Operation, member string, host fleet.Host, requests *node.PrepareResult) (*node.CertifyRequest, error) {
	authority, err := h.authority(ctx, op.Cluster, op.UID)
	if err != nil {
		return nil, err
	}
	address := net.ParseIP(host.Address)
	if address == nil {
		return nil, fleet.Errorf(fleet.Unavailable, "host "+host.Name, "has no IP address yet (%q)", host.Address)
	}
	now := time.Now()
	var names []string
	if record := op.Spec.Clients.Record; record != "" {
		names = append(names, record)
	}
	server, err := authority.SignServer([]byte(requests.ServerCSR), member, []net.IP{address}, now, names...)
	if err != nil {
		return nil, err
	}
	peer, err := authority.SignPeer([]byte(requests.PeerCSR), member, []net.IP{address}, now)
	if err != nil {
		return nil, err
	}
	return &node.CertifyRequest{
		Member: member, CA: string(authority.CertificatePEM()), ServerCert: string(server), PeerCert: string(peer),
		Generation: op.Generation,
	}, nil
}
