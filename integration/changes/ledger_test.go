package changes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/integration/harness"
)

// ledger has what clusters held, by which it is seen whether a rescue brought it back.
type ledger struct {
	mu sync.Mutex
	// backed is what each held when it was backed up, and last before its last operation.
	backed, last map[string]state
	// lost are the hosts that each has lost, and kept is what was kept aside of it before.
	lost map[string][]string
	kept map[string]aside
}

func newLedger() *ledger {
	return &ledger{backed: map[string]state{}, last: map[string]state{}, lost: map[string][]string{}, kept: map[string]aside{}}
}

// state is what a cluster holds at a revision.
type state struct {
	keys     map[string]entry
	revision int64
}

type entry struct {
	value                             string
	created, modified, version, lease int64
}

// held reads a whole cluster at each of its members, which must hold the same. Keys by which
// the harness sees whether it serves are left out.
func held(ctx context.Context, e *harness.Env, cluster string) (s state, err error) {
	a, err := e.Connect(ctx, cluster)
	if err != nil {
		return s, err
	}
	defer a.Close()
	ctx, cancel := context.WithTimeout(ctx, harness.Patience)
	defer cancel()
	for _, endpoint := range a.Endpoints {
		a.SetEndpoints(endpoint)
		got, err := a.Get(ctx, "", clientv3.WithPrefix())
		if err != nil {
			return s, err
		}
		keys := map[string]entry{}
		for _, kv := range got.Kvs {
			if !strings.HasPrefix(string(kv.Key), "/") {
				keys[string(kv.Key)] = entry{string(kv.Value), kv.CreateRevision, kv.ModRevision, kv.Version, kv.Lease}
			}
		}
		if s.keys != nil {
			if err := differ(s.keys, keys); err != nil {
				return s, fmt.Errorf("%s holds something else than another member: %w", endpoint, err)
			}
		}
		s = state{keys, got.Header.Revision}
	}
	return s, nil
}

// differ says in what two contents differ.
func differ(want, got map[string]entry) error {
	var differing []string
	for key := range want {
		if got[key] != want[key] {
			differing = append(differing, key)
		}
	}
	for key := range got {
		if _, is := want[key]; !is {
			differing = append(differing, key)
		}
	}
	if len(differing) == 0 {
		return nil
	}
	key := slices.Min(differing)
	return fmt.Errorf("expected %d keys; there are %d, and %d differ: %s is to be %+v and is %+v", len(want), len(got), len(differing), key, want[key], got[key])
}

// below gives what is below a prefix, and the rest.
func (s state) below(prefix string) (below, rest map[string]entry) {
	below, rest = maps.Clone(s.keys), maps.Clone(s.keys)
	maps.DeleteFunc(below, func(key string, _ entry) bool { return !strings.HasPrefix(key, prefix) })
	maps.DeleteFunc(rest, func(key string, _ entry) bool { return strings.HasPrefix(key, prefix) })
	return below, rest
}

// values leaves only the values.
func values(keys map[string]entry) map[string]entry {
	only := map[string]entry{}
	for key, e := range keys {
		only[key] = entry{value: e.value}
	}
	return only
}

func (l *ledger) note(in map[string]state, cluster string, s state) {
	l.mu.Lock()
	defer l.mu.Unlock()
	in[cluster] = s
}

func (l *ledger) of(in map[string]state, cluster string) state {
	l.mu.Lock()
	defer l.mu.Unlock()
	return in[cluster]
}

// writes makes a leg's before of what a client writes.
func (l *ledger) writes(write func(ctx context.Context, a *harness.Access) error, notes ...map[string]state) func(context.Context, *harness.Env, string) error {
	return func(ctx context.Context, e *harness.Env, cluster string) error {
		a, err := e.Connect(ctx, cluster)
		if err != nil {
			return err
		}
		defer a.Close()
		timed, cancel := context.WithTimeout(ctx, harness.Patience)
		defer cancel()
		if err := write(timed, a); err != nil {
			return err
		}
		s, err := held(ctx, e, cluster)
		for _, in := range append(notes, l.last) {
			l.note(in, cluster, s)
		}
		return err
	}
}

// shop is below what keys are put back.
const shop = "shop/"

// stock writes keys, some of them several times, some deleted again, some with a lease.
func stock(ctx context.Context, a *harness.Access) error {
	lease, err := a.Grant(ctx, 36000)
	if err != nil {
		return err
	}
	var errs []error
	for round := range 2 {
		var puts, others []clientv3.Op
		for i := range 60 {
			puts = append(puts, clientv3.OpPut(fmt.Sprintf("%s%03d", shop, i), strings.Repeat(fmt.Sprint(round, i, " "), 50)))
			others = append(others, clientv3.OpPut(fmt.Sprintf("rest/%03d", i), fmt.Sprint(round, i)))
		}
		_, err = a.Txn(ctx).Then(puts...).Commit()
		_, oerr := a.Txn(ctx).Then(others...).Commit()
		_, lerr := a.Put(ctx, fmt.Sprintf("held/%d", round), "x", clientv3.WithLease(lease.ID))
		_, derr := a.Delete(ctx, fmt.Sprintf("rest/%03d", round))
		errs = append(errs, err, oerr, lerr, derr)
	}
	return errors.Join(errs...)
}

