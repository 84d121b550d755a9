package node

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/binaries"
	"github.com/flotilla-etcd/flotilla/pki"
)

// These tests run the real flotilla-node, as a cloud's run-command service would:
// a script of Script given to /bin/sh, and its output given to ParseReply. The
// etcds are real ones too.

// flotillaNode gives the built program.
var flotillaNode = sync.OnceValues(func() (string, error) {
	dir, done, err := binaries.Build("./node/flotilla-node")
	removeBuilt = done
	return dir, err
})

var removeBuilt func()

func TestMain(m *testing.M) {
	code := m.Run()
	if removeBuilt != nil {
		removeBuilt()
	}
	os.Exit(code)
}

// release gives the newest release of a minor that `make build` left.
func release(t *testing.T, minor string) InstallRequest {
	t.Helper()
	text, err := os.ReadFile("../bin/releases.yaml")
	require.NoError(t, err, "no releases of etcd are here: run make build")
	var catalogue struct {
		Releases []struct {
			Version   string
			Artifacts map[string]struct{ URL, SHA256 string }
		}
	}
	require.NoError(t, yaml.Unmarshal(text, &catalogue))
	for _, r := range catalogue.Releases {
		if a, ok := r.Artifacts[Platform()]; ok && strings.HasPrefix(r.Version, minor+".") {
			return InstallRequest{Version: r.Version, URL: a.URL, SHA256: a.SHA256}
		}
	}
	require.FailNow(t, "etcd "+minor+" is not in bin/releases.yaml: run make build")
	return InstallRequest{}
}

// testHost is a root directory that stands for a host, with a supervisor.
type testHost struct {
	t       *testing.T
	root    string
	program string
	init    *exec.Cmd
	address string
	path    string // what comes first in the PATH of verbs, with a colon after it
}

func newTestHost(t *testing.T) *testHost {
	t.Helper()
	dir, err := flotillaNode()
	require.NoError(t, err)
	h := &testHost{t: t, root: t.TempDir(), program: filepath.Join(dir, "flotilla-node"), address: freeAddress(t)}
	h.boot()
	t.Cleanup(func() {
		if t.Failed() {
			h.dumpLogs()
		}
		// Whatever the test left: a supervisor is needed to end it in order.
		if h.init == nil {
			h.boot()
		}
		h.shutdown()
	})
	return h
}

// freeAddress gives an address of 127.0.0.0/8 on which etcd's ports are free.
func freeAddress(t *testing.T) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		return "127.0.0.1" // the only one that others have
	}
	for range 100 {
		address := fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))
		if checkPorts(t.Context(), StartRequest{Address: address, ClientPort: 2379, PeerPort: 2380}, nil, false) == nil {
			return address
		}
	}
	require.FailNow(t, "no free address was found")
	return ""
}

