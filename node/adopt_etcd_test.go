package node

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/pki"
)

// stranger is an etcd on a host that something else runs: with certificates of the
// cluster's authority, but other names and another data directory than ours.
type stranger struct {
	h       *testHost
	c       *testCluster
	member  string
	dataDir string // as the host sees it
	args    []string
	process *exec.Cmd
	ended   chan struct{}
}

// newStranger gives one that does not run yet and keeps its data there.
func (c *testCluster) newStranger(h *testHost, member, dataDir string, initial ...Peer) *stranger {
	c.t.Helper()
	h.disk("disk-1")
	must[InstallResult](h, VerbInstall, c.rel)
	s := &stranger{h: h, c: c, member: member, dataDir: dataDir}
	dir, ips := c.t.TempDir(), []net.IP{net.ParseIP(h.address)}
	key, csr, err := pki.NewKeyAndRequest(member)
	require.NoError(c.t, err)
	cert, err := c.ca.SignServer(csr, "of-something-else", ips, time.Now())
	require.NoError(c.t, err)
	for name, data := range map[string][]byte{"ca": c.ca.CertificatePEM(), "cert": cert, "key": key} {
		require.NoError(c.t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	if initial == nil {
		initial = []Peer{peerOf(h, member)}
	}
	var peers []string
	for _, p := range initial {
		peers = append(peers, p.Name+"="+p.URL)
	}
	client, peer := "https://"+net.JoinHostPort(h.address, "2379"), "https://"+net.JoinHostPort(h.address, "2380")
	s.args = []string{
		"--name=" + member, "--data-dir=" + h.root + s.dataDir,
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer,
		"--initial-cluster=" + strings.Join(peers, ","), "--initial-cluster-token=of-something-else",
		"--client-cert-auth", "--trusted-ca-file=" + dir + "/ca", "--cert-file=" + dir + "/cert", "--key-file=" + dir + "/key",
		"--peer-client-cert-auth", "--peer-trusted-ca-file=" + dir + "/ca", "--peer-cert-file=" + dir + "/cert", "--peer-key-file=" + dir + "/key",
		"--peer-skip-client-san-verification",
	}
	return s
}

func (s *stranger) program() string {
	return filepath.Join(s.h.root, "opt/flotilla/etcd", s.c.rel.Version, "etcd")
}

// run starts a program that is the stranger, or runs it.
func (s *stranger) run(program string, args ...string) {
	s.c.t.Helper()
	s.process = exec.Command(program, args...)
	s.process.Env = []string{"PATH=/usr/bin:/bin"}
	s.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(s.c.t, s.process.Start())
	ended, process := make(chan struct{}), s.process
	s.ended = ended
	go func() {
		_ = process.Wait()
		close(ended)
	}()
	s.c.t.Cleanup(func() {
		_ = syscall.Kill(-process.Process.Pid, syscall.SIGKILL)
		<-ended
	})
}

func (s *stranger) start() { s.c.t.Helper(); s.run(s.program(), s.args...) }

// awaitServing waits until the stranger, or whoever has taken its place, serves.
func (s *stranger) awaitServing() {
	s.c.t.Helper()
	require.Eventually(s.c.t, s.serves, time.Minute, 50*time.Millisecond, "%s serves", s.member)
}

func (s *stranger) serves() bool {
	_, err := s.c.etcdctl(s.h, "get", "absent")
	return err == nil
}

// prepared does everything that comes before an adoption.
func (s *stranger) prepared() AdoptRequest {
	s.c.t.Helper()
	p := must[PrepareResult](s.h, VerbPrepare, prepareRequest(s.member))
	must[fleet.MemberReport](s.h, VerbCertify, s.c.certificates(s.h, s.member, p))
	req := AdoptRequest{
		Cluster: clusterName, UID: clusterUID, DiskID: "disk-1", DataDir: s.dataDir,
		Start: s.c.startRequest(s.h, s.member),
	}
	req.Start.PeerCN = ""
	return req
}

func (s *stranger) theirs() string { return filepath.Join(s.h.root, s.dataDir, "member") }
func (s *stranger) ours() string {
	return filepath.Join(s.h.root, "disks/disk-1", s.member, "data/member")
}

// adopted says which of the two places has the data; exactly one has it at any time.
func (s *stranger) adopted() bool {
	s.c.t.Helper()
	has := func(dir string) bool {
		_, err := os.Stat(filepath.Join(dir, "wal"))
		return err == nil
	}
	require.NotEqual(s.c.t, has(s.theirs()), has(s.ours()), "data is in one of %s and %s", s.theirs(), s.ours())
	return has(s.ours())
}

func (s *stranger) requireEnded() {
	s.c.t.Helper()
	select {
	case <-s.ended:
	case <-time.After(time.Minute):
		require.FailNow(s.c.t, "the process of the stranger has not ended")
	}
}

// requireKey says that a key written before is still there.
func (s *stranger) requireKey(key string) {
	s.c.t.Helper()
	out, err := s.c.etcdctl(s.h, "get", key, "--print-value-only")
	require.NoError(s.c.t, err, out)
	require.Equal(s.c.t, "1\n", out)
}

func (s *stranger) put(key string) {
	s.c.t.Helper()
	require.Eventually(s.c.t, func() bool { _, err := s.c.etcdctl(s.h, "put", key, "1"); return err == nil },
		time.Minute, 100*time.Millisecond, "%s takes a put", s.member)
}

// TestAdoptACluster takes over three members one by one. The others have certificates
// of other names meanwhile.
func TestAdoptACluster(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, "3.6")
	hosts := []*testHost{newTestHost(t), newTestHost(t), newTestHost(t)}
	var initial []Peer
	for i, h := range hosts {
		initial = append(initial, peerOf(h, fmt.Sprintf("orders-%d", i+1)))
	}
	strangers := make([]*stranger, len(hosts))
	for i, h := range hosts {
		strangers[i] = c.newStranger(h, initial[i].Name, "/disks/disk-1/etcd", initial...)
		strangers[i].start()
	}
	strangers[0].awaitServing()
	strangers[0].put("before")
	for i, s := range strangers {
		req := s.prepared()
		req.Start.Initial, req.Start.Existing, req.Start.Generation = initial, true, "op-1"
		r := must[fleet.MemberReport](hosts[i], VerbAdopt, req)
		s.requireEnded()
		require.Equal(t, "op-1", r.Configured.Generation)
		require.True(t, r.Configured.AnyPeer)
		r = hosts[i].awaitReady(s.member)
		require.True(t, s.adopted())
		require.Equal(t, r.PID, must[fleet.MemberReport](hosts[i], VerbAdopt, req).PID, "adopted twice")
		s.requireKey("before")
		s.put(fmt.Sprint("after-", i))
	}

	// All have our certificates: from now on, only peers may be peers.
	for i, s := range strangers {
		r := must[fleet.MemberReport](hosts[i], VerbStart, c.startRequest(hosts[i], s.member, initial...))
		require.False(t, r.Configured.AnyPeer)
		hosts[i].awaitReady(s.member)
	}
	s := strangers[0]
	for i := range strangers {
		s.requireKey(fmt.Sprint("after-", i))
	}

	// What started it before, cannot any more: not even as a new member.
	must[fleet.MemberReport](s.h, VerbStop, MemberRequest{Member: s.member})
	s.start()
	s.requireEnded()
	require.Equal(t, 1, s.process.ProcessState.ExitCode())
	text, err := os.ReadFile(s.theirs())
	require.NoError(t, err)
	require.Contains(t, string(text), "The data of this etcd is in "+s.ours())
	must[fleet.MemberReport](s.h, VerbRestart, MemberRequest{Member: s.member})
	s.h.awaitReady(s.member)
	must[struct{}](s.h, VerbWipe, MemberRequest{Member: s.member})
	require.NoDirExists(t, filepath.Dir(filepath.Dir(s.ours())))
}
