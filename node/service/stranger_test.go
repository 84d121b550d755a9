package service

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
)

func TestManagerOf(t *testing.T) {
	const agent = "0::/system.slice/cloud-agent.service\n"
	for name, c := range map[string]struct{ groups, own, want string }{
		"a service":            {"0::/system.slice/etcd.service\n", agent, "etcd.service"},
		"below a service":      {"0::/system.slice/system-etcd.slice/etcd@a.service/payload\n", agent, "etcd@a.service"},
		"of a user's manager":  {"0::/user.slice/user-7.slice/user@7.service/app.slice/etcd.service\n", agent, "etcd.service"},
		"a person's session":   {"0::/user.slice/user-0.slice/session-3.scope\n", agent, ""},
		"ours":                 {agent, agent, ""},
		"nothing known":        {"", "", ""},
		"without systemd":      {"0::/\n", "0::/\n", ""},
		"cgroups of version 1": {"12:cpu:/\n1:name=systemd:/system.slice/etcd.service\n0::/\n", "1:name=systemd:/\n", "etcd.service"},
		"docker":               {"0::/system.slice/docker-8f3c.scope\n", agent, "a container"},
		"kubernetes":           {"0::/kubepods.slice/kubepods-burstable.slice/cri-containerd-1.scope\n", agent, "a container"},
		"both in a container":  {"0::/docker/8f3c\n", "0::/docker/8f3c\n", ""},
	} {
		require.Equal(t, c.want, managerOf(c.groups, c.own), name)
	}
}

func TestListening(t *testing.T) {
	require.Equal(t, map[string]int{"4242": 2379, "4243": 2380}, listening(
		"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"+
			"   0: 0100007F:094B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0000000000000000 100 0 0 10 0\n"+
			"   1: 00000000000000000000000000000000:094C 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4243 1\n"+
			"   2: 0100007F:094B 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 4244 1\n"))
}

func TestStrangers(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "db")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	if _, err := Strangers(file); errors.Is(err, ErrCannotLook) {
		t.Skip(err)
	}
	open, err := os.Open(file)
	require.NoError(t, err)
	defer open.Close()
	found, err := Strangers(file)
	require.NoError(t, err)
	require.Empty(t, found, "the caller is no stranger to itself")

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	socket, err := listener.(*net.TCPListener).File()
	require.NoError(t, err)
	defer socket.Close()
	// The link shows that files are compared, not names.
	require.NoError(t, os.Symlink(dir, dir+"-link"))
	t.Cleanup(func() { _ = os.Remove(dir + "-link") })
	cmd := exec.Command("/bin/sh", "-c", "sleep 1000 & wait")
	cmd.ExtraFiles = []*os.File{open, socket}
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Wait() }()
	require.Eventually(t, func() bool {
		found, err = Strangers(dir + "-link/db")
		require.NoError(t, err)
		return len(found) == 2
	}, 10*time.Second, 10*time.Millisecond, "the shell and its child")
	for _, s := range found {
		require.True(t, s.Holds(dir))
		require.False(t, s.Holds(t.TempDir()))
		require.True(t, s.ComesFrom(cmd.Process.Pid))
		require.False(t, s.ComesFrom(os.Getpid()+1<<20))
		require.Empty(t, s.Manager, "the same as of this test")
		require.Equal(t, map[int]bool{listener.Addr().(*net.TCPAddr).Port: true}, s.Ports())
	}
	for _, s := range found {
		require.NoError(t, s.End(t.Context()))
		require.NoError(t, s.End(t.Context()), "it has ended")
	}
	found, err = Strangers(file)
	require.NoError(t, err)
	require.Empty(t, found)
}

func TestAStrangerThatDoesNotEndIsNotKilled(t *testing.T) {
	cmd := exec.Command("/bin/sh", "-c", `trap "" TERM; echo ready; while :; do sleep 0.1; done`)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	_, err = out.Read(make([]byte, 5))
	require.NoError(t, err)
	id, err := processIdentity(cmd.Process.Pid)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, Stranger{PID: cmd.Process.Pid, id: id}.End(ctx), context.DeadlineExceeded)
	require.True(t, alive(cmd.Process.Pid, id))
}

func TestUnits(t *testing.T) {
	for _, name := range []string{"", "etcd", "-a.service", "a b.service", "../a.service", unitName("orders-1")} {
		_, err := NewUnit(name)
		require.Equal(t, fleet.Invalid, fleet.KindOf(err), name)
	}
	u, err := NewUnit("etcd@a.service")
	require.NoError(t, err)
	f := &fakeSystemctl{show: "LoadState=loaded\nMainPID=42\n"}
	u.run = f.run
	pid, err := u.MainPID(t.Context())
	require.NoError(t, err)
	require.Equal(t, 42, pid)
	require.NoError(t, u.Stop(t.Context()))
	require.NoError(t, u.Disable(t.Context()))
	require.Equal(t, []string{"systemctl stop etcd@a.service", "systemctl disable etcd@a.service"}, f.changes())
	f.show = "LoadState=not-found\nMainPID=0\n"
	_, err = u.MainPID(t.Context())
	require.Equal(t, fleet.NotFound, fleet.KindOf(err))
	f.fails = "stop"
	require.Equal(t, fleet.Unavailable, fleet.KindOf(u.Stop(t.Context())))
}
