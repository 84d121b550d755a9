package node

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
)

func TestAdoptRefuses(t *testing.T) {
	t.Parallel()
	h, c := newTestHost(t), newTestCluster(t, "3.7")
	s := c.newStranger(h, "orders-1", "/disks/disk-1/etcd")
	s.start()
	s.awaitServing()
	req := AdoptRequest{Cluster: clusterName, UID: clusterUID, DiskID: "disk-1", DataDir: s.dataDir, Start: c.startRequest(h, "orders-1")}
	adopt := func(change func(*AdoptRequest)) error {
		t.Helper()
		r := req
		change(&r)
		_, err := do[fleet.MemberReport](h, VerbAdopt, r)
		return err
	}
	refused := func(kind fleet.Kind, words string, change func(*AdoptRequest)) {
		t.Helper()
		err := adopt(change)
		require.Equal(t, kind, fleet.KindOf(err), "%v", err)
		require.ErrorContains(t, err, words)
	}
	none := func(*AdoptRequest) {}
	refused(fleet.NotFound, "prepare it first", none)
	prepared := must[PrepareResult](h, VerbPrepare, prepareRequest("orders-1"))
	refused(fleet.Conflict, "not certified", none)
	must[fleet.MemberReport](h, VerbCertify, c.certificates(h, "orders-1", prepared))

	refused(fleet.Blocked, "not member orders-1 of orders (u2)", func(r *AdoptRequest) { r.UID = "u2" })
	refused(fleet.Blocked, "on disk disk-2", func(r *AdoptRequest) { r.DiskID = "disk-2" })
	refused(fleet.Conflict, "is not installed", func(r *AdoptRequest) { r.Start.Version = "3.7.0" })
	refused(fleet.Invalid, "not the name of a service", func(r *AdoptRequest) { r.Unit = "--now" })
	refused(fleet.Invalid, "that something else made", func(r *AdoptRequest) { r.Unit = "flotilla-etcd-orders-1.service" })
	refused(fleet.Invalid, "not an absolute path", func(r *AdoptRequest) { r.DataDir = "etcd" })
	refused(fleet.Invalid, "there is no directory", func(r *AdoptRequest) { r.DataDir = "/disks/disk-1/absent" })
	elsewhere := filepath.Join(h.root, "elsewhere/member/wal")
	require.NoError(t, os.MkdirAll(elsewhere, 0o700))
	refused(fleet.Invalid, "is not on disk disk-1", func(r *AdoptRequest) { r.DataDir = "/elsewhere" })
	refused(fleet.Invalid, "is not on disk disk-1", func(r *AdoptRequest) { r.DataDir = "/disks/disk-1/../../elsewhere" })
	disk := filepath.Join(h.root, "disks/disk-1")
	require.NoError(t, os.Symlink("../../elsewhere", filepath.Join(disk, "link")))
	refused(fleet.Invalid, "is not on disk disk-1", func(r *AdoptRequest) { r.DataDir = "/disks/disk-1/link" })
	require.NoError(t, os.MkdirAll(filepath.Join(disk, "parts/member/snap"), 0o700))
	require.NoError(t, os.Symlink(elsewhere, filepath.Join(disk, "parts/member/wal")))
	refused(fleet.Invalid, "has parts elsewhere", func(r *AdoptRequest) { r.DataDir = "/disks/disk-1/parts" })

	listener, err := net.Listen("tcp", net.JoinHostPort(h.address, "2381"))
	require.NoError(t, err)
	refused(fleet.Conflict, h.address+":2381 is in use", func(r *AdoptRequest) { r.Start.PeerPort = 2381 })
	require.NoError(t, listener.Close())

	// What has the data open and is not an etcd, is not ended.
	idle := &stranger{h: h, c: c, member: "idle"}
	require.NoError(t, os.MkdirAll(filepath.Join(disk, "idle/member/wal"), 0o700))
	require.NoError(t, os.MkdirAll(filepath.Join(disk, "idle/member/snap"), 0o700))
	store := filepath.Join(disk, "idle/member/snap/db")
	require.NoError(t, os.WriteFile(store, nil, 0o600))
	idle.run("/bin/sh", "-c", "exec sleep 1000 <"+store)
	refused(fleet.Conflict, fmt.Sprintf("process %d has its store open and is not an etcd server", idle.process.Process.Pid),
		func(r *AdoptRequest) { r.DataDir = "/disks/disk-1/idle" })

	// All of that, and the stranger has noticed nothing.
	require.False(t, s.adopted())
	r := h.report("orders-1")
	require.Equal(t, "it was never started", r.NotReady)
	s.put("a")

	// Data in both places is for a person.
	require.NoError(t, os.MkdirAll(filepath.Join(s.ours(), "snap"), 0o700))
	refused(fleet.Blocked, "in the member's own place as well", none)
	require.NoError(t, os.RemoveAll(s.ours()))

	// A wipe of what was prepared deletes nothing of the stranger's, even if it keeps
	// its data where ours would be.
	require.NoError(t, os.WriteFile(filepath.Join(disk, "orders-1/keep"), nil, 0o600))
	must[struct{}](h, VerbWipe, MemberRequest{Member: "orders-1"})
	require.FileExists(t, filepath.Join(disk, "orders-1/keep"))
	s.requireKey("a")
}

