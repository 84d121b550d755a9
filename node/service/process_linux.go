package service

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// bootID changes with each boot: start times count from it.
var bootID = sync.OnceValue(func() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(id))
})

// processIdentity gives boot ID and start time (in clock ticks since boot) of a
// process; errNoProcess when there is none or only its zombie.
func processIdentity(pid int) (identity, error) {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return "", errNoProcess
	}
	// The command's name is in parentheses and may itself hold some.
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 {
		return "", errNoProcess
	}
	fields := strings.Fields(string(stat[end+1:])) // from field 3 (state) of proc(5)
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return "", errNoProcess
	}
	return identity(bootID() + ":" + fields[19]), nil // field 22: starttime
}

// findMarked looks for the leader of a process group that carries this marker in
// its environment, and gives the generation it was started with.
func findMarked(marker string) (pid int, generation int64, found bool) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, 0, false
	}
	want := []byte(markerVariable + "=" + marker)
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil || !bytes.Contains(environ, want) {
			continue
		}
		marked, generation := false, int64(0)
		for variable := range bytes.SplitSeq(environ, []byte{0}) {
			if bytes.Equal(variable, want) {
				marked = true
			}
			if n, ok := bytes.CutPrefix(variable, []byte(generationVariable+"=")); ok {
				generation, _ = strconv.ParseInt(string(n), 10, 64)
			}
		}
		if _, err := processIdentity(pid); marked && err == nil && leadsGroup(pid) {
			return pid, generation, true
		}
	}
	return 0, 0, false
}
