package local

import (
	"bytes"
	"fmt"

	"golang.org/x/sys/unix"
)

// zombie is SZOMB of sys/proc.h.
const zombie = 5

// withMarker gives the live processes that carry the marker, and all that
// descend from them: macOS does not show the environment of its own programs,
// such as the shell.
func withMarker(marker []string) ([]process, error) {
	all, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	var queue []int
	for _, k := range all {
		if k.Proc.P_stat == zombie {
			continue
		}
		pid := int(k.Proc.P_pid)
		children[int(k.Eproc.Ppid)] = append(children[int(k.Eproc.Ppid)], pid)
		if hasMarker(pid, marker) {
			queue = append(queue, pid)
		}
	}
	seen := map[int]bool{}
	var found []process
	for len(queue) > 0 {
		pid := queue[0]
		queue = queue[1:]
		if !seen[pid] {
			seen[pid] = true
			if start := startOf(pid); start != "" {
				found = append(found, process{PID: pid, Start: start})
			}
			queue = append(queue, children[pid]...)
		}
	}
	return found, nil
}

// hasMarker says whether a process is alive and carries the marker.
func hasMarker(pid int, marker []string) bool {
	args, err := unix.SysctlRaw("kern.procargs2", pid)
	if err != nil {
		return false
	}
	for _, m := range marker {
		if !bytes.Contains(args, append([]byte(m), 0)) {
			return false
		}
	}
	return startOf(pid) != ""
}

// startOf gives what tells a process from a later one of the same number, or ""
// if there is no such process or it is dead and only not yet reaped.
func startOf(pid int) string {
	k, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil || int(k.Proc.P_pid) != pid || k.Proc.P_stat == zombie {
		return ""
	}
	return fmt.Sprintf("%d.%06d", k.Proc.P_starttime.Sec, k.Proc.P_starttime.Usec)
}

// stopped is SSTOP of sys/proc.h.
const stopped = 4

// isStopped says that a process was stopped by a signal.
func isStopped(pid int) bool {
	k, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	return err != nil || int(k.Proc.P_pid) != pid || k.Proc.P_stat == stopped || k.Proc.P_stat == zombie
}

// users gives who makes a disk busy. Nothing tells that here; stop the member first.
func users([]string, string) ([]process, error) { return nil, nil }
