package node

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// TestLifeOfAMember goes through all verbs with each minor: an unknown flag
// would end etcd here.
func TestLifeOfAMember(t *testing.T) {
	t.Parallel()
	for _, minor := range []string{"3.5", "3.6", "3.7"} {
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			h, c := newTestHost(t), newTestCluster(t, minor)
			c.ready(h, "orders-1")
			r := h.report("orders-1")
			require.Equal(t, fleet.MemberPrepared, r.State)
			require.False(t, r.Ready)
			require.Equal(t, "it was never started", r.NotReady)
			require.WithinDuration(t, time.Now().AddDate(1, 0, 0), r.CertifiedUntil, 48*time.Hour)

			req := c.startRequest(h, "orders-1")
			req.Settings.AutoCompaction = fleet.AutoCompaction{Mode: "periodic", Retention: fleet.Duration(90 * time.Minute)}
			started := must[fleet.MemberReport](h, VerbStart, req)
			require.Equal(t, fleet.MemberRunning, started.State)
			r = h.awaitReady("orders-1")
			require.Equal(t, c.rel.Version, r.Version)
			require.Equal(t, clusterName+" "+clusterUID, r.Cluster+" "+r.UID)
			require.NotZero(t, r.PID)
			require.Positive(t, r.DBSize)
			require.Positive(t, r.DiskFree)
			require.Equal(t, 2379, r.ClientPort)
			require.Equal(t, started.PID, must[fleet.MemberReport](h, VerbStart, req).PID, "the same again changes nothing")

			out, err := c.etcdctl(h, "put", "a", "1")
			require.NoError(t, err, out)

			req.Settings.Quota = 3 * fleet.GiB
			changed := must[fleet.MemberReport](h, VerbStart, req)
			require.NotEqual(t, started.PID, changed.PID, "another request restarts it")
			h.awaitReady("orders-1")
			restarted := must[fleet.MemberReport](h, VerbRestart, MemberRequest{Member: "orders-1"})
			require.NotEqual(t, changed.PID, restarted.PID)
			require.Zero(t, restarted.Restarts)
			h.awaitReady("orders-1")
			out, err = c.etcdctl(h, "get", "a")
			require.NoError(t, err, out)
			require.Equal(t, "a\n1\n", out)

			require.Equal(t, fleet.MemberStopped, must[fleet.MemberReport](h, VerbStop, MemberRequest{Member: "orders-1"}).State)
			require.Equal(t, fleet.MemberStopped, must[fleet.MemberReport](h, VerbStop, MemberRequest{Member: "orders-1"}).State)
			host := must[fleet.HostReport](h, VerbReport, nil)
			require.Equal(t, []string{c.rel.Version}, host.Releases)
			require.Equal(t, Platform(), host.Platform)
			require.NotEmpty(t, host.NodeVersion)

			other := filepath.Join(h.root, "disks/disk-1/other")
			require.NoError(t, os.WriteFile(other, nil, 0o600))
			must[struct{}](h, VerbWipe, MemberRequest{Member: "orders-1"})
			must[struct{}](h, VerbWipe, MemberRequest{Member: "orders-1"})
			require.Nil(t, h.report("orders-1"))
			require.NoDirExists(t, filepath.Join(h.root, "disks/disk-1/orders-1"))
			require.NoDirExists(t, filepath.Join(h.root, "var/lib/flotilla/members/orders-1"))
			require.FileExists(t, other, "nothing else is wiped")
		})
	}
}

func TestThreeMembersAndTheirCertificates(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("three members on the same ports need three loopback addresses")
	}
	c := newTestCluster(t, "3.7")
	hosts := []*testHost{newTestHost(t), newTestHost(t), newTestHost(t)}
	names := []string{"orders-1", "orders-2", "orders-3"}
	var initial []Peer
	for i, h := range hosts {
		c.ready(h, names[i])
		initial = append(initial, peerOf(h, names[i]))
	}
	first := must[fleet.MemberReport](hosts[0], VerbStart, c.startRequest(hosts[0], names[0], initial...))
	require.Equal(t, fleet.MemberRunning, first.State, "a start does not wait for a quorum")
	r := hosts[0].report(names[0])
	require.False(t, r.Ready)
	require.NotEmpty(t, r.NotReady)
	for i := 1; i < 3; i++ {
		must[fleet.MemberReport](hosts[i], VerbStart, c.startRequest(hosts[i], names[i], initial...))
	}
	for i, h := range hosts {
		h.awaitReady(names[i])
	}

	// A client's certificate opens the client port, and nothing at the peer port.
	_, err := c.etcdctl(hosts[1], "put", "a", "1")
	require.NoError(t, err)
	config, err := c.ca.ClientTLS("intruder", time.Now())
	require.NoError(t, err)
	require.Error(t, getOverTLS(t, config, net.JoinHostPort(hosts[1].address, "2380"), "/members"))
	require.NoError(t, getOverTLS(t, config, net.JoinHostPort(hosts[1].address, "2379"), "/version"))
	config.Certificates = nil
	require.Error(t, getOverTLS(t, config, net.JoinHostPort(hosts[1].address, "2379"), "/version"), "no certificate")

	// Two of three stop: the last one lives, and says in words that it does not serve.
	for i := 1; i < 3; i++ {
		must[fleet.MemberReport](hosts[i], VerbStop, MemberRequest{Member: names[i]})
	}
	require.Eventually(t, func() bool { r = hosts[0].report(names[0]); return !r.Ready }, time.Minute, 50*time.Millisecond, "it has no quorum")
	require.Equal(t, fleet.MemberRunning, r.State)
	require.Regexp(t, "no quorum|read_index", r.NotReady)
}