// spoil changes, deletes and adds keys.
func spoil(ctx context.Context, a *harness.Access) error {
	var ops []clientv3.Op
	for i := range 20 {
		ops = append(ops, clientv3.OpPut(fmt.Sprintf("%s%03d", shop, i), "spoiled"), clientv3.OpDelete(fmt.Sprintf("%s%03d", shop, i+20)),
			clientv3.OpPut(fmt.Sprintf("%snew/%03d", shop, i), "new"), clientv3.OpPut(fmt.Sprintf("rest/%03d", i), "later"))
	}
	_, err := a.Txn(ctx).Then(ops...).Commit()
	return err
}

// loseQuorum takes two of three members: the host of one ends with its disk, and of the other
// nobody hears any more, its member hangs, and it could come back.
func (l *ledger) loseQuorum(ctx context.Context, e *harness.Env, cluster string) error {
	hosts, err := e.HostsOf(ctx, cluster)
	if err != nil || len(hosts) != 3 {
		return fmt.Errorf("expected three hosts; there are %d: %w", len(hosts), err)
	}
	slices.SortFunc(hosts, func(a, b fleet.Host) int {
		return cmp.Compare(fleet.MemberNumber(cluster, a.Member()), fleet.MemberNumber(cluster, b.Member()))
	})
	ended, hangs := hosts[1], hosts[2]
	pid, err := e.AwaitMember(cluster, hangs.Member())
	if err != nil {
		return err
	}
	disks, err := e.Provider.ListDisks(ctx, iaas.Tags{fleet.TagCluster: cluster, fleet.TagMember: ended.Member()})
	if err != nil {
		return err
	}
	was, err := asideOf(ctx, e, cluster, ended.ID, hangs.ID)
	if err != nil {
		return err
	}
	if err := errors.Join(e.Provider.SilenceHost(ctx, hangs.ID), syscall.Kill(pid, syscall.SIGSTOP), e.Provider.FailHost(ctx, ended.ID)); err != nil {
		return err
	}
	l.mu.Lock()
	l.lost[cluster], l.kept[cluster] = []string{ended.ID, hangs.ID}, was
	l.mu.Unlock()
	for _, d := range disks {
		err = errors.Join(err, e.Provider.FailDisk(ctx, d.ID))
	}
	return err
}

// fenced says what is wrong unless the hosts that a cluster has lost are gone, with all that
// ran on them, and each host was bought once.
func (l *ledger) fenced(ctx context.Context, e *harness.Env, cluster string) error {
	l.mu.Lock()
	lost := l.lost[cluster]
	l.mu.Unlock()
	hosts, err := e.HostsOf(ctx, cluster)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(hosts, func(h fleet.Host) bool { return slices.Contains(lost, h.ID) }) {
		return fmt.Errorf("expected that the lost hosts %v are released; there are %v", lost, hosts)
	}
	if left := e.HostProcesses(lost...); len(left) > 0 {
		return fmt.Errorf("expected that nothing runs on the lost hosts; there are %v", left)
	}
	if bought, err := e.Bought(cluster); err != nil || bought != 5 {
		return fmt.Errorf("expected that two hosts were bought beside the first three; %d were: %w", bought, err)
	}
	return nil
}

// aside is how many directories are kept beside the data of a cluster's members, how many a
// restore or a recovery has left half done there, and how many copies there are of disks.
type aside struct{ kept, half, copies int }

func asideOf(ctx context.Context, e *harness.Env, cluster string, without ...string) (a aside, err error) {
	hosts, err := e.HostsOf(ctx, cluster)
	if err != nil {
		return a, err
	}
	for _, h := range hosts {
		if slices.Contains(without, h.ID) {
			continue
		}
		on := func(name string) int {
			found, gerr := filepath.Glob(filepath.Join(e.Dir, "local", "hosts", h.ID, "fs", "disks", "*", "*", name))
			err = errors.Join(err, gerr)
			return len(found)
		}
		a.kept += on("before-*")
		a.half += on("restoring-*") + on("recovering-*")
	}
	copies, lerr := e.Provider.ListDiskSnapshots(ctx, iaas.Tags{fleet.TagCluster: cluster})
	a.copies = len(copies)
	return a, errors.Join(err, lerr)
}

// keeps says what is wrong unless so many directories and copies of disks are kept of what a
// cluster held before, and nothing half done lies there.
func keeps(ctx context.Context, e *harness.Env, cluster string, n int) error {
	a, err := asideOf(ctx, e, cluster)
	if err == nil && a != (aside{kept: n, copies: n}) {
		err = fmt.Errorf("expected %d directories and as many copies of disks that are kept, and nothing half done; there are %+v", n, a)
	}
	return err
}

