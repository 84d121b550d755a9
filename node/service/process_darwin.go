package service

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const darwinZombie = 5 // SZOMB of sys/proc.h

// processIdentity gives the start time (Unix time, microseconds) of a process;
// errNoProcess when there is none or only its zombie.
func processIdentity(pid int) (identity, error) {
	start, err := startTime(pid)
	if err != nil {
		return "", err
	}
	return identity(fmt.Sprintf("%d.%06d", start.Sec, start.Usec)), nil
}

func startTime(pid int) (unix.Timeval, error) {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil || int(info.Proc.P_pid) != pid || info.Proc.P_stat == darwinZombie {
		return unix.Timeval{}, errNoProcess
	}
	return info.Proc.P_starttime, nil
}

// processBegan and Now go by the time of day: macOS knows of processes by nothing else.
func processBegan(pid int) (Moment, error) {
	start, err := startTime(pid)
	return Moment{After: time.Duration(start.Nano())}, err
}

// Now gives this moment.
func Now() Moment { return Moment{After: time.Duration(time.Now().UnixNano())} }

// findMarked finds nothing: macOS does not show environments. What is lost by
// that is the moment between a start and its status file.
func findMarked(string) (pid int, generation int64, found bool) { return 0, 0, false }
