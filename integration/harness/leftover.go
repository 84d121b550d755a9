package harness

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/stretchr/testify/require"
)

// Processes are the IDs of all processes on the environment's hosts, zombies left
// out, found by the mark in their environment that they all inherit.
func (e *Env) Processes() []int {
	mark := []byte("FLOTILLA_LOCAL_ROOT=" + filepath.Join(e.Dir, "local"))
	entries, _ := filepath.Glob("/proc/[0-9]*/environ")
	var pids []int
	for _, entry := range entries {
		environ, err := os.ReadFile(entry)
		if err != nil || !bytes.Contains(environ, mark) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(entry)))
		if err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Commands are the command lines of those processes.
func (e *Env) Commands() []string {
	var all []string
	for _, pid := range e.Processes() {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		all = append(all, strings.ReplaceAll(strings.TrimRight(string(line), "\x00"), "\x00", " "))
	}
	return all
}

func killPID(pid int) error { return syscall.Kill(pid, syscall.SIGKILL) }

// ExpectNothingLeft fails unless no host, disk, process, directory or secret of
// any cluster is left.
func (e *Env) ExpectNothingLeft() {
	e.t.Helper()
	ctx := e.t.Context()
	hosts, err := e.Provider.ListHosts(ctx, nil)
	require.NoError(e.t, err)
	require.Empty(e.t, hosts, "hosts are left")
	disks, err := e.Provider.ListDisks(ctx, nil)
	require.NoError(e.t, err)
	require.Empty(e.t, disks, "disks are left")
	copies, err := e.Provider.ListDiskSnapshots(ctx, nil)
	require.NoError(e.t, err)
	require.Empty(e.t, copies, "disk snapshots are left")
	Eventually(e.t, "no process is left", func(context.Context) error {
		if left := e.Commands(); len(left) > 0 {
			return fmt.Errorf("%s", strings.Join(left, "\n"))
		}
		return nil
	})
	for _, pattern := range []string{"local/hosts/*/fs", "local/disks/*/data", "local/snapshots/*/data", "objects/clusters/*", "verify-*"} {
		left, err := filepath.Glob(filepath.Join(e.Dir, pattern))
		require.NoError(e.t, err)
		require.Empty(e.t, left, "directories are left")
	}
}

// ExpectExactly fails unless the cluster has exactly these members, each with one
// host and one disk that were bought once, and one etcd process.
func (e *Env) ExpectExactly(cluster string, members ...string) {
	e.t.Helper()
	require.NoError(e.t, e.Exactly(e.t.Context(), cluster, members...))
}
