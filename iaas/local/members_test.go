package local

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"go.yaml.in/yaml/v3"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/binaries"
	"github.com/flotilla-etcd/flotilla/node"
	"github.com/flotilla-etcd/flotilla/pki"
)

// realHosts are hosts that run a real flotilla-node, and real members through it.
type realHosts struct {
	*Provider
	t        *testing.T
	ca       *pki.Authority
	release  node.InstallRequest
	commands int
}

func newRealHosts(t *testing.T) *realHosts {
	t.Helper()
	built, done, err := binaries.Build("./node/flotilla-node")
	require.NoError(t, err)
	t.Cleanup(done)
	ca, err := pki.NewAuthority("orders", "u1", time.Now())
	require.NoError(t, err)
	text, err := os.ReadFile("../../bin/releases.yaml")
	require.NoError(t, err, "no releases of etcd are here: run make build")
	var catalogue struct {
		Releases []struct {
			Version   string
			Artifacts map[string]struct{ URL, SHA256 string }
		}
	}
	require.NoError(t, yaml.Unmarshal(text, &catalogue))
	newest := catalogue.Releases[len(catalogue.Releases)-1]
	artifact := newest.Artifacts[node.Platform()]
	require.NotEmpty(t, artifact.URL, "etcd %s for %s: run make build", newest.Version, node.Platform())
	return &realHosts{
		Provider: newProvider(t, func(c *Config) { c.NodeBinary, c.Env = filepath.Join(built, "flotilla-node"), nil }),
		t:        t, ca: ca,
		release: node.InstallRequest{Version: newest.Version, URL: artifact.URL, SHA256: artifact.SHA256},
	}
}

func ask[T any](r *realHosts, host fleet.Host, verb string, request any) (*T, error) {
	r.t.Helper()
	script, err := node.Script(verb, request)
	require.NoError(r.t, err)
	r.commands++
	c, err := r.RunCommand(r.t.Context(), command(host.ID, fmt.Sprintf("%s-%d", verb, r.commands), script))
	if err != nil {
		return nil, err
	}
	return node.ParseReply[T](awaitCommand(r.t, r.Provider, c).Stdout, host.Name)
}

func must[T any](r *realHosts, host fleet.Host, verb string, request any) *T {
	r.t.Helper()
	reply, err := ask[T](r, host, verb, request)
	require.NoError(r.t, err)
	return reply
}

func (r *realHosts) report(host fleet.Host, member string) *fleet.MemberReport {
	r.t.Helper()
	report := must[fleet.HostReport](r, host, node.VerbReport, nil).Find(member)
	require.NotNil(r.t, report, "%s is on %s", member, host.Name)
	return report
}

// awaitReport looks until a report is as it should be.
func (r *realHosts) awaitReport(host fleet.Host, member, what string, is func(*fleet.MemberReport) bool) *fleet.MemberReport {
	r.t.Helper()
	var report *fleet.MemberReport
	eventually(r.t, member+" "+what, func() bool { report = r.report(host, member); return is(report) })
	return report
}

func ready(r *fleet.MemberReport) bool { return r.Ready }

// start makes a member run, in a cluster of its own.
func (r *realHosts) start(host fleet.Host, disk, member string, ports int) {
	r.t.Helper()
	must[node.InstallResult](r, host, node.VerbInstall, r.release)
	requests := must[node.PrepareResult](r, host, node.VerbPrepare, node.PrepareRequest{Cluster: "orders", UID: "u1", Member: member, DiskID: disk})
	ips := []net.IP{net.ParseIP(host.Address)}
	server, err := r.ca.SignServer([]byte(requests.ServerCSR), member, ips, time.Now())
	require.NoError(r.t, err)
	peer, err := r.ca.SignPeer([]byte(requests.PeerCSR), member, ips, time.Now())
	require.NoError(r.t, err)
	must[fleet.MemberReport](r, host, node.VerbCertify, node.CertifyRequest{
		Member: member, CA: string(r.ca.CertificatePEM()), ServerCert: string(server), PeerCert: string(peer),
	})
	must[fleet.MemberReport](r, host, node.VerbStart, node.StartRequest{
		Member: member, Version: r.release.Version, Address: host.Address, ClientPort: ports, PeerPort: ports + 1,
		Token: "orders-u1", PeerCN: pki.PeerName("orders", "u1"), Settings: fleet.Spec{}.WithDefaults().Etcd.EtcdSettings,
		Initial: []node.Peer{{Name: member, URL: "https://" + net.JoinHostPort(host.Address, strconv.Itoa(ports+1))}},
	})
	r.awaitReport(host, member, "serves", ready)
}

func (r *realHosts) client(host fleet.Host) *clientv3.Client {
	r.t.Helper()
	tls, err := r.ca.ClientTLS("tester", time.Now())
	require.NoError(r.t, err)
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{"https://" + net.JoinHostPort(host.Address, strconv.Itoa(host.Ports.First))}, TLS: tls, Logger: zap.NewNop(),
	})
	require.NoError(r.t, err)
	r.t.Cleanup(func() { _ = client.Close() })
	return client
}

func (r *realHosts) put(host fleet.Host, key string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
	defer cancel()
	_, err := r.client(host).Put(ctx, key, "1")
	require.NoError(r.t, err)
}

