package activities

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/node"
	"github.com/flotilla-etcd/flotilla/pki"
	"github.com/flotilla-etcd/flotilla/plan"
)

// strangers is a cluster that something else created, on hosts that carry no tags of
// ours, with an authority of its own.
type strangers struct {
	t         *testing.T
	r         Region
	root      string // of the local provider
	version   string
	authority *x509.Certificate
	key       *ecdsa.PrivateKey
	members   []fleet.AdoptedMember
}

func (s *strangers) pem(kind string, bytes []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes})
}

func (s *strangers) keyPEM(key *ecdsa.PrivateKey) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(s.t, err)
	return s.pem("PRIVATE KEY", der)
}

// newStrangers buys hosts and disks by another name and makes an authority.
func newStrangers(ctx context.Context, t *testing.T, r Region, root string, names ...string) *strangers {
	t.Helper()
	s := &strangers{t: t, r: r, root: root, version: newest(t, r.Catalogue, "3.6")}
	var err error
	s.key, err = ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	require.NoError(t, err)
	s.authority = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "an authority of their own"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(5, 0, 0), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	s.authority.Raw, err = x509.CreateCertificate(crand.Reader, s.authority, s.authority, &s.key.PublicKey, s.key)
	require.NoError(t, err)
	s.authority, err = x509.ParseCertificate(s.authority.Raw)
	require.NoError(t, err)
	compute := &Compute{r}
	for i, name := range names {
		zone := string(rune('a' + i))
		host, err := r.Provider.LaunchHost(ctx, iaas.LaunchHostRequest{Token: "their-host-" + name, Name: name, Zone: zone, Type: "small"})
		require.NoError(t, err)
		disk, err := r.Provider.CreateDisk(ctx, iaas.CreateDiskRequest{Token: "their-disk-" + name, Name: name, Zone: zone, Size: 20 * fleet.GiB, Category: "ssd"})
		require.NoError(t, err)
		_, err = compute.LaunchHost(ctx, fleet.StepRequest{Step: fleet.Step{HostID: host.ID}})
		require.NoError(t, err)
		_, err = compute.AttachDisk(ctx, fleet.StepRequest{Step: fleet.Step{HostID: host.ID, DiskID: disk.ID}})
		require.NoError(t, err)
		host, err = r.Provider.Host(ctx, host.ID)
		require.NoError(t, err)
		at := plan.EndpointOf(host)
		at.Member = name
		s.members = append(s.members, fleet.AdoptedMember{
			Name: name, HostID: host.ID, DiskID: disk.ID, Endpoint: at, DataDir: "/disks/" + disk.ID + "/theirs",
		})
	}
	return s
}

// start runs their members, as a script of theirs would.
func (s *strangers) start(ctx context.Context) {
	var initial []string
	for _, m := range s.members {
		initial = append(initial, m.Name+"="+m.Endpoint.PeerURL())
	}
	hosts := &Hosts{s.r}
	for i, m := range s.members {
		require.NoError(s.t, hosts.install(ctx, fleet.Host{ID: m.HostID, Name: m.Name}, &fleet.HostReport{Platform: node.Platform()}, s.version))
		key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
		require.NoError(s.t, err)
		cert, err := x509.CreateCertificate(crand.Reader, &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 2)), Subject: pkix.Name{CommonName: "server " + m.Name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0), IPAddresses: []net.IP{net.ParseIP(m.Endpoint.Address)},
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}, s.authority, &key.PublicKey, s.key)
		require.NoError(s.t, err)
		dir, fs := s.t.TempDir(), filepath.Join(s.root, "hosts", m.HostID, "fs")
		for file, data := range map[string][]byte{"ca": s.pem("CERTIFICATE", s.authority.Raw), "cert": s.pem("CERTIFICATE", cert), "key": s.keyPEM(key)} {
			require.NoError(s.t, os.WriteFile(filepath.Join(dir, file), data, 0o600))
		}
		etcd := exec.Command(filepath.Join(fs, "opt/flotilla/etcd", s.version, "etcd"),
			"--name="+m.Name, "--data-dir="+fs+m.DataDir, "--initial-cluster="+strings.Join(initial, ","), "--initial-cluster-token=theirs",
			"--listen-client-urls="+m.Endpoint.ClientURL(), "--advertise-client-urls="+m.Endpoint.ClientURL(),
			"--listen-peer-urls="+m.Endpoint.PeerURL(), "--initial-advertise-peer-urls="+m.Endpoint.PeerURL(),
			"--client-cert-auth", "--trusted-ca-file="+dir+"/ca", "--cert-file="+dir+"/cert", "--key-file="+dir+"/key",
			"--peer-client-cert-auth", "--peer-trusted-ca-file="+dir+"/ca", "--peer-cert-file="+dir+"/cert", "--peer-key-file="+dir+"/key",
			"--peer-skip-client-san-verification")
		require.NoError(s.t, etcd.Start())
		ended := make(chan struct{})
		go func() { _ = etcd.Wait(); close(ended) }()
		s.t.Cleanup(func() { _ = etcd.Process.Kill(); <-ended })
	}
}

// A cluster that something else created is taken over while it serves, member by
// member, and then is one of ours.
func TestClusterIsAdopted(t *testing.T) {
	r := hosted(t)
	r.Catalogue = "../bin/releases.yaml"
	s := &stand{t: t, Region: r, op: operation()}
	var theirs *strangers
	_, err := as(t, func(ctx context.Context) error {
		theirs = newStrangers(ctx, t, r, hostedRoot(r), "alpha", "beta", "gamma")
		theirs.start(ctx)
		return nil
	})
	require.NoError(t, err)
	sealed, err := pki.SealAuthority(r.Key.Recipient(), theirs.pem("CERTIFICATE", theirs.authority.Raw), theirs.keyPEM(theirs.key), time.Now())
	require.NoError(t, err)
	s.op.Kind, s.op.Spec.Etcd.Version = fleet.AdoptCluster, theirs.version
	s.op.Spec.Policy = fleet.Policy{Soak: fleet.Duration(time.Second), ReadyWithin: fleet.Duration(2 * time.Minute)}
	s.op.Options.Adopt = &fleet.Adoption{Members: theirs.members, Authority: sealed}

	wave := s.look(fleet.Memory{}).Decision.Wave
	require.Len(t, wave, 4, "their authority, and three hosts, which carry no tags yet")
	look := s.run(60)
	obs := look.Observation
	require.Len(t, obs.Members, 3)
	for _, name := range []string{"alpha", "beta", "gamma"} {
		m := obs.Host(name).Report.Find(name)
		require.Equal(t, fleet.MemberRunning, m.State)
		require.False(t, m.Configured.AnyPeer, "all members have certificates of ours by now")
		require.True(t, obs.Member(name).Answers)
	}
	require.Len(t, look.Endpoints, 3)
}

func TestWhatIsAnothersIsNotAdopted(t *testing.T) {
	c := &Compute{hosted(t)}
	_, err := as(t, func(ctx context.Context) error {
		host, disk := bought(ctx, t, c, "orders-1")
		request := fleet.StepRequest{Operation: operation(), Step: fleet.Step{Member: "orders-1", HostID: host.ID, DiskID: disk.ID}}
		for range 2 {
			_, err := c.AdoptHost(ctx, request)
			require.NoError(t, err, "it is ours already")
		}
		request.Operation.UID = "another"
		_, err := c.AdoptHost(ctx, request)
		require.Equal(t, "blocked, final", kindAndFinality(t, err))
		require.ErrorContains(t, err, "host "+host.ID+": it carries the tag flotilla:uid=uid of something else")
		return nil
	})
	require.NoError(t, err)
}
