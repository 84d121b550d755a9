package service

import (
	"context"
	"errors"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// ErrCannotLook says that this platform does not show what other processes do.
var ErrCannotLook = errors.New("this platform does not show which files other processes have open")

// Stranger is a process that something else started on this machine.
type Stranger struct {
	PID int
	// Manager is what keeps it running, as far as its control group tells: a systemd
	// service, as in "etcd.service", or "a container". Empty if nothing is known to.
	Manager string
	id      identity
}

// Strangers gives the live processes that have a file open, the caller left out.
// Error: ErrCannotLook.
func Strangers(file string) ([]Stranger, error) { return strangersWith(file) }

// Holds says whether the process has a file below a directory open.
func (s Stranger) Holds(dir string) bool { return holdsBelow(s.PID, dir) }

// Ports gives the TCP ports that the process listens on, whatever the address.
func (s Stranger) Ports() map[int]bool { return listensOn(s.PID) }

// ComesFrom says whether the process is the one of this PID, or was started by it or
// by one that was.
func (s Stranger) ComesFrom(ancestor int) bool {
	for pid := s.PID; pid > 1; pid = parentOf(pid) {
		if pid == ancestor {
			return true
		}
	}
	return false
}

// End asks the process to end, as its manager would, and waits as long as ctx lets it.
// It is not killed: whoever started it may have given it more time than we would.
func (s Stranger) End(ctx context.Context) error {
	if !alive(s.PID, s.id) {
		return nil
	}
	signalEnd(s.PID)
	return awaitGone(ctx, s.PID, s.id)
}

// inContainer are the marks that container runtimes leave in control groups.
var inContainer = regexp.MustCompile(`docker|containerd|kubepods|libpod|crio|lxc|machine\.slice`)

// managerOf reads a process's control groups (cgroups(7)), given those of this very
// process: what both are in, manages neither.
func managerOf(groups, own string) string {
	mine := systemdGroup(own)
	group := systemdGroup(groups)
	if group == mine {
		return ""
	}
	if inContainer.MatchString(group) {
		return "a container"
	}
	for ; group != "/" && group != "."; group = path.Dir(group) {
		if strings.HasSuffix(group, ".service") {
			return path.Base(group)
		}
	}
	return ""
}

// systemdGroup gives the path of the hierarchy that systemd manages.
func systemdGroup(groups string) string {
	best := "/"
	for line := range strings.Lines(groups) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		switch {
		case parts[1] == "name=systemd":
			return path.Clean(parts[2])
		case parts[0] == "0":
			best = path.Clean(parts[2])
		}
	}
	return best
}

// listening reads a table of TCP sockets (proc_net_tcp): which inode listens on which port.
func listening(table string) map[string]int {
	const listen = "0A" // TCP_LISTEN
	ports := map[string]int{}
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) < 10 || fields[3] != listen {
			continue
		}
		_, hex, _ := strings.Cut(fields[1], ":")
		if port, err := strconv.ParseInt(hex, 16, 32); err == nil {
			ports[fields[9]] = int(port)
		}
	}
	return ports
}
