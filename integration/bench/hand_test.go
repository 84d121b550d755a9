package bench

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
	"github.com/flotilla-etcd/flotilla/pki"
)

// handmade does what a careful person's script does, as fast as that can be: an
// authority and certificates of the same kind, the same flags, three processes,
// and a write again and again until it is acknowledged. It gives how long that
// took. It waits for nothing but the write, looks at nothing first, remembers
// nothing, and could not be killed in the middle.
func (s *stand) handmade(round int) time.Duration {
	t := s.b
	dir, err := os.MkdirTemp(s.e.Dir, "by-hand-")
	require.NoError(t, err)
	etcd := harness.Tool(t, "etcd")
	addresses := freeAddresses(3)

	began := time.Now()
	cluster, uid := "by-hand", fmt.Sprint(round)
	authority, err := pki.NewAuthority(cluster, uid, began)
	require.NoError(t, err)
	var initial, endpoints []string
	for i, address := range addresses {
		initial = append(initial, fmt.Sprintf("m%d=https://%s:2380", i+1, address))
		endpoints = append(endpoints, fmt.Sprintf("https://%s:2379", address))
	}
	var members []*exec.Cmd
	defer func() {
		for _, m := range members {
			_ = m.Process.Kill()
			_ = m.Wait()
		}
		_ = os.RemoveAll(dir)
	}()
	for i, address := range addresses {
		name := fmt.Sprintf("m%d", i+1)
		home := filepath.Join(dir, name)
		s.certify(authority, home, name, net.ParseIP(address))
		log, err := os.Create(filepath.Join(home, "log"))
		require.NoError(t, err)
		cmd := exec.CommandContext(t.Context(), etcd, flags(home, name, address, strings.Join(initial, ","), "new", pki.PeerName(cluster, uid))...)
		cmd.Stderr = log
		cmd.Env = append(os.Environ(), s.share("small")...)
		require.NoError(t, cmd.Start())
		_ = log.Close()
		members = append(members, cmd)
	}
	client := s.client(authority, endpoints)
	defer client.Close()
	for {
		if _, err := client.Put(s.brief(), "first", "write"); err == nil {
			return time.Since(began)
		}
		require.Less(t, time.Since(began), harness.Patience, "the cluster that was made by hand does not serve")
		time.Sleep(5 * time.Millisecond)
	}
}

// certify writes the same five files that Flotilla brings to a member.
func (s *stand) certify(authority *pki.Authority, home, name string, ip net.IP) {
	t := s.b
	require.NoError(t, os.MkdirAll(home, 0o700))
	write := func(file string, data []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(home, file), data, 0o600))
	}
	write("ca.crt", authority.CertificatePEM())
	key, request, err := pki.NewKeyAndRequest(name)
	require.NoError(t, err)
	certificate, err := authority.SignServer(request, name, []net.IP{ip}, time.Now())
	require.NoError(t, err)
	write("server.key", key)
	write("server.crt", certificate)
	key, request, err = pki.NewKeyAndRequest(name)
	require.NoError(t, err)
	certificate, err = authority.SignPeer(request, name, []net.IP{ip}, time.Now())
	require.NoError(t, err)
	write("peer.key", key)
	write("peer.crt", certificate)
}

// flags are the ones that Flotilla starts a member of etcd 3.6 or 3.7 with; sameFlags
// sees to that.
func flags(home, name, address, initial, state, peerCN string) []string {
	return []string{
		"--name=" + name, "--data-dir=" + filepath.Join(home, "data"),
		"--listen-client-urls=https://" + address + ":2379", "--advertise-client-urls=https://" + address + ":2379",
		"--listen-peer-urls=https://" + address + ":2380", "--initial-advertise-peer-urls=https://" + address + ":2380",
		"--initial-cluster=" + initial, "--initial-cluster-state=" + state, "--initial-cluster-token=by-hand",
		"--strict-reconfig-check=true",
		"--client-cert-auth=true", "--trusted-ca-file=" + filepath.Join(home, "ca.crt"),
		"--cert-file=" + filepath.Join(home, "server.crt"), "--key-file=" + filepath.Join(home, "server.key"),
		"--peer-client-cert-auth=true", "--peer-trusted-ca-file=" + filepath.Join(home, "ca.crt"),
		"--peer-cert-file=" + filepath.Join(home, "peer.crt"), "--peer-key-file=" + filepath.Join(home, "peer.key"),
		"--peer-cert-allowed-cn=" + peerCN, "--tls-min-version=TLS1.2",
		"--logger=zap", "--log-level=info", "--log-outputs=stderr", "--metrics=basic",
		"--peer-skip-client-san-verification=true", "--feature-gates=InitialCorruptCheck=true,CompactHashCheck=true",
		"--quota-backend-bytes=2147483648", "--snapshot-count=10000",
		"--heartbeat-interval=100", "--election-timeout=1000", "--max-request-bytes=1572864", "--max-txn-ops=128",
		"--max-learners=1", "--auto-compaction-retention=0",
	}
}

