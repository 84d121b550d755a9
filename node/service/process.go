//go:build unix

package service

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// identity says which process a PID meant: PIDs are used again, a PID with its
// start time is not. Its form is the platform's (see processIdentity).
type identity string

// alive says whether this very process lives. A zombie does not.
func alive(pid int, id identity) bool {
	if pid <= 0 || id == "" {
		return false
	}
	got, err := processIdentity(pid)
	return err == nil && got == id
}

// livenessPoll is how often a process that is not our child is looked at: only a
// parent is told of an end.
const livenessPoll = 100 * time.Millisecond

// awaitGone waits until a process that is not our child has ended.
func awaitGone(ctx context.Context, pid int, id identity) error {
	ticker := time.NewTicker(livenessPoll)
	defer ticker.Stop()
	for alive(pid, id) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
	return nil
}

// signalEnd asks a process to end. SIGCONT lets one that was stopped hear it.
func signalEnd(pid int) {
	_ = unix.Kill(pid, unix.SIGTERM)
	_ = unix.Kill(pid, unix.SIGCONT)
}

// signalKill kills a process and the rest of the group that it leads.
func signalKill(pid int) {
	_ = unix.Kill(-pid, unix.SIGKILL)
	_ = unix.Kill(pid, unix.SIGKILL)
}

// endProcess ends a process that is not our child: asked first, killed after
// StopTimeout.
func endProcess(ctx context.Context, pid int, id identity) error {
	if !alive(pid, id) {
		return nil
	}
	signalEnd(pid)
	patience, cancel := context.WithTimeout(ctx, StopTimeout)
	defer cancel()
	if awaitGone(patience, pid, id) == nil {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if alive(pid, id) {
		signalKill(pid)
	}
	return awaitGone(ctx, pid, id)
}

// leadsGroup says whether a process is the first of its group, as every process
// is that the supervisor starts; what such a process starts itself, is not.
func leadsGroup(pid int) bool {
	group, err := unix.Getpgid(pid)
	return err == nil && group == pid
}

var errNoProcess = errors.New("no such process")
