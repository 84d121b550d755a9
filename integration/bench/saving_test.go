package bench

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sys/unix"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
	"github.com/flotilla-etcd/flotilla/integration/judge"
	"github.com/flotilla-etcd/flotilla/pki"
	"github.com/flotilla-etcd/flotilla/starter"
	"github.com/flotilla-etcd/flotilla/workflows"
)

const (
	// savingMachine has as many cores as there are here, for the members of both sides
	// and for what makes their data.
	savingMachine = "medium"
	savingQuota   = 4 * fleet.GiB
	// memoryAim is what a worker may take at most while it backs up, and restoreAim how
	// much longer than by hand a restore.
	memoryAim  = 128 * fleet.MiB
	restoreAim = 1.3
)

// saving is a cluster that is saved, by Flotilla and by etcdctl, and restored from both.
type saving struct {
	s         *stand
	c         *contest
	megabytes int
	rounds    int
	dir       string
	env       []string // for etcdctl
	restored  int

	ctl, backup, idle felt
	memory, before    memory
	workerCPU         series
	size, storedSize  fleet.Bytes
	utl, restore      series
	// data is the part of our restore that begins with the first byte of the backup.
	data series
}

// BenchmarkBackupAndRestore saves and restores a cluster, by Flotilla, and by etcdctl and
// etcdutl, in turns, with a small and a large database.
func BenchmarkBackupAndRestore(b *testing.B) {
	small := benchMB(b)
	s := newStand(b)
	out := newReport()
	out.machine()
	for i, megabytes := range []int{small, small * 10 / 3} {
		x := s.newSaving(megabytes)
		x.rounds = 4 - 2*i // even: each side goes first as often as the other
		for round := range x.rounds {
			x.save(round)
		}
		for round := range x.rounds {
			x.restoreBoth(round)
		}
		s.decommission(x.c.managed.cluster, 3)
		require.NoError(b, os.RemoveAll(x.dir))
		x.report(out)
	}
	out.print(b, time.Since(s.began))
}

// newSaving creates a cluster of three and fills it.
func (s *stand) newSaving(megabytes int) *saving {
	t := s.b
	x := &saving{s: s, megabytes: megabytes}
	x.c = &contest{s: s, managed: &managed{s: s, cluster: fmt.Sprintf("saved-%d", megabytes)}}
	var err error
	x.dir, err = os.MkdirTemp(s.e.Dir, "by-hand-")
	require.NoError(t, err)
	s.e.Create(savingSpec(x.c.managed.cluster, 3))
	filler := judge.Filler{Bytes: int64(megabytes) << 20, ValueBytes: judge.ObjectBytes, Parallel: 32, Objects: true}
	began := time.Now()
	client, err := x.c.managed.dial(t.Context())
	require.NoError(t, err)
	defer client.Close()
	require.NoError(t, judge.Fill(t.Context(), client, filler))
	progress("filled to %d MB in %s", megabytes, short(time.Since(began)))
	x.c.fillers = append(x.c.fillers, filler)
	x.asUser()
	return x
}

func savingSpec(name string, voters int) fleet.Spec {
	spec := harness.Spec(name, voters, version)
	spec.Machine.Type, spec.Etcd.Quota = savingMachine, savingQuota
	return spec
}

// save saves the cluster by both, while clients use it.
func (x *saving) save(round int) {
	byHand := func() {
		x.c.feel(&change{name: "etcdctl snapshot save"}, x.c.managed, &x.ctl, &x.idle, x.snapshot)
		progress("etcdctl snapshot save: %s", short(x.ctl.took[len(x.ctl.took)-1]))
	}
	byFlotilla := func() {
		x.c.feel(&change{name: "backup"}, x.c.managed, &x.backup, &x.idle, x.flotillaBackup)
		progress("backup: %s, of which %s", short(x.backup.took[len(x.backup.took)-1]), x.c.managed.spent())
	}
	inTurns(round, byHand, byFlotilla)
}

// inTurns does both, the one first in even rounds and the other in odd ones. What the
// other wrote is on the disk before either begins: nobody waits for that.
func inTurns(round int, one, other func()) {
	both := []func(){one, other}
	for i := range both {
		unix.Sync()
		both[(round+i)%2]()
	}
}

func (x *saving) file() string { return filepath.Join(x.dir, "snapshot.db") }

