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
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
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
	f, err := e.LaunchForeign(spec, members...)
	require.NoError(e.t, err, "something else creates %s", spec.Name)
	return f
}

// LaunchForeign is StartForeign for many clusters at once. Members of different clusters
// may have the same names.
func (e *Env) LaunchForeign(spec fleet.Spec, members ...string) (*Foreign, error) {
	f, ctx := &Foreign{e: e, Spec: spec}, e.t.Context()
	if err := f.makeAuthority(); err != nil {
		return nil, fmt.Errorf("making its authority: %w", err)
	}
	for i, name := range members {
		if err := f.buy(ctx, name, spec.Zones[i%len(spec.Zones)]); err != nil {
			return nil, fmt.Errorf("buying the host of %s: %w", name, err)
		}
	}
	for _, m := range f.Members {
		if err := f.start(ctx, m); err != nil {
			return nil, fmt.Errorf("starting %s: %w", m.Name, err)
		}
	}
	certificate, key, err := f.sign("an old program", nil)
	if err != nil {
		return nil, err
	}
	if f.client, err = tls.X509KeyPair(certificate, key); err != nil {
		return nil, err
	}
	for _, m := range f.Members {
		if err := e.Within(Patience, func() error { return f.serves(ctx, m) }); err != nil {
			return nil, fmt.Errorf("expected that %s serves: %w", m.Name, err)
		}
	}
	return f, nil
}

func (f *Foreign) serves(ctx context.Context, m fleet.AdoptedMember) error {
	client, err := f.dial(ctx, m.Endpoint.ClientURL())
	if err != nil {
		return err
	}
	defer client.Close()
	timed, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, err = client.Get(timed, "anything")
	return err
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
	return clientv3.New(clientv3.Config{
		Context: ctx, Endpoints: endpoints, DialTimeout: 5 * time.Second, Logger: zap.NewNop(), TLS: f.tls(),
	})
}

// tls is how an old program trusts its authority and nobody else.
func (f *Foreign) tls() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(f.authority)
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, Certificates: []tls.Certificate{f.client}}
}

// Shown gives the certificate that a member shows to its clients, which is of its authority.
func (f *Foreign) Shown(ctx context.Context, m fleet.AdoptedMember) (*x509.Certificate, error) {
	dialer := tls.Dialer{Config: f.tls()}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(m.Endpoint.Address, strconv.Itoa(m.Endpoint.ClientPort)))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0], nil
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
func (f *Foreign) makeAuthority() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "an authority of their own"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(5, 0, 0), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	certificatePEM, keyPEM, err := issue(root, root, key, key)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(certificatePEM)
	if f.authority, err = x509.ParseCertificate(block.Bytes); err != nil {
		return err
	}
	f.key, f.serial = key, 1
	f.CertificateFile, f.KeyFile = filepath.Join(f.e.Dir, f.Spec.Name+"-ca.crt"), filepath.Join(f.e.Dir, f.Spec.Name+"-ca.key")
	return errors.Join(os.WriteFile(f.CertificateFile, certificatePEM, 0o600), os.WriteFile(f.KeyFile, keyPEM, 0o600))
}

// sign gives a certificate and its key, for a server at an address or a client.
func (f *Foreign) sign(name string, at net.IP) (certificatePEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	f.serial++
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(f.serial), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if at != nil {
		leaf.IPAddresses, leaf.ExtKeyUsage = []net.IP{at}, append(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	return issue(leaf, f.authority, key, f.key)
}

// issue signs a certificate of a key.
func issue(certificate, by *x509.Certificate, key, signer crypto.Signer) (certificatePEM, keyPEM []byte, err error) {
	der, err := x509.CreateCertificate(rand.Reader, certificate, by, key.Public(), signer)
	if err != nil {
		return nil, nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), err
}

// buy buys a host with a disk and waits until it has it.
func (f *Foreign) buy(ctx context.Context, member, zone string) error {
	p, tags, m := f.e.Provider, iaas.Tags{theirTag: "somebody else"}, f.Spec.Machine
	name := f.Spec.Name + "-" + member
	host, err := p.LaunchHost(ctx, iaas.LaunchHostRequest{Token: "host-of-" + name, Name: name, Zone: zone, Type: m.Type, Tags: tags})
	if err != nil {
		return err
	}
	disk, err := p.CreateDisk(ctx, iaas.CreateDiskRequest{Token: "disk-of-" + name, Name: name, Zone: zone, Size: m.Disk.Size, Category: m.Disk.Category, Tags: tags})
	if err != nil {
		return err
	}
	err = f.e.Within(Patience, func() error {
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
		Name: member, HostID: host.ID, DiskID: disk.ID, DataDir: "/disks/" + disk.ID + "/etcd",
		Endpoint: fleet.Endpoint{Member: member, Address: host.Address, ClientPort: host.Ports.First, PeerPort: host.Ports.First + 1},
	})
	return err
}

// start runs a member by a script on its host, and waits until the script is done. What
// dials on one machine comes from 127.0.0.1, which is in nobody's certificate.
func (f *Foreign) start(ctx context.Context, m fleet.AdoptedMember) error {
	archive, err := f.archive()
	if err != nil {
		return err
	}
	if err := f.install(m); err != nil {
		return err
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
	if err != nil {
		return err
	}
	return f.e.Within(Patience, func() error {
		c, err := f.e.Provider.Command(ctx, m.HostID, sent.ID)
		if err == nil && c.State != iaas.CommandSucceeded {
			err = fmt.Errorf("the script is %s: %s", c.State, c.Stderr)
		}
		return err
	})
}

// archive finds the release that its members run.
func (f *Foreign) archive() (fleet.Artifact, error) {
	text, err := os.ReadFile(f.e.Releases)
	if err != nil {
		return fleet.Artifact{}, err
	}
	catalogue, err := fleet.ParseCatalogue(text, f.e.Releases)
	if err != nil {
		return fleet.Artifact{}, err
	}
	return catalogue.Find(f.Spec.Etcd.Version, runtime.GOOS+"/"+runtime.GOARCH)
}

// install puts a member's certificate and its authority's on its host.
func (f *Foreign) install(m fleet.AdoptedMember) error {
	etc := filepath.Join(f.e.Dir, "local", "hosts", m.HostID, "fs", "etc", "theirs")
	if err := os.MkdirAll(etc, 0o700); err != nil {
		return err
	}
	certificate, key, err := f.sign("server "+m.Name, net.ParseIP(m.Endpoint.Address))
	if err != nil {
		return err
	}
	root, err := os.ReadFile(f.CertificateFile)
	if err != nil {
		return err
	}
	for file, data := range map[string][]byte{"ca": root, "cert": certificate, "key": key} {
		if err := os.WriteFile(filepath.Join(etc, file), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}
