package bench

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/flotilla-etcd/flotilla/integration/harness"
)

// What the script does to its cluster, operation by operation.

// roll restarts all members, one after another, the leader last. What they are
// restarted as has been set before: another release, another share of the machine.
func (x *script) roll() {
	for _, m := range x.leaderLast() {
		x.disturb(m)
		x.start(m)
		x.awaitInSync(m)
		x.tell(nil)
	}
}

// replace puts new members in the place of these, one after another: a learner is
// added, copies everything, gets its vote, and then the old one goes.
func (x *script) replace(all []*handMember) {
	for _, m := range all {
		x.join()
		x.leave(m)
	}
}

// scale makes the cluster have so many voters.
func (x *script) scale(voters int) {
	for len(x.members) < voters {
		x.join()
	}
	for len(x.members) > voters {
		leader := x.leader()
		followers := slices.DeleteFunc(slices.Clone(x.members), func(m *handMember) bool { return m == leader })
		x.leave(followers[len(followers)-1])
	}
}

// join adds a learner, starts it, and promotes it when it is in sync. etcd refuses
// both until it has seen all members for five seconds.
func (x *script) join() {
	m := x.newMember("existing")
	old := x.members[:len(x.members)-1]
	x.insist("a learner is added", func(ctx context.Context) error {
		return x.with(ctx, x.endpointsNow(), func(client *clientv3.Client) error {
			_, err := client.MemberAddAsLearner(ctx, []string{m.peerURL()})
			if err != nil && !errors.Is(err, rpctypes.ErrPeerURLExist) { // it may have been added by a try without an answer
				return err
			}
			list, err := client.MemberList(ctx)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(list.Members, func(listed *etcdserverpb.Member) bool { return slices.Contains(listed.PeerURLs, m.peerURL()) })
			if i < 0 {
				return errors.New("it is not listed")
			}
			m.id = list.Members[i].ID
			return nil
		})
	})
	x.start(m)
	x.awaitInSync(m)
	x.insist("the learner is promoted", func(ctx context.Context) error {
		return x.with(ctx, []string{old[0].clientURL()}, func(client *clientv3.Client) error {
			_, err := client.MemberPromote(ctx, m.id)
			return unless(err, rpctypes.ErrMemberNotLearner)
		})
	})
	x.tell(nil)
}

// leave ends a member, takes it out of the membership, and deletes what it had.
func (x *script) leave(m *handMember) {
	x.disturb(m)
	x.members = slices.DeleteFunc(x.members, func(other *handMember) bool { return other == m })
	x.insist("the member is removed", func(ctx context.Context) error {
		return x.with(ctx, x.endpointsNow(), func(client *clientv3.Client) error {
			_, err := client.MemberRemove(ctx, m.id)
			return unless(err, rpctypes.ErrMemberNotFound)
		})
	})
	require.NoError(x.s.b, os.RemoveAll(m.home))
}

// disturb stops a member when all are in sync and have been for a while, and another
// one leads.
func (x *script) disturb(m *handMember) {
	x.settle()
	if x.leader() == m {
		x.moveLeader(m)
	}
	x.tell(m)
	x.stop(m, syscall.SIGTERM)
}

// settle waits until all members are healthy and the youngest process has lived for
// the soak.
func (x *script) settle() {
	x.insist("all members are in sync", x.healthy)
	for {
		left := time.Duration(0)
		for _, m := range x.members {
			left = max(left, soak-time.Since(m.since))
		}
		if left == 0 {
			return
		}
		time.Sleep(left)
		x.insist("all members are in sync", x.healthy)
	}
}

// moveLeader moves the leader from a member to the one that was started last, which
// will not be touched again.
func (x *script) moveLeader(from *handMember) {
	var heir *handMember
	for _, m := range x.members {
		if m != from && (heir == nil || m.since.After(heir.since)) {
			heir = m
		}
	}
	x.insist("the leader moves", func(ctx context.Context) error {
		return x.with(ctx, []string{from.clientURL()}, func(client *clientv3.Client) error {
			_, err := client.MoveLeader(ctx, heir.id)
			return unless(err, rpctypes.ErrNotLeader)
		})
	})
}

// unless takes the refusal of what has been done already, by a try whose answer was
// lost, for a success.
func unless(err, done error) error {
	if errors.Is(err, done) {
		return nil
	}
	return err
}

// leaderLast gives the members in the order in which they are to be disturbed.
func (x *script) leaderLast() []*handMember {
	leader := x.leader()
	all := slices.DeleteFunc(slices.Clone(x.members), func(m *handMember) bool { return m == leader })
	return append(all, leader)
}

// awaitInSync waits until a member answers and has applied what the leader had.
func (x *script) awaitInSync(m *handMember) {
	leader := x.leader()
	x.insist(m.name+" is in sync", func(ctx context.Context) error {
		goal, err := x.ask(ctx, leader)
		if err != nil {
			leader = x.leader()
			return err
		}
		status, err := x.ask(ctx, m)
		if err != nil {
			return err
		}
		for status.RaftAppliedIndex < goal.RaftAppliedIndex {
			if err := ctx.Err(); err != nil {
				return err
			}
			time.Sleep(scriptPolls)
			if status, err = x.ask(ctx, m); err != nil {
				return err
			}
		}
		return nil
	})
}

// failover replaces the host of a member whose process was killed, and keeps its disk:
// once nothing has answered there for as long as Flotilla waits, etcd is told of
// another address and the member is started there on its data.
func (x *script) failover(m *handMember) {
	x.tell(m)
	for silent := time.Now(); time.Since(silent) < deadAfter; time.Sleep(scriptPolls) {
		ctx, cancel := context.WithTimeout(x.s.b.Context(), time.Second)
		if _, err := x.ask(ctx, m); err == nil {
			silent = time.Now()
		}
		cancel()
	}
	x.house(m)
	x.insist("the cluster knows the new address", func(ctx context.Context) error {
		return x.with(ctx, x.endpointsNow(), func(client *clientv3.Client) error {
			_, err := client.MemberUpdate(ctx, m.id, []string{m.peerURL()})
			return err
		})
	})
	x.start(m)
	x.awaitInSync(m)
	x.insist("all members are in sync", x.healthy)
	x.tell(nil)
}

// down saves a snapshot, restores it to see that it is good, and stops all members.
func (x *script) down() {
	t := x.s.b
	x.insist("all members are in sync", x.healthy)
	follower := x.leaderLast()[0]
	dir, err := os.MkdirTemp(x.dir, "snapshot-")
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "snapshot.db")
	require.NoError(t, x.with(t.Context(), []string{follower.clientURL()}, func(client *clientv3.Client) error {
		reader, err := client.Snapshot(t.Context())
		if err != nil {
			return err
		}
		defer reader.Close()
		out, err := os.Create(file)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, reader)
		return errors.Join(err, out.Sync(), out.Close())
	}))
	restored, err := exec.CommandContext(t.Context(), harness.Tool(t, "etcdutl"), "snapshot", "restore", file, "--data-dir", filepath.Join(dir, "data")).CombinedOutput()
	require.NoError(t, err, "%s", restored)
	for _, m := range x.members {
		_ = m.process.Process.Signal(syscall.SIGTERM)
	}
	for _, m := range x.members {
		x.awaitEnd(m)
	}
}

// up starts all members and waits until they serve.
func (x *script) up() {
	for _, m := range x.members {
		x.start(m)
	}
	x.insist("all members are in sync", x.healthy)
}

// end stops what is left at the end of the benchmark.
func (x *script) end() {
	for _, m := range x.members {
		_ = m.process.Process.Kill()
		<-m.exited
	}
}
