package node

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// TestADiskMovesToAnotherHost takes a member's disk from a host that went down, to one
// that never heard of the member.
func TestADiskMovesToAnotherHost(t *testing.T) {
	t.Parallel()
	from, to, c := newTestHost(t), newTestHost(t), newTestCluster(t, "3.7")
	c.ready(from, "orders-1")
	req := c.startRequest(from, "orders-1")
	req.Generation = "op-1"
	must[fleet.MemberReport](from, VerbStart, req)
	before := from.awaitReady("orders-1")
	out, err := c.etcdctl(from, "put", "a", "1")
	require.NoError(t, err, out)
	from.shutdown()
	require.NoError(t, os.MkdirAll(filepath.Join(to.root, "disks"), 0o755))
	require.NoError(t, os.Rename(filepath.Join(from.root, "disks/disk-1"), filepath.Join(to.root, "disks/disk-1")))

	must[InstallResult](to, VerbInstall, c.rel)
	for what, spoil := range map[string]func(*PrepareRequest){
		"another cluster":     func(r *PrepareRequest) { r.Cluster = "bills" },
		"another incarnation": func(r *PrepareRequest) { r.UID = "u2" },
	} {
		other := prepareRequest("orders-1")
		spoil(&other)
		_, err := do[PrepareResult](to, VerbPrepare, other)
		require.Equal(t, fleet.Blocked, fleet.KindOf(err), what)
		require.Nil(t, to.report("orders-1"), what)
	}
	prepared := must[PrepareResult](to, VerbPrepare, prepareRequest("orders-1"))
	r := to.report("orders-1")
	require.Equal(t, fleet.MemberPrepared, r.State)
	require.Equal(t, "it was never started on this host", r.NotReady)
	require.Equal(t, before.Configured, r.Configured, "comes with the disk")
	require.Equal(t, before.MinorSince, r.MinorSince)
	require.Equal(t, c.rel.Version, r.Version)
	require.Positive(t, r.DBSize)
	require.True(t, r.CertifiedUntil.IsZero(), "keys do not move")
	must[fleet.MemberReport](to, VerbCertify, c.certificates(to, "orders-1", prepared))

	// Another address, another peer port, and an initial cluster that never was: etcd
	// takes its membership from its data.
	moved := c.startRequest(to, "orders-1")
	moved.PeerPort, moved.Existing, moved.Generation = 2480, true, "op-2"
	moved.Initial = append(moved.Initial, Peer{Name: "orders-7", URL: "https://127.0.0.1:2380"})
	must[fleet.MemberReport](to, VerbStart, moved)
	r = to.awaitReady("orders-1")
	require.Equal(t, "op-2", r.Configured.Generation)
	require.Equal(t, before.MinorSince, r.MinorSince)
	require.Equal(t, 2480, r.PeerPort)
	out, err = c.etcdctl(to, "get", "a")
	require.NoError(t, err, out)
	require.Equal(t, "a\n1\n", out)

	// The first host comes back without the disk. Its member must not begin anew.
	from.boot()
	require.Eventually(t, func() bool { r = from.report("orders-1"); return r.Restarts > 0 }, time.Minute, 20*time.Millisecond, "it is tried")
	require.Equal(t, fleet.MemberRestarting, r.State)
	require.Contains(t, r.LastExit, "what it needs is not there")
	require.NoDirExists(t, filepath.Join(from.root, "disks/disk-1"))
	_, err = do[fleet.MemberReport](from, VerbStart, req)
	require.Equal(t, fleet.NotFound, fleet.KindOf(err), "%v", err)
	require.Equal(t, fleet.MemberStopped, must[fleet.MemberReport](from, VerbStop, MemberRequest{Member: "orders-1"}).State)
}

// TestAMemberMovesToOtherPorts restarts a member with data at another place of the
// same host.
func TestAMemberMovesToOtherPorts(t *testing.T) {
	t.Parallel()
	h, c := newTestHost(t), newTestCluster(t, "3.7")
	before := c.running(h, "orders-1")
	out, err := c.etcdctl(h, "put", "a", "1")
	require.NoError(t, err, out)
	req := c.startRequest(h, "orders-1")
	req.PeerPort = 2480
	require.NotEqual(t, before.PID, must[fleet.MemberReport](h, VerbStart, req).PID)
	require.Equal(t, 2480, h.awaitReady("orders-1").PeerPort)
	out, err = c.etcdctl(h, "get", "a")
	require.NoError(t, err, out)
	require.Equal(t, "a\n1\n", out)
}
