package harness

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/pki"
	"github.com/flotilla-etcd/flotilla/starter"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// Foreign is a cluster that something else created: its hosts and disks carry no tags
// of ours, its members have names of their own, and a script on each host has started
// them with certificates of an authority that we know nothing of.
type Foreign struct {
	e *Env
	// Spec describes it as it is, and Members say where it is.
	Spec    fleet.Spec
	Members []fleet.AdoptedMember
	// CertificateFile and KeyFile are those of its authority.
	CertificateFile, KeyFile string
	authority                *x509.Certificate
	key                      crypto.Signer
	serial                   int64
	client                   tls.Certificate
}

// Theirs is part of the path of a program that something else installed on a host.
const Theirs = "opt/theirs"

// theirTag is what marks the hosts and disks of a foreign cluster.
const theirTag = "made-by"

// StartForeign has something else create a cluster of the members with these names, and
// waits until each of them serves.
func (e *Env) StartForeign(spec fleet.Spec, members ...string) *Foreign {
	e.t.Helper()
	f := &Foreign{e: e, Spec: spec}
	f.makeAuthority()
	for i, name := range members {
		f.buy(name, spec.Zones[i%len(spec.Zones)])
	}
	for _, m := range f.Members {
		f.start(m)
	}
	var err error
	f.client, err = tls.X509KeyPair(f.sign("an old program", nil))
	require.NoError(e.t, err)
	for _, m := range f.Members {
		Eventually(e.t, m.Name+" serves", func(ctx context.Context) error {
			client, err := f.dial(ctx, m.Endpoint.ClientURL())
			if err != nil {
				return err
			}
			defer client.Close()
			timed, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			_, err = client.Get(timed, "anything")
			return err
		})
	}
	return f
}

// Dial connects with a certificate that was signed before we knew of the cluster.
func (f *Foreign) Dial(ctx context.Context) (*clientv3.Client, error) {
	var endpoints []string
	for _, m := range f.Members {
		endpoints = append(endpoints, m.Endpoint.ClientURL())
	}
	return f.dial(ctx, endpoints...)
}

// Hosts are the IDs of its hosts.
func (f *Foreign) Hosts() (ids []string) {
	for _, m := range f.Members {
		ids = append(ids, m.HostID)
	}
	return ids
}

func (f *Foreign) dial(ctx context.Context, endpoints ...string) (*clientv3.Client, error) {
	pool := x509.NewCertPool()
	pool.AddCert(f.authority)
	return clientv3.New(clientv3.Config{
		Context: ctx, Endpoints: endpoints, DialTimeout: 5 * time.Second, Logger: zap.NewNop(),
		TLS: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, Certificates: []tls.Certificate{f.client}},
	})
}

// BeginAdoption asks to take it over, with its authority sealed to the region's workers.
func (e *Env) BeginAdoption(f *Foreign, options fleet.Options) (*Running, error) {
	recipient, err := e.Client.Recipient(e.t.Context(), f.Spec.Provider, f.Spec.Region)
	if err != nil {
		return nil, err
	}
	certificate, err := os.ReadFile(f.CertificateFile)
	if err != nil {
		return nil, err
	}
	key, err := os.ReadFile(f.KeyFile)
	if err != nil {
		return nil, err
	}
	sealed, err := pki.SealAuthority(recipient, certificate, key, time.Now())
	if err != nil {
		return nil, err
	}
	return e.begin(f.Spec.Name, func(ctx context.Context, request starter.Request) (workflows.SubmitReply, error) {
		request.Options = options
		request.Options.Adopt = &fleet.Adoption{Members: f.Members, Authority: sealed}
		return e.Client.Adopt(ctx, f.Spec, request)
	})
}

// Document is what a person writes to have it adopted.
func (f *Foreign) Document() string {
	var b strings.Builder
	s := f.Spec
	fmt.Fprintf(&b, "name: %s\nprovider: %s\nregion: %s\nzones: [%s]\nvoters: %d\netcd: { version: %s }\n",
		s.Name, s.Provider, s.Region, strings.Join(s.Zones, ", "), s.Voters, s.Etcd.Version)
	fmt.Fprintf(&b, "machine: { type: %s, disk: { size: %s, category: %s } }\n", s.Machine.Type, s.Machine.Disk.Size, s.Machine.Disk.Category)
	fmt.Fprintf(&b, "policy: { soak: %s }\nmembers:\n", s.Policy.Soak)
	for _, m := range f.Members {
		fmt.Fprintf(&b, "  - name: %s\n    host: %s\n    disk: %s\n    dataDir: %s\n", m.Name, m.HostID, m.DiskID, m.DataDir)
		fmt.Fprintf(&b, "    endpoint: { address: %s, clientPort: %d, peerPort: %d }\n", m.Endpoint.Address, m.Endpoint.ClientPort, m.Endpoint.PeerPort)
	}
	return b.String()
}

