package bench

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
	"github.com/flotilla-etcd/flotilla/integration/judge"
	"github.com/flotilla-etcd/flotilla/pki"
)

const (
	// takeoverDeadAfter is how long the recovery looks on before it calls the voters dead; the
	// script believes it at once.
	takeoverDeadAfter = 2 * time.Second
	takeoverAim       = 10 * time.Second
	// takeoverGrowth is how long it is waited for that the cluster grows to its size again.
	takeoverGrowth = 90 * time.Second
	// takeoverWriters write to the voters until their zones fail, at least so much in all.
	takeoverWriters, takeoverWrites = 4, 300
)

// taking is a cluster that loses the zones of all its voters, and what becomes of its standby.
type taking struct {
	s            *stand
	cluster      string
	client       *harness.Access
	standby      string // its URL for clients
	acknowledged []string

	hand              takeover
	handLost, ourLost int // acknowledged writes

	running         *harness.Running
	asked           time.Time
	flotilla, grown time.Duration // from then until a write is acknowledged, and until it is whole; or zero
}

// BenchmarkTakeover loses the zones of all voters of a cluster in the middle of writes, and
// measures how long it takes until a write is acknowledged by what was its standby: by a plain
// script (a snapshot of the learner, restored, and started), and then by Flotilla, from the
// same learner.
func BenchmarkTakeover(b *testing.B) {
	megabytes := benchMB(b)
	s := newStand(b)
	out := newReport()
	out.machine()
	x := s.newTaking(megabytes)
	defer x.client.Close()
	x.loseVoters()
	x.byHand()
	progress("by hand: %s", short(x.hand.total))
	x.byFlotilla()
	progress("by Flotilla: %s", short(x.flotilla))
	x.end()
	x.report(out, megabytes)
	out.print(b, time.Since(s.began))
}

// newTaking creates a cluster of three with a standby, and fills it.
func (s *stand) newTaking(megabytes int) *taking {
	t := s.b
	x := &taking{s: s, cluster: "taken"}
	s.worker.Kill()
	s.e.Flags = append(s.e.Flags, "--zones", "a,b,c,d")
	s.worker = s.e.StartWorker("flotilla-worker")
	spec := savingSpec(x.cluster, 3)
	spec.Learners, spec.Standby.Zones, spec.Policy.DeadAfter = 1, []string{"d"}, fleet.Duration(takeoverDeadAfter)
	s.e.Create(spec.WithDefaults())
	var err error
	x.client, err = s.e.Connect(t.Context(), x.cluster, dialsAgainSoon)
	require.NoError(t, err)
	filler := judge.Filler{Bytes: int64(megabytes) << 20, ValueBytes: judge.ObjectBytes, Parallel: 32, Objects: true}
	require.NoError(t, judge.Fill(t.Context(), x.client.Client, filler))
	progress("filled to %d MB after %s", megabytes, short(time.Since(s.began)))
	hosts, err := s.e.HostsOf(t.Context(), x.cluster)
	require.NoError(t, err)
	i := slices.IndexFunc(hosts, func(h fleet.Host) bool { return h.Zone == "d" })
	require.GreaterOrEqual(t, i, 0, "%s has no host in zone d", x.cluster)
	x.standby = "https://" + net.JoinHostPort(hosts[i].Address, fmt.Sprint(hosts[i].Ports.First))
	x.caughtUp()
	return x
}

// caughtUp waits until the learner has all that was written so far.
func (x *taking) caughtUp() {
	require.NoError(x.s.b, x.s.e.Within(endure, func() error {
		ctx, cancel := context.WithTimeout(x.s.b.Context(), answerWithin)
		defer cancel()
		leads, err := x.client.Status(ctx, x.client.Endpoints[0])
		if err != nil {
			return err
		}
		follows, err := x.client.Status(ctx, x.standby)
		if err == nil && follows.RaftAppliedIndex < leads.RaftAppliedIndex {
			err = fmt.Errorf("the learner has applied %d of %d", follows.RaftAppliedIndex, leads.RaftAppliedIndex)
		}
		return err
	}))
}

