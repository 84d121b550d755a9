// Package service keeps programs running on a host: by systemd where there is
// one, and by a small supervisor of our own (flotilla-node init) where there is
// none. It knows nothing of etcd.
package service

import (
	"context"
	"time"
)

// Service is a program that is to be kept running.
type Service struct {
	// Name is letters, digits and dashes; unique on the host.
	Name        string            `json:"name"`
	Description string            `json:"description,omitempty"` // for people
	Argv        []string          `json:"argv"`                  // Argv[0] is an absolute path
	Env         map[string]string `json:"env,omitempty"`
	// Writable are the directories that it writes to; managers that can confine a
	// program, let it write to no others.
	Writable []string `json:"writable,omitempty"`
	// Readable are the directories with secrets that it reads.
	Readable []string `json:"readable,omitempty"`
	// Requires are files without which it is not started, but tried again and again:
	// a program that makes its directories by itself would begin anew when the disk
	// is not there that holds them.
	Requires []string `json:"requires,omitempty"`
}

// Status is how a service stands.
type Status struct {
	Installed bool
	// Wanted says that it is to run, also after the host has been restarted.
	Wanted  bool
	Running bool // the process is alive, and not a zombie
	// Current says that it runs as it is installed now; false when it was
	// installed differently since it was started.
	Current bool
	PID     int // 0 when it does not run
	Started time.Time
	// Began is when the process began; the zero Moment when it does not run.
	Began Moment
	// Restarts is how often it ended by itself since it was last asked to start.
	Restarts int
	// LastExit is how it ended last, as in "exit status 1"; empty if it never did.
	LastExit string
	// LastOutput is the end of what it wrote before it ended last, at most
	// maxLastOutput bytes. Empty while that is not known.
	LastOutput string
}

// Manager keeps services running. All but Status must be serialised by the
// caller, host-wide. Everything may be asked for again: what is so already, or
// is not there when it is to be removed, is a success. Errors are *fleet.Error.
type Manager interface {
	// Install writes down how a service runs from its next start on. It neither
	// starts nor stops anything.
	Install(ctx context.Context, s Service) error
	// Start makes a service run now, as installed, and after each reboot, and
	// starts it again whenever it ends. It returns when the process runs (which may
	// end right after), or with fleet.Unavailable when the manager does not answer.
	// A service that waits for its next attempt is started at once; one that runs
	// as installed is left alone; one that runs otherwise is restarted.
	Start(ctx context.Context, name string) error
	// Stop ends a service: asked first, killed after StopTimeout. It stays stopped
	// over reboots. It returns when the process is gone.
	Stop(ctx context.Context, name string) error
	// Restart stops a service and starts it as installed.
	Restart(ctx context.Context, name string) error
	// Status looks at a service; one that is not installed is no error.
	Status(ctx context.Context, name string) (Status, error)
	// Remove stops a service and forgets it, with its logs where they are ours.
	Remove(ctx context.Context, name string) error
}

const (
	// StopTimeout is how long a program has for ending before it is killed. etcd
	// moves its leadership away first, which takes an election; the data is safe
	// either way.
	StopTimeout = 10 * time.Second
	// maxLastOutput holds a Go panic's head, or what etcd says while it ends.
	maxLastOutput = 32 << 10
)