// asUser has the environment that a user of the cluster gives etcdctl, to ask a follower.
func (x *saving) asUser() {
	t := x.s.b
	_, others := x.c.managed.hosts()
	answer := x.s.e.CLI("env", x.c.managed.cluster, "--dir", x.dir)
	require.Zero(t, answer.Code, answer.Err)
	x.env = os.Environ()
	for line := range strings.Lines(answer.Out) {
		name, value, is := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		if is && name != "ETCDCTL_ENDPOINTS" {
			x.env = append(x.env, name+"="+strings.Trim(value, `'"`))
		}
	}
	x.env = append(x.env, "ETCDCTL_ENDPOINTS=https://"+others[0].Address+":2379")
}

func (x *saving) snapshot() {
	cmd := exec.CommandContext(x.s.b.Context(), harness.Tool(x.s.b, "etcdctl"), "snapshot", "save", x.file())
	cmd.Env = x.env
	said, err := cmd.CombinedOutput()
	require.NoError(x.s.b, err, "%s", said)
}

func (x *saving) flotillaBackup() {
	m := x.c.managed
	pid := x.s.worker.PID()
	x.before = memoryOf(pid)
	end := watchMemory(pid)
	used := cpuOf(x.s.b, pid)
	running, err := x.s.e.BeginChange(m.cluster, harness.Change{Kind: fleet.BackupCluster})
	require.NoError(x.s.b, err)
	result, err := running.Await()
	require.NoError(x.s.b, err)
	x.workerCPU = append(x.workerCPU, time.Duration((cpuOf(x.s.b, pid)-used)*float64(time.Second)))
	x.memory = x.memory.most(end())
	m.last = running.Ref.WorkflowID
	require.NotNil(x.s.b, result.Backup)
	for _, step := range result.Progress.Steps {
		progress("  %s: %s", step.Step.Kind, step.Note)
	}
	x.size, x.storedSize = result.Backup.Size, result.Backup.StoredSize
}

// restoreBoth restores a cluster of one from what each saved last: until the first
// linearizable read.
func (x *saving) restoreBoth(round int) {
	inTurns(round, func() {
		x.utl = append(x.utl, x.byHand())
		progress("etcdutl snapshot restore, and start: %s", short(x.utl[len(x.utl)-1]))
	}, func() {
		took, data := x.byFlotilla()
		x.restore, x.data = append(x.restore, took), append(x.data, data)
		progress("restore: %s, of which its data %s", short(took), short(data))
	})
}

// byHand restores etcdctl's snapshot on an address that has certificates already.
func (x *saving) byHand() time.Duration {
	t, s := x.s.b, x.s
	home := filepath.Join(x.dir, "restored")
	address := freeAddresses(1)[0]
	authority, err := pki.NewAuthority("by-hand", "restored", time.Now())
	require.NoError(t, err)
	s.certify(authority, home, "m1", net.ParseIP(address))
	defer os.RemoveAll(home)
	client := s.client(authority, []string{"https://" + address + ":2379"})
	defer client.Close()
	env := append(os.Environ(), s.share(savingMachine)...)
	peer := "https://" + address + ":2380"

	began := time.Now()
	restore := exec.CommandContext(t.Context(), harness.Tool(t, "etcdutl"), "snapshot", "restore", x.file(),
		"--data-dir", filepath.Join(home, "data"), "--name", "m1", "--initial-cluster", "m1="+peer, "--initial-advertise-peer-urls", peer,
		"--initial-cluster-token", "by-hand", "--bump-revision", fmt.Sprint(fleet.RevisionBump), "--mark-compacted")
	restore.Env = env
	said, err := restore.CombinedOutput()
	require.NoError(t, err, "%s", said)
	args := withQuota(flags(home, "m1", address, "m1="+peer, "new", pki.PeerName("by-hand", "restored")))
	log, err := os.Create(filepath.Join(home, "log"))
	require.NoError(t, err)
	defer log.Close()
	etcd := exec.CommandContext(t.Context(), harness.Tool(t, "etcd"), args...)
	etcd.Stderr, etcd.Env = log, env
	require.NoError(t, etcd.Start())
	defer func() {
		_ = etcd.Process.Kill()
		_ = etcd.Wait()
	}()
	x.awaitRead(client)
	return time.Since(began)
}

