package service

import (
	"fmt"

	"golang.org/x/sys/unix"
)

const darwinZombie = 5 // SZOMB of sys/proc.h

// processIdentity gives the start time (Unix time, microseconds) of a process;
// errNoProcess when there is none or only its zombie.
func processIdentity(pid int) (identity, error) {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil || int(info.Proc.P_pid) != pid || info.Proc.P_stat == darwinZombie {
		return "", errNoProcess
	}
	start := info.Proc.P_starttime
	return identity(fmt.Sprintf("%d.%06d", start.Sec, start.Usec)), nil
}

// findMarked finds nothing: macOS does not show environments. What is lost by
// that is the moment between a start and its status file.
func findMarked(string) (pid int, generation int64, found bool) { return 0, 0, false }
