package bench

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/etcdadmin/etcdtest"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/pki"
)

const (
	// soak and deadAfter are Flotilla's defaults; the script waits as long.
	soak      = time.Duration(fleet.DefaultSoak)
	deadAfter = time.Duration(fleet.DefaultDeadAfter)
	// scriptPolls is how often the script looks at what it waits for. Most would say
	// `sleep 1`.
	scriptPolls = 100 * time.Millisecond
	// answerWithin bounds one question of the script's.
	answerWithin = 5 * time.Second
	// endure bounds every wait, of either side: 600 MB on a busy disk take minutes.
	endure = 15 * time.Minute
)

// script has a cluster that it started itself, with Flotilla's flags, and changes it
// as a careful person's plain script does: by clientv3 and signals, one member at a
// time, the leader last, and each only when all are in sync. It keeps no record, cannot
// be killed in the middle, and believes that what does not answer is dead.
type script struct {
	s         *stand
	dir       string
	authority *pki.Authority
	tls       *tls.Config
	version   string
	machine   string
	members   []*handMember // in the order in which they came
	named     int           // members ever

	mu   sync.Mutex
	told []string // where clients are to connect
}

// handMember is a member of the script's cluster, and its process.
type handMember struct {
	name, address, home string
	id                  uint64
	state               string // as in --initial-cluster-state
	process             *exec.Cmd
	exited              chan struct{}
	since               time.Time // its process runs
}

func (m *handMember) clientURL() string { return "https://" + m.address + ":2379" }
func (m *handMember) peerURL() string   { return "https://" + m.address + ":2380" }

// scriptCluster and scriptUID are what names in its certificates are made of.
const scriptCluster, scriptUID = "by-hand", "kept"

// newScript starts a cluster by hand that is kept.
func (s *stand) newScript(voters int, version, machine string) *script {
	t := s.b
	x := &script{s: s, version: version, machine: machine}
	var err error
	x.dir, err = os.MkdirTemp(s.e.Dir, "by-hand-")
	require.NoError(t, err)
	x.authority, err = pki.NewAuthority(scriptCluster, scriptUID, time.Now())
	require.NoError(t, err)
	x.tls, err = x.authority.ClientTLS("bench", time.Now())
	require.NoError(t, err)
	for range voters {
		x.newMember("new")
	}
	for _, m := range x.members {
		x.start(m)
	}
	x.insist("the cluster by hand serves", func(ctx context.Context) error {
		return x.with(ctx, x.endpointsNow(), func(client *clientv3.Client) error {
			list, err := client.MemberList(ctx)
			if err != nil {
				return err
			}
			for _, listed := range list.Members {
				for _, m := range x.members {
					if m.name == listed.Name {
						m.id = listed.ID
					}
				}
			}
			return x.healthy(ctx)
		})
	})
	x.tell(nil)
	return x
}

// newMember names a member, finds it an address and writes its certificates.
func (x *script) newMember(state string) *handMember {
	x.named++
	m := &handMember{name: fmt.Sprintf("m%d", x.named), state: state}
	m.home = filepath.Join(x.dir, m.name)
	x.house(m)
	x.members = append(x.members, m)
	return m
}

// house gives a member an address that nobody has, and certificates for it.
func (x *script) house(m *handMember) {
	m.address = freeAddresses(1)[0]
	x.s.certify(x.authority, m.home, m.name, net.ParseIP(m.address))
}

