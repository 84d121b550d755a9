package dev

import (
	"context"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/flotilla-etcd/flotilla/starter/devenv"
)

// endLeftovers ends programs that a killed supervisor left behind. A process ID may
// belong to somebody else by now, so the command line must be ours: the program and
// this data directory.
func endLeftovers(ctx context.Context, r devenv.Record, say func(string, ...any)) {
	for name, process := range r.Processes {
		if !isOurs(ctx, process, r.DataDir) {
			continue
		}
		say("%s (process %d) was left running; ending it", name, process.PID)
		_ = syscall.Kill(process.PID, syscall.SIGTERM)
		for deadline := time.Now().Add(5 * time.Second); alive(process.PID); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				_ = syscall.Kill(process.PID, syscall.SIGKILL)
				break
			}
		}
	}
}

func isOurs(ctx context.Context, process devenv.Process, dataDir string) bool {
	if process.PID <= 1 || !alive(process.PID) {
		return false
	}
	// ps is the one way that Linux and macOS share.
	out, err := exec.CommandContext(ctx, "ps", "-ww", "-o", "command=", "-p", strconv.Itoa(process.PID)).Output()
	return err == nil && strings.Contains(string(out), process.Program) && strings.Contains(string(out), dataDir)
}

// alive says whether there is a process of this ID that we may signal.
func alive(pid int) bool { return pid > 1 && syscall.Kill(pid, 0) == nil }