// loseVoters has the zones of the voters fail while clients write to them.
func (x *taking) loseVoters() {
	ctx, cancel := context.WithCancel(x.s.b.Context())
	var mu sync.Mutex
	var writers sync.WaitGroup
	enough := make(chan struct{})
	for w := range takeoverWriters {
		writers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				key := fmt.Sprintf("k/%d/%d", w, i)
				if _, err := x.client.Put(ctx, key, "v"); err != nil {
					return
				}
				mu.Lock()
				if x.acknowledged = append(x.acknowledged, key); len(x.acknowledged) == takeoverWrites {
					close(enough)
				}
				mu.Unlock()
			}
		})
	}
	<-enough
	for _, zone := range []string{"a", "b", "c"} {
		require.NoError(x.s.b, x.s.e.Provider.FailZone(x.s.b.Context(), zone))
	}
	cancel()
	writers.Wait()
}

// lost counts the acknowledged writes that a cluster does not have.
func (x *taking) lost(client *clientv3.Client) (lost int) {
	there, err := client.Get(x.s.b.Context(), "k/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	require.NoError(x.s.b, err)
	keys := map[string]bool{}
	for _, kv := range there.Kvs {
		keys[string(kv.Key)] = true
	}
	for _, key := range x.acknowledged {
		if !keys[key] {
			lost++
		}
	}
	return lost
}

// writes tries a write until it is acknowledged.
func (x *taking) writes(client *clientv3.Client) {
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if _, err := client.Put(x.s.brief(), "taken over", "v"); err == nil {
			return
		}
		require.Less(x.s.b, time.Since(began), endure, "no write is acknowledged")
	}
}

// takeover is how long it took by hand.
type takeover struct{ saved, restored, total time.Duration }

// byHand does what etcdctl snapshot save does at the learner, restores that, and starts it as
// a member with Flotilla's flags and certificates of its own. It is ended again, and the
// learner is as it was.
func (x *taking) byHand() {
	s, b := x.s, x.s.b
	dir, err := os.MkdirTemp(s.e.Dir, "by-hand-")
	require.NoError(b, err)
	defer os.RemoveAll(dir)
	address := freeAddresses(1)[0]
	home, file, name := filepath.Join(dir, "m1"), filepath.Join(dir, "snapshot.db"), "m1"
	authority, err := pki.NewAuthority("by-hand", x.cluster, time.Now())
	require.NoError(b, err)
	s.certify(authority, home, name, net.ParseIP(address))
	env := append(os.Environ(), s.share(savingMachine)...)

	began := time.Now()
	x.client.SetEndpoints(x.standby)
	snapshot, err := x.client.Snapshot(b.Context())
	require.NoError(b, err)
	saved, err := os.Create(file)
	require.NoError(b, err)
	_, err = io.Copy(saved, snapshot)
	require.NoError(b, err)
	require.NoError(b, saved.Sync())
	require.NoError(b, saved.Close())
	x.hand.saved = time.Since(began)

	initial := name + "=https://" + address + ":2380"
	restore := exec.CommandContext(b.Context(), harness.Tool(b, "etcdutl"), "snapshot", "restore", file, "--data-dir", filepath.Join(home, "data"),
		"--name", name, "--initial-cluster", initial, "--initial-cluster-token", "by-hand", "--initial-advertise-peer-urls", "https://"+address+":2380")
	restore.Env = env
	said, err := restore.CombinedOutput()
	require.NoError(b, err, "%s", said)
	x.hand.restored = time.Since(began) - x.hand.saved

	log, err := os.Create(filepath.Join(home, "log"))
	require.NoError(b, err)
	defer log.Close()
	etcd := exec.CommandContext(b.Context(), harness.Tool(b, "etcd"), withQuota(flags(home, name, address, initial, "new", pki.PeerName("by-hand", x.cluster)))...)
	etcd.Env, etcd.Stderr = env, log
	require.NoError(b, etcd.Start())
	defer func() {
		_ = etcd.Process.Kill()
		_ = etcd.Wait()
	}()
	user := s.client(authority, []string{"https://" + address + ":2379"})
	defer user.Close()
	x.writes(user)
	x.hand.total = time.Since(began)
	x.handLost = x.lost(user)
}

