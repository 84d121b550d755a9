package node

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/flotilla-etcd/flotilla/fleet"
)

func getOverTLS(t *testing.T, config *tls.Config, address, path string) error {
	t.Helper()
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: config}}
	defer client.CloseIdleConnections()
	resp, err := client.Get("https://" + address + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", resp.Status)
	}
	return nil
}

func TestAMemberOutlivesAKilledSupervisor(t *testing.T) {
	t.Parallel()
	h, c := newTestHost(t), newTestCluster(t, "3.7")
	before := c.running(h, "orders-1")
	h.end(syscall.SIGKILL)
	r := h.report("orders-1")
	require.True(t, r.Ready, "it serves on without a supervisor")
	require.Equal(t, before.PID, r.PID)

	h.boot()
	r = must[fleet.MemberReport](h, VerbStart, c.startRequest(h, "orders-1"))
	require.Equal(t, before.PID, r.PID, "it goes on")
	require.Eventually(t, func() bool {
		log, err := os.ReadFile(filepath.Join(h.root, "init.log"))
		return err == nil && strings.Contains(string(log), "took over a running process")
	}, time.Minute, 50*time.Millisecond, "the next supervisor takes it over")
	require.NoError(t, unix.Kill(r.PID, unix.SIGKILL))
	require.Eventually(t, func() bool { r = h.report("orders-1"); return r.Ready && r.PID != before.PID && r.Restarts == 1 },
		time.Minute, 50*time.Millisecond, "its end is noticed although it is nobody's child")
}

func TestStopStaysOverAReboot(t *testing.T) {
	t.Parallel()
	h, c := newTestHost(t), newTestCluster(t, "3.7")
	before := c.running(h, "orders-1")
	h.shutdown()
	require.NoError(t, os.RemoveAll(filepath.Join(h.root, "run")))
	h.boot()
	after := h.awaitReady("orders-1")
	require.NotEqual(t, before.PID, after.PID)

	must[fleet.MemberReport](h, VerbStop, MemberRequest{Member: "orders-1"})
	h.shutdown()
	h.boot()
	other := h.other(c) // by then, the supervisor has looked at every member
	r := h.report("orders-1")
	require.Equal(t, fleet.MemberStopped, r.State)
	require.Equal(t, "it is stopped", r.NotReady)
	require.NotNil(t, h.report(other))
}

// other starts a second member on the host.
func (h *testHost) other(c *testCluster) string {
	h.t.Helper()
	const name = "orders-2"
	c.ready(h, name)
	req := c.startRequest(h, name)
	req.ClientPort, req.PeerPort = 2479, 2480
	req.Initial = []Peer{{Name: name, URL: strings.Replace(peerOf(h, name).URL, "2380", "2480", 1)}}
	must[fleet.MemberReport](h, VerbStart, req)
	return name
}

func TestAHangingMember(t *testing.T) {
	t.Parallel()
	h, c := newTestHost(t), newTestCluster(t, "3.7")
	r := c.running(h, "orders-1")
	require.NoError(t, unix.Kill(r.PID, unix.SIGSTOP))
	began := time.Now()
	r = h.report("orders-1")
	require.Less(t, time.Since(began), 5*time.Second)
	require.Equal(t, fleet.MemberRunning, r.State)
	require.False(t, r.Ready)
	require.Contains(t, r.NotReady, "did not answer within 1s")
	require.NoError(t, unix.Kill(r.PID, unix.SIGCONT))
	require.Equal(t, r.PID, h.awaitReady("orders-1").PID)
	require.NoError(t, unix.Kill(r.PID, unix.SIGSTOP))
	require.Equal(t, fleet.MemberStopped, must[fleet.MemberReport](h, VerbStop, MemberRequest{Member: "orders-1"}).State)
}

func TestDiskSizeCapsWhatIsFree(t *testing.T) {
	t.Parallel()
	h, c := newTestHost(t), newTestCluster(t, "3.7")
	c.ready(h, "orders-1")
	size := filepath.Join(h.root, "disks/disk-1.size")
	require.NoError(t, os.WriteFile(size, fmt.Appendln(nil, int64(fleet.GiB)), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(h.root, "disks/disk-1/orders-1/data/x"), bytes.Repeat([]byte{1}, 1<<20), 0o600))
	r := h.report("orders-1")
	require.GreaterOrEqual(t, r.DiskUsed, fleet.MiB)
	require.Less(t, r.DiskUsed, 2*fleet.MiB)
	require.Equal(t, fleet.GiB, r.DiskUsed+r.DiskFree)
	require.NoError(t, os.WriteFile(size, []byte("1024"), 0o644))
	require.Zero(t, h.report("orders-1").DiskFree)
}

// TestVerbsMayBeKilledAtAnyInstant sends each verb, kills it at a random moment,
// sends it again, and looks whether the end is the same as without a kill.
func TestVerbsMayBeKilledAtAnyInstant(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	h, c := newTestHost(t), newTestCluster(t, "3.7")
	h.disk("disk-1")
	const member = "orders-1"

	// killed sends a verb that is killed after at most this time, unless it is faster.
	killed := func(verb string, request any, within time.Duration) {
		t.Helper()
		cmd := h.shell(verb, request)
		cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
		require.NoError(t, cmd.Start())
		timer := time.AfterFunc(time.Duration(random.Int64N(int64(within))), func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		timer.Stop()
	}
	for round := range 4 {
		for range 3 {
			killed(VerbInstall, c.rel, time.Second)
		}
		must[InstallResult](h, VerbInstall, c.rel)
		require.False(t, must[InstallResult](h, VerbInstall, c.rel).Installed, "whole")
		for range 5 {
			killed(VerbPrepare, prepareRequest(member), 30*time.Millisecond)
		}
		certs := c.certificates(h, member, must[PrepareResult](h, VerbPrepare, prepareRequest(member)))
		for range 5 {
			killed(VerbCertify, certs, 30*time.Millisecond)
		}
		must[fleet.MemberReport](h, VerbCertify, certs)
		req := c.startRequest(h, member)
		req.Settings.Quota += fleet.Bytes(round) * fleet.GiB
		for range 3 {
			killed(VerbStart, req, 300*time.Millisecond)
		}
		r := must[fleet.MemberReport](h, VerbStart, req)
		h.awaitReady(member)
		require.Equal(t, r.PID, must[fleet.MemberReport](h, VerbStart, req).PID)
		require.Equal(t, 1, h.running(), "one etcd, never two")
		killed(VerbRestart, MemberRequest{Member: member}, 300*time.Millisecond)
		killed(VerbStop, MemberRequest{Member: member}, 300*time.Millisecond)
		must[fleet.MemberReport](h, VerbStop, MemberRequest{Member: member})
		require.Zero(t, h.running())
		if round%2 == 1 {
			for range 3 {
				killed(VerbWipe, MemberRequest{Member: member}, 30*time.Millisecond)
			}
			must[struct{}](h, VerbWipe, MemberRequest{Member: member})
			require.NoDirExists(t, filepath.Join(h.root, "disks/disk-1", member))
		}
		left, err := filepath.Glob(filepath.Join(h.root, "opt/flotilla/etcd", workPrefix+"*"))
		require.NoError(t, err)
		require.Empty(t, left)
	}
}

// running counts the live etcds of this host.
func (h *testHost) running() int {
	h.t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		h.t.Skip("counting processes needs /proc")
	}
	count := 0
	for _, e := range entries {
		exe, err := os.Readlink(filepath.Join("/proc", e.Name(), "exe"))
		if err == nil && strings.HasPrefix(exe, h.root) {
			count++
		}
	}
	return count
}
