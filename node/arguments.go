package node

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// dialect is how the flags of a minor of etcd differ from the others', as their
// --help says.
type dialect struct {
	// corruptionChecks turns on what is off by default: comparing the data with the
	// peers' before serving, and the hashes of compactions from then on.
	corruptionChecks []string
	// skipSAN keeps a peer from comparing the other's source address with its
	// certificate.
	skipSAN string
	// maxLearners says that --max-learners is known; without it, 1 is fixed.
	maxLearners bool
}

// dialects are the minors that are known. 3.7 ends at once on any
// --experimental-* flag, 3.5 knows no feature gates.
var dialects = map[string]dialect{
	"3.5": {
		corruptionChecks: []string{"--experimental-initial-corrupt-check=true", "--experimental-compact-hash-check-enabled=true"},
		skipSAN:          "--experimental-peer-skip-client-san-verification=true",
	},
	"3.6": {
		corruptionChecks: []string{"--feature-gates=InitialCorruptCheck=true,CompactHashCheck=true"},
		skipSAN:          "--peer-skip-client-san-verification=true",
		maxLearners:      true,
	},
	"3.7": {
		corruptionChecks: []string{"--feature-gates=InitialCorruptCheck=true,CompactHashCheck=true"},
		skipSAN:          "--peer-skip-client-san-verification=true",
		maxLearners:      true,
	},
}

func dialectOf(version string) (dialect, error) {
	match := releaseVersion.FindStringSubmatch(version)
	if match == nil {
		return dialect{}, fleet.Errorf(fleet.Invalid, "release", "%q is not a version of etcd, as in 3.7.3", version)
	}
	d, ok := dialects[match[1]]
	if !ok {
		return dialect{}, fleet.Errorf(fleet.Invalid, releaseResource(version), "this flotilla-node does not know the flags of etcd %s, only those of %s",
			match[1], strings.Join(slices.Sorted(maps.Keys(dialects)), ", ")).WithRemedy("bring a newer flotilla-node to the host, or choose another version")
	}
	return d, nil
}

// arguments gives etcd's command line for a member, without the program.
// Everything is said by flags: nothing depends on an environment or a file that
// somebody may have left.
func (n *Node) arguments(m member, req StartRequest) ([]string, error) {
	d, err := dialectOf(req.Version)
	if err != nil {
		return nil, err
	}
	address, err := netip.ParseAddr(req.Address)
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, resourceOf(req.Member), "%q is not an IP address", req.Address)
	}
	clientURL := "https://" + net.JoinHostPort(req.Address, strconv.Itoa(req.ClientPort))
	peerURL := "https://" + net.JoinHostPort(req.Address, strconv.Itoa(req.PeerPort))
	initial := make([]string, len(req.Initial))
	for i, peer := range req.Initial {
		initial[i] = peer.Name + "=" + peer.URL
	}
	state := "new"
	if req.Existing {
		state = "existing"
	}
	args := []string{
		"--name=" + req.Member,
		"--data-dir=" + m.dataDir(n),
		"--listen-client-urls=" + clientURL,
		"--advertise-client-urls=" + clientURL,
		"--listen-peer-urls=" + peerURL,
		"--initial-advertise-peer-urls=" + peerURL,
		"--initial-cluster=" + strings.Join(initial, ","),
		"--initial-cluster-state=" + state,
		"--initial-cluster-token=" + req.Token,
		"--strict-reconfig-check=true",

		"--client-cert-auth=true",
		"--trusted-ca-file=" + n.pkiFile(req.Member, caCert),
		"--cert-file=" + n.pkiFile(req.Member, serverCert),
		"--key-file=" + n.pkiFile(req.Member, serverKey),
		"--peer-client-cert-auth=true",
		"--peer-trusted-ca-file=" + n.pkiFile(req.Member, caCert),
		"--peer-cert-file=" + n.pkiFile(req.Member, peerCert),
		"--peer-key-file=" + n.pkiFile(req.Member, peerKey),
	}
	if req.PeerCN != "" {
		args = append(args, "--peer-cert-allowed-cn="+req.PeerCN)
	}
	args = append(args,
		"--tls-min-version=TLS1.2",

		"--logger=zap",
		"--log-level=info",
		"--log-outputs=stderr",
		"--metrics=basic",
	)
	// All of 127.0.0.0/8 dials from 127.0.0.1, which is in no certificate but that
	// one's. The common name still says who is a peer.
	if address.IsLoopback() {
		args = append(args, d.skipSAN)
	}
	args = append(args, d.corruptionChecks...)
	settings, err := d.settings(req.Settings)
	return append(args, settings...), err
}

// settings gives the flags of what a user may choose. What is zero is left to etcd.
func (d dialect) settings(s fleet.EtcdSettings) ([]string, error) {
	var args []string
	add := func(flag string, value int64) {
		if value != 0 {
			args = append(args, fmt.Sprintf("--%s=%d", flag, value))
		}
	}
	add("quota-backend-bytes", int64(s.Quota))
	add("snapshot-count", s.SnapshotCount)
	add("heartbeat-interval", time.Duration(s.HeartbeatInterval).Milliseconds())
	add("election-timeout", time.Duration(s.ElectionTimeout).Milliseconds())
	add("max-request-bytes", int64(s.MaxRequest))
	add("max-txn-ops", int64(s.MaxTxnOps))
	switch {
	case d.maxLearners:
		add("max-learners", int64(s.MaxLearners))
	case s.MaxLearners > 1:
		return nil, fleet.Errorf(fleet.Invalid, "settings", "etcd 3.5 has one learner at most, not %d", s.MaxLearners)
	}
	switch mode := s.AutoCompaction.Mode; mode {
	case "", "off":
		args = append(args, "--auto-compaction-retention=0")
	case "periodic":
		args = append(args, "--auto-compaction-mode=periodic", "--auto-compaction-retention="+s.AutoCompaction.Retention.String())
	case "revision":
		args = append(args, "--auto-compaction-mode=revision", fmt.Sprintf("--auto-compaction-retention=%d", s.AutoCompaction.Revisions))
	default:
		return nil, fleet.Errorf(fleet.Invalid, "settings", "%q is not a mode of auto-compaction: off, periodic or revision", mode)
	}
	return args, nil
}