// share is as much of the processor and of memory as Flotilla's local hosts of a
// machine type give; it is in the environment of all processes on them.
func (s *stand) share(machine string) []string {
	types, err := s.e.Provider.MachineTypes(s.b.Context())
	require.NoError(s.b, err)
	i := slices.IndexFunc(types, func(t fleet.MachineType) bool { return t.Name == machine })
	require.GreaterOrEqual(s.b, i, 0, "there is no machine type %s", machine)
	return []string{fmt.Sprintf("GOMAXPROCS=%d", int(types[i].VCPUs)), fmt.Sprintf("GOMEMLIMIT=%s", types[i].Memory)}
}

// sameFlags fails unless the members of a cluster of Flotilla's run with the
// flags, the pace, and the share of the machine that the ones by hand have: else the
// two are not compared.
func (s *stand) sameFlags(cluster, machine string) {
	t := s.b
	hosts, err := s.e.HostsOf(t.Context(), cluster)
	require.NoError(t, err)
	var theirs []string
	for _, p := range s.e.HostProcesses(hosts[0].ID) {
		if p.Member() != "" {
			theirs = p.Args[1:]
			environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.PID))
			require.NoError(t, err)
			require.Subset(t, strings.Split(string(environ), "\x00"), s.share(machine), "a %s of Flotilla's has another share of the machine", machine)
		}
	}
	pace := []string{"--heartbeat-interval", "--election-timeout", "--snapshot-count", "--quota-backend-bytes", "--max-learners"}
	names := func(args []string) (all []string) {
		for _, arg := range args {
			name, value, _ := strings.Cut(arg, "=")
			if slices.Contains(pace, name) {
				name += "=" + value
			}
			all = append(all, name)
		}
		return all
	}
	require.ElementsMatch(t, names(theirs), names(flags("", "", "", "", "", "")),
		"Flotilla starts members with other flags than the script by hand; change hand_test.go")
}

// dialsAgainSoon has a client dial again at once, so that it is waited for etcd, and not for
// its client, which dials again after a second or more as a rule.
var dialsAgainSoon = grpc.WithConnectParams(grpc.ConnectParams{
	Backoff: backoff.Config{BaseDelay: 5 * time.Millisecond, Multiplier: 1, MaxDelay: 20 * time.Millisecond},
})

// client is a user's, with a certificate of its own.
func (s *stand) client(authority *pki.Authority, endpoints []string) *clientv3.Client {
	t := s.b
	key, request, err := pki.NewKeyAndRequest("bench")
	require.NoError(t, err)
	certificate, err := authority.SignClient(request, "bench", time.Hour, time.Now())
	require.NoError(t, err)
	pair, err := tls.X509KeyPair(certificate, key)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority.CertificatePEM())
	client, err := clientv3.New(clientv3.Config{
		Endpoints: endpoints, Logger: zap.NewNop(),
		TLS:         &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{pair}},
		DialOptions: []grpc.DialOption{dialsAgainSoon},
	})
	require.NoError(t, err)
	return client
}

// freeAddresses gives loopback addresses outside of what the local provider draws
// from, where nobody has etcd's ports.
func freeAddresses(count int) []string {
	var all []string
	for len(all) < count {
		address := fmt.Sprintf("127.8.%d.%d", rand.IntN(250)+1, rand.IntN(250)+1)
		client, err := net.Listen("tcp", address+":2379")
		if err != nil {
			continue
		}
		peer, err := net.Listen("tcp", address+":2380")
		_ = client.Close()
		if err != nil {
			continue
		}
		_ = peer.Close()
		if !slices.Contains(all, address) {
			all = append(all, address)
		}
	}
	return all
}