func (h *testHost) boot() {
	h.t.Helper()
	log, err := os.OpenFile(filepath.Join(h.root, "init.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	require.NoError(h.t, err)
	defer log.Close()
	h.init = exec.Command(h.program, "--root", h.root, "init")
	h.init.Stderr = log
	require.NoError(h.t, h.init.Start())
}

func (h *testHost) end(sig os.Signal) {
	_ = h.init.Process.Signal(sig)
	_ = h.init.Wait()
	h.init = nil
}

func (h *testHost) shutdown() { h.end(syscall.SIGTERM) }

func (h *testHost) dumpLogs() {
	logs, _ := filepath.Glob(filepath.Join(h.root, "var/log/flotilla/*.log"))
	for _, path := range append(logs, filepath.Join(h.root, "init.log")) {
		text, _ := os.ReadFile(path)
		h.t.Logf("%s ends with:\n%s", filepath.Base(path), text[max(0, len(text)-6000):])
	}
}

// shell gives the command that runs a verb as a cloud does.
func (h *testHost) shell(verb string, request any) *exec.Cmd {
	h.t.Helper()
	script, err := Script(verb, request)
	require.NoError(h.t, err)
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.Env = []string{"PATH=" + h.path + filepath.Dir(h.program) + ":/usr/bin:/bin", "FLOTILLA_NODE_ROOT=" + h.root}
	cmd.Stderr = os.Stderr
	return cmd
}

func do[R any](h *testHost, verb string, request any) (*R, error) {
	h.t.Helper()
	out, err := h.shell(verb, request).Output()
	reply, replyErr := ParseReply[R](string(out), "h-1")
	require.Equal(h.t, replyErr == nil, err == nil, "exit code and reply of %s: %v, %v", verb, err, replyErr)
	return reply, replyErr
}

func must[R any](h *testHost, verb string, request any) *R {
	h.t.Helper()
	r, err := do[R](h, verb, request)
	require.NoError(h.t, err)
	return r
}

func (h *testHost) report(member string) *fleet.MemberReport {
	h.t.Helper()
	return must[fleet.HostReport](h, VerbReport, nil).Find(member)
}

// awaitReady gives the report once the member serves.
func (h *testHost) awaitReady(member string) *fleet.MemberReport {
	h.t.Helper()
	var r *fleet.MemberReport
	require.Eventually(h.t, func() bool { r = h.report(member); return r.Ready }, time.Minute, 50*time.Millisecond,
		"%s becomes ready", member)
	return r
}

func (h *testHost) disk(id string) {
	h.t.Helper()
	require.NoError(h.t, os.MkdirAll(filepath.Join(h.root, "disks", id), 0o755))
}

// testCluster is who signs, and how members start.
type testCluster struct {
	t   *testing.T
	ca  *pki.Authority
	rel InstallRequest
}

const (
	clusterName = "orders"
	clusterUID  = "u1"
)

func newTestCluster(t *testing.T, minor string) *testCluster {
	t.Helper()
	ca, err := pki.NewAuthority(clusterName, clusterUID, time.Now())
	require.NoError(t, err)
	return &testCluster{t: t, ca: ca, rel: release(t, minor)}
}

func (c *testCluster) certificates(h *testHost, member string, p *PrepareResult) CertifyRequest {
	c.t.Helper()
	ips := []net.IP{net.ParseIP(h.address)}
	server, err := c.ca.SignServer([]byte(p.ServerCSR), member, ips, time.Now())
	require.NoError(c.t, err)
	peer, err := c.ca.SignPeer([]byte(p.PeerCSR), member, ips, time.Now())
	require.NoError(c.t, err)
	return CertifyRequest{Member: member, CA: string(c.ca.CertificatePEM()), ServerCert: string(server), PeerCert: string(peer)}
}

// ready does everything up to the start of a member.
func (c *testCluster) ready(h *testHost, member string) {
	c.t.Helper()
	h.disk("disk-1")
	must[InstallResult](h, VerbInstall, c.rel)
	prepared := must[PrepareResult](h, VerbPrepare, prepareRequest(member))
	must[fleet.MemberReport](h, VerbCertify, c.certificates(h, member, prepared))
}

func prepareRequest(member string) PrepareRequest {
	return PrepareRequest{Cluster: clusterName, UID: clusterUID, Member: member, DiskID: "disk-1"}
}

func peerOf(h *testHost, member string) Peer {
	return Peer{Name: member, URL: "https://" + net.JoinHostPort(h.address, "2380")}
}

func (c *testCluster) startRequest(h *testHost, member string, initial ...Peer) StartRequest {
	if initial == nil {
		initial = []Peer{peerOf(h, member)}
	}
	return StartRequest{
		Member: member, Version: c.rel.Version, Address: h.address, ClientPort: 2379, PeerPort: 2380,
		Token: clusterUID, Initial: initial, PeerCN: pki.PeerName(clusterName, clusterUID),
		Settings: fleet.Spec{}.WithDefaults().Etcd.EtcdSettings,
	}
}

// running gives a host on which a one-member cluster serves.
func (c *testCluster) running(h *testHost, member string) *fleet.MemberReport {
	c.t.Helper()
	c.ready(h, member)
	must[fleet.MemberReport](h, VerbStart, c.startRequest(h, member))
	return h.awaitReady(member)
}

// served gives the certificate that a member serves right now.
func (c *testCluster) served(h *testHost, port int) *tls.ConnectionState {
	c.t.Helper()
	config, err := c.ca.ClientTLS("flotilla", time.Now())
	require.NoError(c.t, err)
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
	defer cancel()
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", net.JoinHostPort(h.address, strconv.Itoa(port)))
	require.NoError(c.t, err)
	defer conn.Close()
	state := conn.(*tls.Conn).ConnectionState()
	return &state
}

// etcdctl runs the release's own client with the control plane's certificate.
func (c *testCluster) etcdctl(h *testHost, args ...string) (string, error) {
	c.t.Helper()
	dir := c.t.TempDir()
	key, csr, err := pki.NewKeyAndRequest("tester")
	require.NoError(c.t, err)
	cert, err := c.ca.SignClient(csr, "tester", time.Hour, time.Now())
	require.NoError(c.t, err)
	for name, data := range map[string][]byte{"ca": c.ca.CertificatePEM(), "cert": cert, "key": key} {
		require.NoError(c.t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	args = append([]string{"--endpoints=https://" + net.JoinHostPort(h.address, "2379"),
		"--cacert=" + dir + "/ca", "--cert=" + dir + "/cert", "--key=" + dir + "/key"}, args...)
	cmd := exec.Command(filepath.Join(h.root, "opt/flotilla/etcd", c.rel.Version, "etcdctl"), args...)
	cmd.Env = []string{}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func inJSON(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}
