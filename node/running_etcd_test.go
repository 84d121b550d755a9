package node

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/node/internal/durable"
	"github.com/flotilla-etcd/flotilla/node/service"
	"github.com/flotilla-etcd/flotilla/pki"
)

// put writes this many keys.
func (c *testCluster) put(h *testHost, count int) {
	c.t.Helper()
	config, err := c.ca.ClientTLS("tester", time.Now())
	require.NoError(c.t, err)
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{"https://" + net.JoinHostPort(h.address, "2379")}, TLS: config, Logger: zap.NewNop(),
	})
	require.NoError(c.t, err)
	defer client.Close()
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	for i := range count {
		_, err := client.Put(ctx, fmt.Sprintf("key-%d", i), "value")
		require.NoError(c.t, err)
	}
}

func TestGenerations(t *testing.T) {
	t.Parallel()
	h, c := newTestHost(t), newTestCluster(t, "3.7")
	c.ready(h, "orders-1")
	require.Nil(t, h.report("orders-1").Configured)
	req := c.startRequest(h, "orders-1")
	first := must[fleet.MemberReport](h, VerbStart, req)
	require.Equal(t, &fleet.MemberConfig{Version: req.Version, Settings: req.Settings}, first.Configured)
	h.awaitReady("orders-1")

	req.Generation = "op-1"
	second := must[fleet.MemberReport](h, VerbStart, req)
	require.NotEqual(t, first.PID, second.PID, "another generation restarts it")
	require.Equal(t, "op-1", second.Configured.Generation)
	require.Equal(t, second.PID, must[fleet.MemberReport](h, VerbStart, req).PID)
	r := h.awaitReady("orders-1")
	require.Positive(t, r.Up)
	require.Less(t, time.Duration(r.Up), time.Minute)

	// The membership changes over time; a member that has data takes no notice.
	changed := req
	changed.Existing, changed.Token = true, "another"
	changed.Initial = append(changed.Initial, Peer{Name: "orders-2", URL: "https://127.0.0.1:2380"})
	require.Equal(t, second.PID, must[fleet.MemberReport](h, VerbStart, changed).PID)

	// A start that is killed before its member runs as asked, leaves the report as it was.
	var m member
	file := filepath.Join(h.root, "var/lib/flotilla/members/orders-1/member.json")
	require.NoError(t, durable.ReadJSON(file, &m))
	m.Start.Generation = "op-2"
	require.NoError(t, durable.WriteJSON(file, m, 0o644))
	r = h.report("orders-1")
	require.Equal(t, second.PID, r.PID)
	require.Equal(t, "op-1", r.Configured.Generation)
	req.Generation = "op-2"
	require.Equal(t, "op-2", must[fleet.MemberReport](h, VerbStart, req).Configured.Generation)
	require.Equal(t, c.rel.Version, h.awaitReady("orders-1").Version)

	must[fleet.MemberReport](h, VerbStop, MemberRequest{Member: "orders-1"})
	r = h.report("orders-1")
	require.Zero(t, r.Up)
	require.Equal(t, "op-2", r.Configured.Generation)
}

func TestMinorsAndRaftSnapshots(t *testing.T) {
	t.Parallel()
	h, c := newTestHost(t), newTestCluster(t, "3.6")
	next := newTestCluster(t, "3.7")
	c.ready(h, "orders-1")
	must[InstallResult](h, VerbInstall, next.rel)
	req := c.startRequest(h, "orders-1")
	req.Settings.SnapshotCount = 50
	began := time.Now()
	must[fleet.MemberReport](h, VerbStart, req)
	r := h.awaitReady("orders-1")
	require.WithinDuration(t, began, r.MinorSince, time.Minute)
	require.False(t, r.MinorSince.Before(began))
	require.Zero(t, r.RaftSnapshot)
	c.put(h, 120)
	r = h.report("orders-1")
	require.NotZero(t, r.RaftSnapshot)
	require.Equal(t, r.RaftSnapshot/uint64(req.Settings.SnapshotCount), uint64(2), "the newest of two")
	require.Less(t, r.MinorSnapshot, r.RaftSnapshot)
	require.NotZero(t, r.MinorSnapshot)
	since := r.MinorSince

	must[fleet.MemberReport](h, VerbRestart, MemberRequest{Member: "orders-1"})
	req.Generation = "op-1"
	require.Equal(t, since, must[fleet.MemberReport](h, VerbStart, req).MinorSince, "kept over restarts")
	h.awaitReady("orders-1")

	// Whatever a clock of another day dates them, those that are there are of 3.6.
	first := r.MinorSnapshot
	snapshots := func(at time.Time) {
		files, err := filepath.Glob(filepath.Join(h.root, "disks/disk-1/orders-1/data/member/snap/*.snap"))
		require.NoError(t, err)
		for _, file := range files {
			require.NoError(t, os.Chtimes(file, at, at))
		}
	}
	snapshots(time.Now().Add(-time.Hour))
	require.Equal(t, first, h.report("orders-1").MinorSnapshot, "also when the clock was behind")
	snapshots(time.Now().Add(time.Hour))
	req.Version = next.rel.Version
	r = must[fleet.MemberReport](h, VerbStart, req)
	require.Zero(t, r.MinorSnapshot)
	require.NotZero(t, r.RaftSnapshot)
	r = h.awaitReady("orders-1")
	require.Equal(t, next.rel.Version, r.Version)
	require.Equal(t, next.rel.Version, r.Configured.Version)
	require.Zero(t, r.MinorSnapshot)
	old := r.RaftSnapshot
	c.put(h, 120)
	snapshots(began.Add(-time.Hour))
	require.Greater(t, h.report("orders-1").MinorSnapshot, old, "of 3.7, whatever a clock dates it")

	// 3.6 does not run on what 3.7 wrote. What is configured, is told nonetheless.
	req.Version = c.rel.Version
	_, err := do[fleet.MemberReport](h, VerbStart, req)
	require.ErrorContains(t, err, "etcd ended right after its start")
	back := h.report("orders-1")
	require.Equal(t, c.rel.Version, back.Configured.Version)
	require.True(t, back.MinorSince.After(r.MinorSince), "anew in either direction")
	require.Zero(t, back.MinorSnapshot)
}

