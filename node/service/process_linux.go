package service

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
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
	ticks, err := startTicks(pid)
	if err != nil {
		return "", err
	}
	return identity(bootID() + ":" + ticks), nil
}

// startTicks gives the start time of a process, in clock ticks since boot.
func startTicks(pid int) (string, error) {
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
	return fields[19], nil // field 22: starttime
}

// tick is the unit of what /proc says of processes' times (USER_HZ): the same on
// every platform that Go and Linux both know.
const tick = time.Second / 100

// processBegan gives when a process began, to the tick before.
func processBegan(pid int) (Moment, error) {
	text, err := startTicks(pid)
	if err != nil {
		return Moment{}, err
	}
	ticks, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return Moment{}, errNoProcess
	}
	return Moment{Boot: bootID(), After: time.Duration(ticks) * tick}, nil
}

// Now gives this moment.
func Now() Moment {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return Moment{}
	}
	return Moment{Boot: bootID(), After: time.Duration(now.Nano())}
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