// TestAdoptOfWhatComesBack refuses a member that a loop starts again and again, and
// leaves it running.
func TestAdoptOfWhatComesBack(t *testing.T) {
	t.Parallel()
	h, c := newTestHost(t), newTestCluster(t, "3.7")
	s := c.newStranger(h, "orders-1", "/disks/disk-1/etcd")
	s.run("/bin/sh", append([]string{"-c", `while :; do "$@"; sleep 0.2; done`, "loop", s.program()}, s.args...)...)
	s.awaitServing()
	s.put("a")
	req := s.prepared()
	_, err := do[fleet.MemberReport](h, VerbAdopt, req)
	require.Equal(t, fleet.Conflict, fleet.KindOf(err), "%v", err)
	require.Regexp(t, `member orders-1: process \d+ runs it again after it was ended; keep it from being started again`, err.Error())
	require.False(t, s.adopted())
	s.awaitServing()
	s.requireKey("a")
	require.Equal(t, "its data is in "+filepath.Dir(s.theirs())+" and not taken over yet", h.report("orders-1").NotReady)
	_, err = do[fleet.MemberReport](h, VerbStart, req.Start)
	require.Equal(t, fleet.Conflict, fleet.KindOf(err), "a start would begin anew: %v", err)

	require.NoError(t, s.process.Process.Kill()) // the loop, not the etcd
	s.requireEnded()
	must[fleet.MemberReport](h, VerbAdopt, req)
	h.awaitReady("orders-1")
	require.True(t, s.adopted())
	s.requireKey("a")
}