func TestTrust(t *testing.T) {
	t.Parallel()
	h, c := newTestHost(t), newTestCluster(t, "3.7")
	other, err := pki.NewAuthority(clusterName, clusterUID, time.Now())
	require.NoError(t, err)
	name := func(ca *pki.Authority) string {
		cert, err := parseLeaf(ca.CertificatePEM())
		require.NoError(t, err)
		return pki.Fingerprint(cert)
	}
	one, two := name(c.ca), name(other)
	require.Len(t, one, 16)
	r := c.running(h, "orders-1")
	require.Equal(t, []string{one}, r.Trusts)
	require.Equal(t, one, r.Issuer)
	require.False(t, r.TrustIsOld)
	require.Empty(t, r.Certified)

	certify := func(signer *pki.Authority, generation string, bundle ...*pki.Authority) *fleet.MemberReport {
		t.Helper()
		by := testCluster{t: t, ca: signer, rel: c.rel}
		req := by.certificates(h, "orders-1", must[PrepareResult](h, VerbPrepare, prepareRequest("orders-1")))
		req.CA, req.Generation = "", generation
		for _, ca := range bundle {
			req.CA += string(ca.CertificatePEM())
		}
		return must[fleet.MemberReport](h, VerbCertify, req)
	}
	r = certify(c.ca, "op-1", c.ca)
	require.False(t, r.TrustIsOld, "the bundle is what it was")
	require.Equal(t, "op-1", r.Certified)

	r = certify(c.ca, "op-2", c.ca, other)
	require.Equal(t, []string{one, two}, r.Trusts)
	require.Equal(t, one, r.Issuer)
	require.True(t, r.TrustIsOld, "etcd has not read it")
	// Not even if the time of day says otherwise.
	past := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(filepath.Join(h.root, "var/lib/flotilla/members/orders-1/pki/ca.crt"), past, past))
	require.True(t, h.report("orders-1").TrustIsOld)
	must[fleet.MemberReport](h, VerbRestart, MemberRequest{Member: "orders-1"})
	r = h.awaitReady("orders-1")
	require.False(t, r.TrustIsOld)

	r = certify(other, "op-3", c.ca, other)
	require.Equal(t, two, r.Issuer)
	require.False(t, r.TrustIsOld)
	require.True(t, h.awaitReady("orders-1").Ready, "both are trusted")
	_, err = c.etcdctl(h, "put", "a", "1")
	require.Error(t, err, "the client trusts only the first one")
	r = certify(other, "op-4", other)
	require.Equal(t, []string{two}, r.Trusts)
	require.True(t, r.TrustIsOld)

	// Half of a change: the bundle may be either one.
	var m member
	file := filepath.Join(h.root, "var/lib/flotilla/members/orders-1/member.json")
	require.NoError(t, durable.ReadJSON(file, &m))
	must[fleet.MemberReport](h, VerbRestart, MemberRequest{Member: "orders-1"})
	require.False(t, h.report("orders-1").TrustIsOld)
	*m.TrustsSince = service.Moment{}
	require.NoError(t, durable.WriteJSON(file, m, 0o644))
	require.True(t, h.report("orders-1").TrustIsOld)
	require.True(t, certify(other, "op-5", other).TrustIsOld)
	must[fleet.MemberReport](h, VerbStop, MemberRequest{Member: "orders-1"})
	require.False(t, h.report("orders-1").TrustIsOld, "nothing runs")
}
