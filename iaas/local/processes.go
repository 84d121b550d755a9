package local

import (
	"context"
	"os"
	"syscall"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// What every process on a host carries in its environment. Children inherit it,
// so that all of a host's processes are found however they were started.
const (
	envHost = "FLOTILLA_HOST"
	envRoot = "FLOTILLA_LOCAL_ROOT"
	// envNodeRoot is what flotilla-node takes for / when no --root is given.
	envNodeRoot = "FLOTILLA_NODE_ROOT"
)

// Killing goes on until nothing is left, as a process may fork between the look
// and the kill. Only a process stuck in the kernel takes longer than killPatience.
const (
	killPatience = 5 * time.Second
	killPause    = 5 * time.Millisecond
)

// marker is what the environment of a host's processes holds.
func (p *Provider) marker(id string) []string {
	return []string{envHost + "=" + id, envRoot + "=" + p.root}
}

// killAll ends every process of a host with SIGKILL. The host's lock is held, so
// that none is started meanwhile by us.
func (p *Provider) killAll(ctx context.Context, id string) error {
	deadline := time.Now().Add(killPatience)
	marker := p.marker(id)
	// A process is not seen at the instant in which it replaces its program:
	// only two empty looks are proof.
	for empty := 0; empty < 2; {
		found, err := withMarker(marker)
		if err != nil {
			return ioError(label("host", "", id), "its processes cannot be listed", err)
		}
		if len(found) == 0 {
			empty++
		} else {
			empty = 0
		}
		for _, proc := range found {
			proc.signal(syscall.SIGKILL)
		}
		if time.Now().After(deadline) {
			return fleet.Errorf(fleet.Unavailable, label("host", "", id), "its processes %v do not die", found).
				WithRemedy("look at what they wait for; the next look kills again")
		}
		if err := wait(ctx, killPause); err != nil {
			return err
		}
	}
	return nil
}

// process is one process: numbers are used again, a number with its start is not.
type process struct {
	PID   int    `json:"pid"`
	Start string `json:"start"`
}

// alive says whether it still runs; a zombie does not.
func (p process) alive() bool { return p.PID > 0 && p.Start != "" && startOf(p.PID) == p.Start }

// signal sends to the process if it is still the same one: the handle is taken
// first and compared after that, so that where the system has such handles
// (Linux) another process of the same number is never hit.
func (p process) signal(sig syscall.Signal) {
	handle, err := os.FindProcess(p.PID)
	if err != nil {
		return
	}
	defer func() { _ = handle.Release() }()
	if p.alive() {
		_ = handle.Signal(sig) // gone meanwhile is as good
	}
}