// keepsMore says what is wrong unless the survivor's data of before is kept beside what was
// there already, once; and a copy of its disk, for which there is little time, once at most.
func (l *ledger) keepsMore(ctx context.Context, e *harness.Env, cluster string) error {
	a, err := asideOf(ctx, e, cluster)
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.kept[cluster]
	if err == nil && (a.kept != was.kept+1 || a.half != 0 || a.copies > was.copies+1) {
		err = fmt.Errorf("expected that one directory and one copy more are kept, and nothing half done; there are %+v, and were %+v", a, was)
	}
	return err
}

// noScratch says what is wrong unless workers have left nothing of an operation that is not
// sealed.
func noScratch(e *harness.Env, operation string) error {
	left, err := filepath.Glob(filepath.Join(e.Dir, "backup-"+operation+"*"))
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("expected no scratch directory; there are %v", left)
	}
	return err
}

// backedUp says what is wrong unless a cluster has one backup, which is whole, and holds what
// the cluster did, by its manifest, by etcd's hash, and key by key.
func (l *ledger) backedUp(ctx context.Context, e *harness.Env, cluster string) error {
	view, err := e.Client.Describe(ctx, cluster)
	if err != nil {
		return err
	}
	vault, err := e.Vault(ctx)
	if err != nil {
		return err
	}
	entries, err := vault.List(ctx, cluster, view.Summary.UID)
	if err != nil || len(entries) != 1 || entries[0].Err != nil {
		return fmt.Errorf("expected one whole backup; there are %+v: %w", entries, err)
	}
	// What attempts have stored that died belongs to none.
	if _, err := vault.Sweep(ctx, cluster, view.Summary.UID, 0); err != nil {
		return err
	}
	m := entries[0].Manifest
	dir, err := os.MkdirTemp(e.Dir, "fetched-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "snapshot.db")
	if err := vault.Fetch(ctx, m, file, nil); err != nil {
		return err
	}
	stored, err := harness.ReadSnapshot(ctx, file, dir)
	if err != nil {
		return err
	}
	has := map[string]entry{}
	for key, value := range stored {
		if !strings.HasPrefix(key, "/") {
			has[key] = entry{value: value}
		}
	}
	if err := differ(values(l.of(l.backed, cluster).keys), has); err != nil {
		return fmt.Errorf("backup %s: %w", m.ID, err)
	}
	a, err := e.Connect(ctx, cluster)
	if err != nil {
		return err
	}
	defer a.Close()
	hash, err := a.HashKV(ctx, a.Endpoints[0], m.Revision)
	if err != nil || hash.Hash != m.Hash || len(stored) != m.Keys {
		return fmt.Errorf("expected %d keys and hash %08x at revision %d, as its manifest says; there are %d and %+v: %w", m.Keys, m.Hash, m.Revision, len(stored), hash, err)
	}
	return noScratch(e, m.Operation)
}

// putBack says what is wrong unless the keys of the shop are those of the backup, and all
// others untouched.
func (l *ledger) putBack(ctx context.Context, e *harness.Env, cluster string) error {
	now, err := held(ctx, e, cluster)
	if err != nil {
		return err
	}
	want, _ := l.of(l.backed, cluster).below(shop)
	_, untouched := l.of(l.last, cluster).below(shop)
	got, rest := now.below(shop)
	view, err := e.Client.Describe(ctx, cluster)
	if err != nil {
		return err
	}
	return errors.Join(differ(values(want), values(got)), differ(untouched, rest), noScratch(e, view.Operations[0].ID))
}

// restored says what is wrong unless a cluster holds what another one did when it was backed
// up, at a revision that was moved on once.
func (l *ledger) restored(ctx context.Context, e *harness.Env, cluster, from string) error {
	now, err := held(ctx, e, cluster)
	if err != nil {
		return err
	}
	was := l.of(l.backed, from)
	if err := differ(was.keys, now.keys); err != nil {
		return err
	}
	return within(now.revision, was.revision+fleet.RevisionBump)
}

// recovered says what is wrong unless a cluster holds what it did before its quorum was lost.
func (l *ledger) recovered(ctx context.Context, e *harness.Env, cluster string) error {
	now, err := held(ctx, e, cluster)
	if err != nil {
		return err
	}
	was := l.of(l.last, cluster)
	if err := differ(was.keys, now.keys); err != nil {
		return err
	}
	return within(now.revision, was.revision)
}

// within expects a revision, or one that is a few writes of the harness further.
func within(revision, least int64) error {
	if revision < least || revision > least+100 {
		return fmt.Errorf("expected that it is at revision %d or little more; it is at %d", least, revision)
	}
	return nil
}