func TestCertificatesAreRenewedWithoutARestart(t *testing.T) {
	t.Parallel()
	for _, minor := range []string{"3.5", "3.6", "3.7"} {
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			h, c := newTestHost(t), newTestCluster(t, minor)
			before := c.running(h, "orders-1")
			serial := c.served(h, 2379).PeerCertificates[0].SerialNumber

			prepared := must[PrepareResult](h, VerbPrepare, prepareRequest("orders-1"))
			certs := c.certificates(h, "orders-1", prepared)
			must[fleet.MemberReport](h, VerbCertify, certs)
			want, err := parseLeaf([]byte(certs.ServerCert))
			require.NoError(t, err)
			now := c.served(h, 2379).PeerCertificates[0].SerialNumber
			require.NotEqual(t, serial, now)
			require.Equal(t, want.SerialNumber, now)
			after := h.awaitReady("orders-1")
			require.Equal(t, before.PID, after.PID)
			require.Zero(t, after.Restarts)
			out, err := c.etcdctl(h, "put", "a", "1")
			require.NoError(t, err, out)
		})
	}
}

func TestPrepareAndCertifyRefuse(t *testing.T) {
	t.Parallel()
	h, c := newTestHost(t), newTestCluster(t, "3.7")
	kind := fleet.KindOf
	prepare := func(change func(*PrepareRequest)) error {
		req := prepareRequest("orders-1")
		change(&req)
		_, err := do[PrepareResult](h, VerbPrepare, req)
		return err
	}
	none := func(*PrepareRequest) {}
	require.Equal(t, fleet.NotFound, kind(prepare(none)), "no disk")
	h.disk("disk-1")
	h.disk("disk-2")
	require.NoError(t, prepare(none))
	require.Equal(t, fleet.Blocked, kind(prepare(func(r *PrepareRequest) { r.UID = "u2" })))
	require.Equal(t, fleet.Blocked, kind(prepare(func(r *PrepareRequest) { r.DiskID = "disk-2" })))
	for _, bad := range []string{"", "../x", "A", "a/b", "-a"} {
		require.Equal(t, fleet.Invalid, kind(prepare(func(r *PrepareRequest) { r.Member = bad })), bad)
		if bad != "A" {
			require.Equal(t, fleet.Invalid, kind(prepare(func(r *PrepareRequest) { r.DiskID = bad })), bad)
		}
	}

	// The disk comes to another host, and then to another cluster.
	other := newTestHost(t)
	require.NoError(t, os.MkdirAll(filepath.Join(other.root, "disks"), 0o755))
	require.NoError(t, os.Symlink(filepath.Join(h.root, "disks/disk-1"), filepath.Join(other.root, "disks/disk-1")))
	_, err := do[PrepareResult](other, VerbPrepare, prepareRequest("orders-1"))
	require.NoError(t, err, "the same member on another host")
	must[struct{}](h, VerbStop, MemberRequest{Member: "orders-1"})
	third := newTestHost(t)
	require.NoError(t, os.Symlink(filepath.Join(h.root, "disks"), filepath.Join(third.root, "disks")))
	req := prepareRequest("orders-1")
	req.UID = "u2"
	_, err = do[PrepareResult](third, VerbPrepare, req)
	require.Equal(t, fleet.Blocked, kind(err))
	require.ErrorContains(t, err, "never used twice")
	require.NoError(t, os.MkdirAll(filepath.Join(h.root, "disks/disk-2/orders-1/data/member"), 0o755))
	req = prepareRequest("orders-1")
	req.DiskID = "disk-2"
	_, err = do[PrepareResult](third, VerbPrepare, req)
	require.Equal(t, fleet.Blocked, kind(err), "data without an owner")

	// Keys are made once, and only their owner can read them.
	key := filepath.Join(h.root, "var/lib/flotilla/members/orders-1/pki/server.key")
	before, err := os.ReadFile(key)
	require.NoError(t, err)
	prepared := must[PrepareResult](h, VerbPrepare, prepareRequest("orders-1"))
	after, err := os.ReadFile(key)
	require.NoError(t, err)
	require.Equal(t, before, after)
	info, err := os.Stat(key)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	certify := func(change func(*CertifyRequest)) error {
		req := c.certificates(h, "orders-1", prepared)
		change(&req)
		_, err := do[fleet.MemberReport](h, VerbCertify, req)
		return err
	}
	strange := newTestCluster(t, "3.7")
	swapped := func(r *CertifyRequest) { r.ServerCert, r.PeerCert = r.PeerCert, r.ServerCert }
	require.ErrorContains(t, certify(swapped), "not a certificate for the key on this host")
	require.ErrorContains(t, certify(func(r *CertifyRequest) { r.CA = string(strange.ca.CertificatePEM()) }), "unknown authority")
	require.ErrorContains(t, certify(func(r *CertifyRequest) { r.CA = "x" }), "not a PEM bundle")
	require.Equal(t, fleet.NotFound, kind(certify(func(r *CertifyRequest) { r.Member = "orders-9" })))
	require.True(t, h.report("orders-1").CertifiedUntil.IsZero(), "nothing was stored")
	require.NoError(t, certify(func(*CertifyRequest) {}))
	require.False(t, h.report("orders-1").CertifiedUntil.IsZero())
}

