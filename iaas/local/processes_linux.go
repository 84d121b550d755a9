package local

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// withMarker gives the live processes that carry the marker. Those of other
// users cannot be read and are not ours.
func withMarker(marker []string) ([]process, error) {
	pids, err := allProcesses()
	if err != nil {
		return nil, err
	}
	var found []process
	for _, pid := range pids {
		start := startOf(pid)
		if start != "" && hasMarker(pid, marker) {
			found = append(found, process{PID: pid, Start: start})
		}
	}
	return found, nil
}

func allProcesses() ([]int, error) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer func() { _ = proc.Close() }()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// hasMarker says whether a process is alive and carries the marker: a dead one
// that is not yet reaped has no environment any more.
func hasMarker(pid int, marker []string) bool {
	environ, err := os.ReadFile(procFile(pid, "environ"))
	if err != nil {
		return false
	}
	left := len(marker)
	for _, kv := range bytes.Split(environ, []byte{0}) {
		for _, m := range marker {
			if string(kv) == m {
				left--
			}
		}
	}
	return left <= 0
}

// startOf gives what tells a process from a later one of the same number, or ""
// if there is no such process or it is dead and only not yet reaped.
func startOf(pid int) string {
	stat, err := os.ReadFile(procFile(pid, "stat"))
	if err != nil {
		return ""
	}
	// The name in parentheses may hold anything; state is the first field after
	// it and the start time, in ticks since the machine booted, the 20th.
	i := bytes.LastIndexByte(stat, ')')
	if i < 0 {
		return ""
	}
	fields := strings.Fields(string(stat[i+1:]))
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return ""
	}
	return fields[19]
}

// isStopped says that a process was stopped by a signal, all of its threads.
func isStopped(pid int) bool {
	tasks, err := os.ReadDir(procFile(pid, "task"))
	if err != nil {
		return true // it ended
	}
	for _, task := range tasks {
		stat, err := os.ReadFile(filepath.Join(procFile(pid, "task"), task.Name(), "stat"))
		i := bytes.LastIndexByte(stat, ')')
		if err == nil && i >= 0 && !bytes.HasPrefix(stat[i+1:], []byte(" T")) && !bytes.HasPrefix(stat[i+1:], []byte(" Z")) {
			return false
		}
	}
	return true
}

// users gives those of the host's processes that have a file below dir open, or work
// in it: as long as there are some, the disk is busy.
func users(marker []string, dir string) ([]process, error) {
	found, err := withMarker(marker)
	if err != nil {
		return nil, err
	}
	var busy []process
	for _, proc := range found {
		links := []string{procFile(proc.PID, "cwd")}
		fds, err := os.ReadDir(procFile(proc.PID, "fd"))
		if err != nil {
			continue // it ended
		}
		for _, fd := range fds {
			links = append(links, filepath.Join(procFile(proc.PID, "fd"), fd.Name()))
		}
		if slices.ContainsFunc(links, func(link string) bool { return isBelow(link, dir) }) {
			busy = append(busy, proc)
		}
	}
	return busy, nil
}

// isBelow says whether a link leads to a directory or to what is in it.
func isBelow(link, dir string) bool {
	target, err := os.Readlink(link)
	return err == nil && (target == dir || strings.HasPrefix(target, dir+"/"))
}

func procFile(pid int, name string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), name)
}
