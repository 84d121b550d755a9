package service

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

func procFile(pid int, name string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), name)
}

// openFiles gives what a process has open, as links to it; none if it ended.
func openFiles(pid int) []string {
	entries, err := os.ReadDir(procFile(pid, "fd"))
	if err != nil {
		return nil
	}
	links := make([]string, len(entries))
	for i, e := range entries {
		links[i] = filepath.Join(procFile(pid, "fd"), e.Name())
	}
	return links
}

// strangersWith compares files by what they are, not by name: a process may see them
// under another path.
func strangersWith(file string) ([]Stranger, error) {
	want, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, ErrCannotLook
	}
	own, _ := os.ReadFile("/proc/self/cgroup")
	var found []Stranger
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		for _, link := range openFiles(pid) {
			target, err := os.Readlink(link)
			if err != nil || filepath.Base(target) != filepath.Base(file) {
				continue
			}
			info, err := os.Stat(link)
			if err != nil || !os.SameFile(info, want) {
				continue
			}
			id, err := processIdentity(pid)
			if err != nil {
				break // it ended just now
			}
			groups, _ := os.ReadFile(procFile(pid, "cgroup"))
			found = append(found, Stranger{PID: pid, Manager: managerOf(string(groups), string(own)), id: id})
			break
		}
	}
	return found, nil
}

func holdsBelow(pid int, dir string) bool {
	want, err := os.Stat(dir)
	if err != nil {
		return false
	}
	for _, link := range openFiles(pid) {
		target, err := os.Readlink(link)
		if err != nil || filepath.Base(filepath.Dir(target)) != filepath.Base(dir) {
			continue
		}
		// By the process's own root: it may be another than ours.
		info, err := os.Stat(procFile(pid, "root") + filepath.Dir(target))
		if err == nil && os.SameFile(info, want) {
			return true
		}
	}
	return false
}

func listensOn(pid int) map[int]bool {
	ports := map[int]bool{}
	inodes := map[string]bool{}
	for _, link := range openFiles(pid) {
		target, err := os.Readlink(link)
		if inode, ok := strings.CutPrefix(target, "socket:["); err == nil && ok {
			inodes[strings.TrimSuffix(inode, "]")] = true
		}
	}
	for _, table := range []string{"net/tcp", "net/tcp6"} {
		text, err := os.ReadFile(procFile(pid, table))
		if err != nil {
			continue
		}
		for inode, port := range listening(string(text)) {
			if inodes[inode] {
				ports[port] = true
			}
		}
	}
	return ports
}

// parentOf gives the parent of a process; 0 when that is not known.
func parentOf(pid int) int {
	status, err := os.ReadFile(procFile(pid, "status"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		var parent int
		if n, _ := fmt.Sscanf(line, "PPid: %d", &parent); n == 1 {
			return parent
		}
	}
	return 0
}