// byFlotilla asks for a recovery to the standby, and waits for a write where it serves.
func (x *taking) byFlotilla() {
	b := x.s.b
	x.client.SetEndpoints(x.standby)
	x.asked = time.Now()
	running, err := x.s.e.BeginChange(x.cluster, harness.Change{
		Kind:    fleet.RecoverQuorum,
		Options: fleet.Options{Without: []string{"taken-1", "taken-2", "taken-3"}, AcceptLoss: true, ToStandby: true},
	})
	require.NoError(b, err)
	x.writes(x.client.Client)
	x.flotilla = time.Since(x.asked)
	x.ourLost = x.lost(x.client.Client)
	x.running = running
}

// end waits for the growth to full size, but not for long, and takes the cluster down.
func (x *taking) end() {
	b, e := x.s.b, x.s.e
	for until := time.Now().Add(takeoverGrowth); !x.running.Ended() && time.Now().Before(until); {
		time.Sleep(100 * time.Millisecond)
	}
	if x.running.Ended() {
		_, err := x.running.Await()
		require.NoError(b, err)
		x.grown = time.Since(x.asked)
	} else {
		_, err := e.Client.Cancel(b.Context(), x.cluster, x.running.Ref.ID, "")
		require.NoError(b, err)
		_, _ = x.running.Await() // it says that it was cancelled
	}
	e.Decommission(x.cluster, fleet.Options{SkipFinalSnapshot: true})
	e.ExpectNothingLeft()
}

func (x *taking) report(out *report, megabytes int) {
	out.section(fmt.Sprintf("The standby takes over, %d MB: until a write is acknowledged", megabytes),
		fmt.Sprintf("once, the script first; Flotilla looks on for %s before it calls the voters dead", takeoverDeadAfter))
	out.row("by hand", short(x.hand.total))
	out.row("  snapshot of the learner", short(x.hand.saved))
	out.row("  etcdutl snapshot restore", short(x.hand.restored))
	out.row("  start, until a write", short(x.hand.total-x.hand.saved-x.hand.restored))
	out.row("by Flotilla", short(x.flotilla))
	for _, p := range x.s.history(x.running.Ref.WorkflowID).spans {
		if p.began.Sub(x.asked) < x.flotilla {
			out.row("  "+p.name, short(p.ended.Sub(p.began)), "from "+short(p.began.Sub(x.asked)))
		}
	}
	out.row("ratio", fmt.Sprintf("%.2f", x.flotilla.Seconds()/x.hand.total.Seconds()))
	out.row("acknowledged writes lost, by hand", fmt.Sprintf("%d of %d", x.handLost, len(x.acknowledged)))
	out.row("acknowledged writes lost, by Flotilla", fmt.Sprintf("%d of %d", x.ourLost, len(x.acknowledged)))
	grown := "not within " + short(takeoverGrowth) + ", and was cancelled"
	if x.grown > 0 {
		grown = "after " + short(x.grown)
	}
	out.note("It grew to three voters: %s.", grown)
	met := "met"
	if x.flotilla > takeoverAim {
		met = "NOT met"
	}
	out.note("The aim: under %s for %d MB: %s.", short(takeoverAim), defaultMB, met)
	out.metrics["takeover-s"] = x.flotilla.Seconds()
	out.metrics["takeover-x-by-hand"] = x.flotilla.Seconds() / x.hand.total.Seconds()
}

// withQuota has a member of the script take as much data as Flotilla's.
func withQuota(args []string) []string {
	for i := range args {
		if strings.HasPrefix(args[i], "--quota-backend-bytes=") {
			args[i] = fmt.Sprintf("--quota-backend-bytes=%d", int64(savingQuota))
		}
	}
	return args
}