func (r *realHosts) requireKey(host fleet.Host, key string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
	defer cancel()
	got, err := r.client(host).Get(ctx, key)
	require.NoError(r.t, err)
	require.Len(r.t, got.Kvs, 1, "key %s is there", key)
}

// requireBounds says what a process takes its machine type for, where that can be seen.
func requireBounds(t *testing.T, pid int, want ...string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		return
	}
	environ, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
	require.NoError(t, err)
	for _, variable := range want {
		require.Contains(t, strings.Split(string(environ), "\x00"), variable)
	}
}

// What operations do to hosts and disks, seen by the members on them.
func TestMembersOverChangesOfTheirHosts(t *testing.T) {
	t.Parallel()
	r, ctx := newRealHosts(t), t.Context()
	host, disk := attached(t, r.Provider, "orders-1")
	first := host.Ports.First
	r.start(host, disk.ID, "orders-1", first)
	r.start(host, disk.ID, "orders-2", first+2)
	r.put(host, "a")
	before := r.report(host, "orders-1")
	requireBounds(t, before.PID, "GOMAXPROCS=1", "GOMEMLIMIT=512MiB")
	must[fleet.MemberReport](r, host, node.VerbStop, node.MemberRequest{Member: "orders-2"})

	// Stopped, resized and started: the same place, the members as they were.
	require.NoError(t, r.StopHost(ctx, host.ID))
	await(t, r.Provider, host.ID, fleet.HostStopped)
	left, err := withMarker(r.marker(host.ID))
	require.NoError(t, err)
	require.Empty(t, left)
	_, err = ask[fleet.HostReport](r, host, node.VerbReport, nil)
	require.Equal(t, fleet.Conflict, fleet.KindOf(err), "%v", err)
	require.NoError(t, r.ResizeHost(ctx, host.ID, "large"))
	require.NoError(t, r.StartHost(ctx, host.ID))
	now := await(t, r.Provider, host.ID, fleet.HostRunning)
	require.Equal(t, "large", now.Type)
	require.Equal(t, host.Address, now.Address)
	require.Equal(t, host.Ports, now.Ports)
	after := r.awaitReport(host, "orders-1", "comes back by itself", ready)
	require.NotEqual(t, before.PID, after.PID)
	require.Equal(t, before.MinorSince, after.MinorSince)
	requireBounds(t, after.PID, "GOMAXPROCS=4", "GOMEMLIMIT=4GiB")
	r.requireKey(host, "a")
	require.Equal(t, fleet.MemberStopped, r.report(host, "orders-2").State)

	// A disk that grows, grows under its members.
	require.Equal(t, disk.Size, after.DiskSize)
	grow := node.GrowRequest{Member: "orders-1", Size: 3 * fleet.GiB}
	_, err = ask[fleet.MemberReport](r, host, node.VerbGrow, grow)
	require.Equal(t, fleet.Unavailable, fleet.KindOf(err), "%v", err)
	require.NoError(t, r.GrowDisk(ctx, disk.ID, 3*fleet.GiB))
	grown := must[fleet.MemberReport](r, host, node.VerbGrow, grow)
	require.Equal(t, 3*fleet.GiB, grown.DiskSize)
	require.Equal(t, after.PID, grown.PID)

	// A host that died gives its disk to another one.
	require.NoError(t, r.FailHost(ctx, host.ID))
	other := running(t, r.Provider, "orders-3")
	require.NoError(t, r.DetachDisk(ctx, disk.ID))
	require.NoError(t, r.AttachDisk(ctx, disk.ID, other.ID))
	r.start(other, disk.ID, "orders-1", other.Ports.First)
	r.requireKey(other, "a")
	require.Equal(t, before.MinorSince, r.report(other, "orders-1").MinorSince)
	require.NoError(t, r.HealHost(ctx, host.ID))
	await(t, r.Provider, host.ID, fleet.HostRunning)
	r.awaitReport(host, "orders-1", "does not begin anew without its disk", func(r *fleet.MemberReport) bool {
		return r.State == fleet.MemberRestarting && strings.Contains(r.LastExit, "what it needs is not there")
	})
	require.NoFileExists(t, r.mount(host.ID, disk.ID))

	// A host that is silent goes on serving.
	require.NoError(t, r.SilenceHost(ctx, other.ID))
	_, err = ask[fleet.HostReport](r, other, node.VerbReport, nil)
	require.Equal(t, fleet.Unavailable, fleet.KindOf(err), "%v", err)
	r.put(other, "b")
	require.NoError(t, r.HealHost(ctx, other.ID))

	// A disk that is lost takes its member's process with it, and nothing replaces it.
	serving := r.awaitReport(other, "orders-1", "still serves", ready)
	require.NoError(t, r.FailDisk(ctx, disk.ID))
	lost := r.awaitReport(other, "orders-1", "is dead", func(r *fleet.MemberReport) bool {
		return r.State == fleet.MemberRestarting && strings.Contains(r.LastExit, "what it needs is not there")
	})
	require.Greater(t, lost.Restarts, serving.Restarts)
	require.Zero(t, lost.DiskSize)
	require.Equal(t, fleet.NotFound, fleet.KindOf(r.AttachDisk(ctx, disk.ID, other.ID)))
}