// TestAdoptFromAUnit takes a member from systemd, whose systemctl is one of ours that
// knows one unit.
func TestAdoptFromAUnit(t *testing.T) {
	t.Parallel()
	h, c := newTestHost(t), newTestCluster(t, "3.7")
	s := c.newStranger(h, "orders-1", "/disks/disk-1/orders-1")
	s.start()
	s.awaitServing()
	s.put("a")
	bin, calls := t.TempDir(), filepath.Join(t.TempDir(), "calls")
	unitRuns := func(pid int) {
		t.Helper()
		script := fmt.Sprintf(`#!/bin/sh
echo "$@" >>%s
case "$*" in
"show --property=LoadState,MainPID etcd.service")
	echo LoadState=loaded
	if kill -0 %[2]d 2>/dev/null; then echo MainPID=%[2]d; else echo MainPID=0; fi ;;
show*) echo LoadState=not-found; echo MainPID=0 ;;
"stop etcd.service")
	kill %[2]d
	while kill -0 %[2]d; do sleep 0.05; done 2>/dev/null ;;
esac
exit 0
`, calls, pid)
		require.NoError(t, os.WriteFile(filepath.Join(bin, "systemctl"), []byte(script), 0o755))
	}
	called := func() []string {
		text, _ := os.ReadFile(calls)
		_ = os.Remove(calls)
		return strings.Split(strings.TrimSpace(string(text)), "\n")
	}
	if os.Geteuid() == 0 { // as a packaged etcd's data is another user's
		require.NoError(t, filepath.WalkDir(s.theirs(), func(path string, _ fs.DirEntry, err error) error {
			return errors.Join(err, os.Lchown(path, 65534, 65534))
		}))
	}
	req := s.prepared()
	req.Unit = "etcd.service"
	_, err := do[fleet.MemberReport](h, VerbAdopt, req)
	require.Error(t, err, "there is no such systemd")
	h.path = bin + ":"
	adopt := func() error {
		t.Helper()
		_, err := do[fleet.MemberReport](h, VerbAdopt, req)
		return err
	}
	unitRuns(os.Getpid()) // an ancestor of the stranger: what it started is its own
	req.Unit = "other.service"
	require.Equal(t, fleet.NotFound, fleet.KindOf(adopt()))
	req.Unit = "etcd.service"
	other := &stranger{h: h, c: c, member: "other"}
	other.run("/bin/sleep", "1000")
	unitRuns(other.process.Process.Pid)
	err = adopt()
	require.Equal(t, fleet.Invalid, fleet.KindOf(err), "%v", err)
	require.ErrorContains(t, err, "which is not of etcd.service")
	for _, call := range called() {
		require.True(t, strings.HasPrefix(call, "show "), "nothing is stopped: %s", call)
	}

	unitRuns(s.process.Process.Pid)
	require.NoError(t, adopt())
	s.requireEnded()
	require.True(t, s.adopted())
	require.NoError(t, filepath.WalkDir(s.ours(), func(path string, entry fs.DirEntry, err error) error {
		if err == nil {
			info, err := entry.Info()
			require.NoError(t, err)
			require.Equal(t, os.Geteuid(), int(info.Sys().(*syscall.Stat_t).Uid), path)
		}
		return nil
	}))
	h.awaitReady("orders-1")
	s.requireKey("a")
	require.Equal(t, []string{
		"show --property=LoadState,MainPID etcd.service", "stop etcd.service", "stop etcd.service", "disable etcd.service",
	}, called())
	require.NoError(t, adopt())
	require.Equal(t, []string{"stop etcd.service", "disable etcd.service"}, called(), "a boot in between may have started it")
}

// TestAdoptMayBeKilledAtAnyInstant kills it again and again. Whenever it has died, the
// etcd of before can run, or ours.
func TestAdoptMayBeKilledAtAnyInstant(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	h, c := newTestHost(t), newTestCluster(t, "3.7")
	s := c.newStranger(h, "orders-1", "/disks/disk-1")
	s.start()
	s.awaitServing()
	s.put("a")
	req := s.prepared()
	killed := func() {
		t.Helper()
		cmd := h.shell(VerbAdopt, req)
		cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
		require.NoError(t, cmd.Start())
		timer := time.AfterFunc(time.Duration(random.Int64N(int64(2*time.Second))), func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		timer.Stop()
	}
	restarts := 0
	for kills := 0; kills < 20 && restarts < 4; kills++ {
		killed()
		for deadline := time.Now().Add(time.Minute); !s.adopted() && !s.serves(); {
			require.True(t, time.Now().Before(deadline), "the etcd of before can run")
			select {
			case <-s.ended: // the kill came after it had been asked to end
				s.start()
				restarts++
			case <-time.After(50 * time.Millisecond):
			}
		}
		if s.adopted() {
			break
		}
	}
	t.Logf("the etcd of before was started again %d times", restarts)
	for range 4 {
		killed()
		s.adopted()
	}
	must[fleet.MemberReport](h, VerbAdopt, req)
	require.True(t, s.adopted())
	h.awaitReady("orders-1")
	s.requireKey("a")
	require.Equal(t, 1, h.running(), "one etcd, never two")
}
