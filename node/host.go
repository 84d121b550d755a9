package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/node/internal/durable"
	"github.com/flotilla-etcd/flotilla/node/service"
)

// Node does the verbs on one host. Its methods are the verbs; each does what is
// left of its work, whatever happened to earlier attempts, and gives a
// *fleet.Error. All but Report take the host's lock, so that overlapping
// attempts wait for each other.
type Node struct {
	// Root is the directory that stands for the host's file system; "/" on a real one.
	Root string
	// Depot is where hosts on one machine share releases; empty for none.
	Depot string
	// Services keeps members running.
	Services service.Manager
	// Version is what flotilla-node says it is.
	Version string
	Log     *zap.Logger
	// Now tells the time, for certificates.
	Now func() time.Time
}

// New gives the node of the host whose file system begins at root. Members are
// kept running by systemd if it runs this machine and root is all of it, and by
// the supervisor (flotilla-node init) otherwise.
func New(root, version string, log *zap.Logger) (*Node, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "root directory", "%w", err)
	}
	if info, err := os.Stat(root); err != nil || !info.IsDir() {
		return nil, fleet.Errorf(fleet.Invalid, "root directory "+root, "is not a directory").
			WithRemedy("give an existing one with --root or FLOTILLA_NODE_ROOT")
	}
	n := &Node{Root: root, Depot: os.Getenv("FLOTILLA_NODE_DEPOT"), Version: version, Log: log, Now: time.Now}
	if root == "/" && service.SystemdRuns() {
		n.Services = service.NewSystemd()
	} else {
		n.Services = service.NewSupervised(root)
	}
	return n, nil
}

// Platform is GOOS/GOARCH, as in linux/amd64.
func Platform() string { return runtime.GOOS + "/" + runtime.GOARCH }

func (n *Node) path(parts ...string) string {
	return filepath.Join(append([]string{n.Root}, parts...)...)
}

// lock serialises what changes the host. It waits as long as ctx lets it.
func (n *Node) lock(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(n.path("run"), 0o755); err != nil {
		return nil, onHost("run directory", err)
	}
	lock, err := durable.WaitLock(ctx, n.path("run/node.lock"))
	if errors.Is(err, durable.ErrLocked) {
		return nil, fleet.Errorf(fleet.Unavailable, "host", "another flotilla-node command is still at work: %w", err)
	}
	if err != nil {
		return nil, onHost("lock of the host", err)
	}
	return func() { _ = lock.Unlock() }, nil
}

// onHost makes a fleet.Error of what the file system said.
func onHost(resource string, err error) error {
	var e *fleet.Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	if isNoSpace(err) {
		return fleet.Errorf(fleet.Denied, resource, "no space left on the device: %w", err).
			WithRemedy("make room on the host's disk, or give it a larger one")
	}
	return fleet.Errorf(fleet.Unavailable, resource, "%w", err)
}

var (
	// memberName is also part of paths, of unit names and of DNS-like lists: what
	// is not safe everywhere is refused.
	memberName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	// plainName is for what becomes one component of a path.
	plainName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
	// releaseVersion is a release of etcd, as in 3.7.3 or 3.8.0-rc.1.
	releaseVersion = regexp.MustCompile(`^(\d+\.\d+)\.\d+(-[a-z]+\.\d+)?$`)
)

func checkMember(name string) error {
	if !memberName.MatchString(name) {
		return fleet.Errorf(fleet.Invalid, "member", "%q is not a member's name", name).
			WithRemedy("use small letters, digits and dashes, at most 63")
	}
	return nil
}

func checkText(resource, what, text string) error {
	if text == "" || len(text) > 256 || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return fleet.Errorf(fleet.Invalid, resource, "%s %q is empty, too long or has blanks in it", what, text)
	}
	return nil
}