func TestStartRefuses(t *testing.T) {
	t.Parallel()
	h, c := newTestHost(t), newTestCluster(t, "3.7")
	start := func(change func(*StartRequest)) error {
		req := c.startRequest(h, "orders-1")
		change(&req)
		_, err := do[fleet.MemberReport](h, VerbStart, req)
		return err
	}
	none := func(*StartRequest) {}
	require.Equal(t, fleet.NotFound, fleet.KindOf(start(none)), "not prepared")
	h.disk("disk-1")
	prepared := must[PrepareResult](h, VerbPrepare, prepareRequest("orders-1"))
	err := start(none)
	require.Equal(t, fleet.Conflict, fleet.KindOf(err))
	require.ErrorContains(t, err, "not installed")
	must[InstallResult](h, VerbInstall, c.rel)
	err = start(none)
	require.Equal(t, fleet.Conflict, fleet.KindOf(err))
	require.ErrorContains(t, err, "not certified")
	must[fleet.MemberReport](h, VerbCertify, c.certificates(h, "orders-1", prepared))

	require.ErrorContains(t, start(func(r *StartRequest) { r.Version = "3.8.0" }), "does not know the flags of etcd 3.8, only those of 3.5, 3.6, 3.7")
	require.ErrorContains(t, start(func(r *StartRequest) { r.Address = "127.0.0.9" }), "not for 127.0.0.9")
	require.ErrorContains(t, start(func(r *StartRequest) { r.PeerCN = "x" }), `but peers must be "x"`)
	require.ErrorContains(t, start(func(r *StartRequest) { r.Initial = r.Initial[:0] }), "not in the initial cluster")
	require.ErrorContains(t, start(func(r *StartRequest) { r.PeerPort = r.ClientPort }), "both")

	// A port that another program has.
	listener, err := net.Listen("tcp", net.JoinHostPort(h.address, "2380"))
	require.NoError(t, err)
	err = start(none)
	require.NoError(t, listener.Close())
	require.Equal(t, fleet.Conflict, fleet.KindOf(err))
	require.ErrorContains(t, err, h.address+":2380 is in use")

	// A setting that etcd itself refuses: its own words are passed on.
	err = start(func(r *StartRequest) { r.Settings.ElectionTimeout = r.Settings.HeartbeatInterval })
	require.Equal(t, fleet.Unavailable, fleet.KindOf(err))
	require.Regexp(t, "etcd ended right after its start: exit status 1: .*election", err.Error())
	var r *fleet.MemberReport
	require.Eventually(t, func() bool { r = h.report("orders-1"); return r.State == fleet.MemberRestarting },
		time.Minute, 20*time.Millisecond, "between two attempts it is seen as restarting")
	require.Contains(t, r.LastExit, "exit status 1: ")
	require.Contains(t, r.NotReady, "about to be started again")
	require.NoError(t, start(none))
	r = h.awaitReady("orders-1")
	require.Empty(t, r.LastExit)
	require.False(t, strings.Contains(inJSON(r), "PRIVATE KEY"))
}