// makeAuthority makes a root as openssl or cfssl would.
func (f *Foreign) makeAuthority() {
	t := f.e.t
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "an authority of their own"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(5, 0, 0), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, root, root, key.Public(), key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	f.authority, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	f.key, f.serial = key, 1
	f.CertificateFile, f.KeyFile = filepath.Join(f.e.Dir, f.Spec.Name+"-ca.crt"), filepath.Join(f.e.Dir, f.Spec.Name+"-ca.key")
	require.NoError(t, os.WriteFile(f.CertificateFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(f.KeyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}

// sign gives a certificate and its key, for a server at an address or a client.
func (f *Foreign) sign(name string, at net.IP) (certPEM, keyPEM []byte) {
	t := f.e.t
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	f.serial++
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(f.serial), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if at != nil {
		leaf.IPAddresses, leaf.ExtKeyUsage = []net.IP{at}, append(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, f.authority, key.Public(), f.key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
}

// buy buys a host with a disk and waits until it has it.
func (f *Foreign) buy(name, zone string) {
	t, ctx, p := f.e.t, f.e.t.Context(), f.e.Provider
	t.Helper()
	tags, m := iaas.Tags{theirTag: "somebody else"}, f.Spec.Machine
	host, err := p.LaunchHost(ctx, iaas.LaunchHostRequest{Token: "host-of-" + name, Name: name, Zone: zone, Type: m.Type, Tags: tags})
	require.NoError(t, err)
	disk, err := p.CreateDisk(ctx, iaas.CreateDiskRequest{Token: "disk-of-" + name, Name: name, Zone: zone, Size: m.Disk.Size, Category: m.Disk.Category, Tags: tags})
	require.NoError(t, err)
	Eventually(t, "the host of "+name+" runs, with its disk", func(ctx context.Context) error {
		if host, err = p.Host(ctx, host.ID); err != nil || host.State != fleet.HostRunning {
			return fmt.Errorf("the host is %s: %w", host.State, err)
		}
		if disk, err = p.Disk(ctx, disk.ID); err == nil && disk.State == fleet.DiskAvailable {
			err = p.AttachDisk(ctx, disk.ID, host.ID)
		}
		if err != nil || disk.State != fleet.DiskInUse {
			return fmt.Errorf("the disk is %s: %w", disk.State, err)
		}
		return nil
	})
	f.Members = append(f.Members, fleet.AdoptedMember{
		Name: name, HostID: host.ID, DiskID: disk.ID, DataDir: "/disks/" + disk.ID + "/etcd",
		Endpoint: fleet.Endpoint{Member: name, Address: host.Address, ClientPort: host.Ports.First, PeerPort: host.Ports.First + 1},
	})
}

// start runs a member by a script on its host, and waits until the script is done. What
// dials on one machine comes from 127.0.0.1, which is in nobody's certificate.
func (f *Foreign) start(m fleet.AdoptedMember) {
	t, ctx := f.e.t, f.e.t.Context()
	t.Helper()
	text, err := os.ReadFile(f.e.Releases)
	require.NoError(t, err)
	catalogue, err := fleet.ParseCatalogue(text, f.e.Releases)
	require.NoError(t, err)
	archive, err := catalogue.Find(f.Spec.Etcd.Version, runtime.GOOS+"/"+runtime.GOARCH)
	require.NoError(t, err)

	etc := filepath.Join(f.e.Dir, "local", "hosts", m.HostID, "fs", "etc", "theirs")
	require.NoError(t, os.MkdirAll(etc, 0o700))
	certificate, key := f.sign("server "+m.Name, net.ParseIP(m.Endpoint.Address))
	root, err := os.ReadFile(f.CertificateFile)
	require.NoError(t, err)
	for file, data := range map[string][]byte{"ca": root, "cert": certificate, "key": key} {
		require.NoError(t, os.WriteFile(filepath.Join(etc, file), data, 0o600))
	}
	var initial []string
	for _, other := range f.Members {
		initial = append(initial, other.Name+"="+other.Endpoint.PeerURL())
	}
	script := fmt.Sprintf(`set -e
mkdir -p opt/theirs
tar -xzf %q -C opt/theirs --strip-components 1
tls="$FLOTILLA_NODE_ROOT/etc/theirs"
setsid opt/theirs/etcd --name=%s --data-dir="$FLOTILLA_NODE_ROOT%s" --initial-cluster=%s --initial-cluster-token=theirs \
  --listen-client-urls=%[5]s --advertise-client-urls=%[5]s --listen-peer-urls=%[6]s --initial-advertise-peer-urls=%[6]s \
  --client-cert-auth --trusted-ca-file="$tls/ca" --cert-file="$tls/cert" --key-file="$tls/key" \
  --peer-client-cert-auth --peer-trusted-ca-file="$tls/ca" --peer-cert-file="$tls/cert" --peer-key-file="$tls/key" \
  --peer-skip-client-san-verification \
  >var/theirs.log 2>&1 </dev/null &
`, strings.TrimPrefix(archive.URL, "file://"), m.Name, m.DataDir, strings.Join(initial, ","), m.Endpoint.ClientURL(), m.Endpoint.PeerURL())
	sent, err := f.e.Provider.RunCommand(ctx, iaas.CommandRequest{HostID: m.HostID, Token: "start-" + m.Name, Script: script, Timeout: Patience})
	require.NoError(t, err)
	Eventually(t, m.Name+" is started", func(ctx context.Context) error {
		c, err := f.e.Provider.Command(ctx, m.HostID, sent.ID)
		if err == nil && c.State != iaas.CommandSucceeded {
			err = fmt.Errorf("the script is %s: %s", c.State, c.Stderr)
		}
		return err
	})
}