// byFlotilla restores the last backup into a new cluster of one, which is bought for it,
// and gives how long that took in all, and from the first byte of the backup.
func (x *saving) byFlotilla() (all, data time.Duration) {
	t, e := x.s.b, x.s.e
	m := x.c.managed
	view, err := e.Client.Describe(t.Context(), m.cluster)
	require.NoError(t, err)
	found, err := e.Client.Backups(t.Context(), workflows.BackupsRequest{
		Provider: view.Spec.Provider, Region: view.Spec.Region, Clusters: []fleet.BackupsOf{{Cluster: m.cluster, UID: view.Summary.UID}},
	})
	require.NoError(t, err)
	x.restored++
	name := fmt.Sprintf("%s-copy-%d", m.cluster, x.restored)
	restore := fleet.RestoreOf(found.Backups[len(found.Backups)-1])

	began := time.Now()
	reply, err := e.Client.Create(t.Context(), savingSpec(name, 1), starter.Request{ID: starter.NewRequestID(), Options: fleet.Options{Restore: restore}})
	require.NoError(t, err)
	result := e.Await(starter.RefOf(name, reply))
	access, err := e.Connect(t.Context(), name)
	require.NoError(t, err)
	defer access.Close()
	x.awaitRead(access.Client)
	all = time.Since(began)
	var first, last time.Time
	for _, step := range result.Progress.Steps {
		progress("  %s: %s %s", step.Step.Kind, short(step.Ended.Sub(step.Started)), step.Note)
		switch step.Step.Kind {
		case fleet.RestoreMember:
			first = step.Started
		case fleet.StartMember:
			last = step.Ended
		}
	}
	running, err := e.BeginChange(name, harness.Change{Kind: fleet.DecommissionCluster, Options: fleet.Options{SkipFinalSnapshot: true}})
	require.NoError(t, err)
	_, err = running.Await()
	require.NoError(t, err)
	return all, last.Sub(first)
}

// awaitRead waits for a linearizable read of the last key, as soon as it is answered.
func (x *saving) awaitRead(client *clientv3.Client) {
	filler := x.c.fillers[0]
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		answer, err := client.Get(x.s.brief(), "filler/", clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err == nil {
			require.Equal(x.s.b, filler.Keys(), answer.Count)
			return
		}
		require.Less(x.s.b, time.Since(began), endure, "what was restored does not serve")
	}
}

func (x *saving) report(out *report) {
	rate := func(took time.Duration) string {
		return fmt.Sprintf("%.0f MB/s", float64(x.size)/(1<<20)/took.Seconds())
	}
	out.section(fmt.Sprintf("Backup of a database of %s, 3 members", x.size.Human()),
		fmt.Sprintf("%d rounds in turns; %d clients, each %d writes and %d reads a second", x.rounds, clients, perClient, perClient))
	out.row("", "median", "", "gap", "p99", "failed", "stored")
	row := func(label string, f felt, stored fleet.Bytes) {
		out.row(label, short(f.took.median()), rate(f.took.median()), short(f.gap), short(f.p99()), fmt.Sprint(f.failed), stored.Human())
	}
	row("etcdctl snapshot save", x.ctl, x.size)
	row("flotilla backup", x.backup, x.storedSize)
	out.row("nothing, before each of them", "", "", short(x.idle.gap), short(x.idle.p99()), fmt.Sprint(x.idle.failed))
	ratio := float64(x.ctl.took.median()) / float64(x.backup.took.median())
	out.row("throughput, of etcdctl's", fmt.Sprintf("%.2f", ratio))
	out.note("The worker: %s of memory of its own at most (%s before), %s with the pages of the copy that it reads; %s of CPU.",
		x.memory.own.Human(), x.before.own.Human(), x.memory.all.Human(), short(x.workerCPU.median()))
	out.section(fmt.Sprintf("Restore of %s as a cluster of one, until it is read from", x.size.Human()), fmt.Sprintf("%d rounds in turns", x.rounds))
	out.row("", "median", "fastest", "slowest")
	out.row("etcdutl snapshot restore, and start", x.utl.columns()...)
	out.row("flotilla restore", x.restore.columns()...)
	out.row("  of it the data and the start", x.data.columns()...)
	restored := float64(x.restore.median()) / float64(x.utl.median())
	out.row("ratio", fmt.Sprintf("%.2f", restored))
	out.row("  of the data and the start alone", fmt.Sprintf("%.2f", float64(x.data.median())/float64(x.utl.median())))
	met := func(is bool) string {
		if is {
			return "met"
		}
		return "NOT met"
	}
	out.note("The aims: etcdctl's throughput %s; %s of memory %s; %.1f times etcdutl %s.", met(ratio >= 1), memoryAim.Human(), met(x.memory.own < memoryAim),
		restoreAim, met(restored <= restoreAim))
	out.metrics[fmt.Sprintf("backup-%dMB-x-etcdctl", x.megabytes)] = ratio
	out.metrics[fmt.Sprintf("restore-%dMB-x-etcdutl", x.megabytes)] = restored
}