// start starts a member's process, on the data that is there.
func (x *script) start(m *handMember) {
	t := x.s.b
	etcd, err := etcdtest.Binary(x.version)
	require.NoError(t, err)
	log, err := os.OpenFile(filepath.Join(m.home, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	defer log.Close()
	var initial []string
	for _, other := range x.members {
		initial = append(initial, other.name+"="+other.peerURL())
	}
	m.process = exec.Command(etcd, flags(m.home, m.name, m.address, strings.Join(initial, ","), m.state, pki.PeerName(scriptCluster, scriptUID))...)
	m.process.Stderr = log
	m.process.Env = append(os.Environ(), x.s.share(x.machine)...)
	// By this mark the environment ends it too, whatever happens here.
	m.process.Env = append(m.process.Env, "FLOTILLA_LOCAL_ROOT="+filepath.Join(x.s.e.Dir, "local"))
	m.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, m.process.Start())
	m.since, m.exited = time.Now(), make(chan struct{})
	go func(process *exec.Cmd, exited chan struct{}) {
		_ = process.Wait()
		close(exited)
	}(m.process, m.exited)
}

// stop ends a member's process by a signal and waits for its end.
func (x *script) stop(m *handMember, by syscall.Signal) {
	_ = m.process.Process.Signal(by)
	x.awaitEnd(m)
}

func (x *script) awaitEnd(m *handMember) {
	select {
	case <-m.exited:
	case <-time.After(endure):
		require.Fail(x.s.b, "a member by hand does not end", m.name)
	}
}

// dial gives a client as a user of Flotilla's cluster has one.
func (x *script) dial(context.Context) (*clientv3.Client, error) {
	return x.connect(x.endpointsNow())
}

func (x *script) connect(endpoints []string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: 5 * time.Second, Logger: zap.NewNop(), TLS: x.tls})
}

func (x *script) with(_ context.Context, endpoints []string, do func(*clientv3.Client) error) error {
	client, err := x.connect(endpoints)
	if err != nil {
		return err
	}
	defer client.Close()
	return do(client)
}

// endpoints are where clients should connect: the script tells them before a member goes.
func (x *script) endpoints(context.Context) ([]string, error) { return x.endpointsNow(), nil }

func (x *script) endpointsNow() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.told) > 0 {
		return slices.Clone(x.told)
	}
	var all []string
	for _, m := range x.members {
		all = append(all, m.clientURL())
	}
	return all
}

// tell tells clients to use all members but one.
func (x *script) tell(but *handMember) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.told = nil
	for _, m := range x.members {
		if m != but {
			x.told = append(x.told, m.clientURL())
		}
	}
}

// insist tries until it works.
func (x *script) insist(what string, try func(ctx context.Context) error) {
	for began := time.Now(); ; time.Sleep(scriptPolls) {
		ctx, cancel := context.WithTimeout(x.s.b.Context(), answerWithin)
		err := try(ctx)
		cancel()
		if err == nil {
			return
		}
		require.Less(x.s.b, time.Since(began), endure, "by hand: expected that %s; %v", what, err)
	}
}

// ask gives a member's own status.
func (x *script) ask(ctx context.Context, m *handMember) (status *clientv3.StatusResponse, err error) {
	err = x.with(ctx, []string{m.clientURL()}, func(client *clientv3.Client) error {
		status, err = client.Status(ctx, m.clientURL())
		return err
	})
	return status, err
}

// leader asks who leads.
func (x *script) leader() (leader *handMember) {
	x.insist("there is a leader", func(ctx context.Context) (err error) {
		for _, m := range x.members {
			status, asked := x.ask(ctx, m)
			if err = asked; err != nil {
				continue
			}
			if i := slices.IndexFunc(x.members, func(m *handMember) bool { return m.id == status.Leader }); i >= 0 {
				leader = x.members[i]
				return nil
			}
			err = fmt.Errorf("%s knows of none", m.name)
		}
		return err
	})
	return leader
}

// healthy says what is wrong unless all members answer, are in sync, and serve a
// linearizable read.
func (x *script) healthy(ctx context.Context) error {
	var ahead uint64
	applied := map[*handMember]uint64{}
	for _, m := range x.members {
		status, err := x.ask(ctx, m)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		applied[m], ahead = status.RaftAppliedIndex, max(ahead, status.RaftAppliedIndex)
	}
	for _, m := range x.members {
		if applied[m]+fleet.SyncLag < ahead {
			return fmt.Errorf("%s is %d entries behind", m.name, ahead-applied[m])
		}
	}
	return x.with(ctx, []string{x.members[0].clientURL()}, func(client *clientv3.Client) error {
		_, err := client.Get(ctx, "health")
		return err
	})
}
