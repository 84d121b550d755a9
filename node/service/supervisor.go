package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/node/internal/durable"
)

const (
	// lookInterval is how often the supervisor looks at the desired state and the
	// logs by itself: a fallback for file systems that notify nobody.
	lookInterval = 2 * time.Second
	// maxLog is how long a log may grow before it is put aside. One older one is
	// kept, so a service has at most twice this on disk, and hours of etcd at info.
	maxLog = 16 << 20
)

// ErrAlreadyRuns says that this root has a supervisor already.
var ErrAlreadyRuns = errors.New("a supervisor runs for this root already")

// Supervisor is the init of hosts without systemd: it keeps running what the
// verbs wrote down. There is one per root; services outlive one that is killed,
// and the next one takes them over.
type Supervisor struct {
	files   files
	log     *zap.Logger
	backoff backoff
	runners map[string]*runner
	group   sync.WaitGroup
}

// NewSupervisor gives the supervisor of the services below root.
func NewSupervisor(root string, log *zap.Logger) *Supervisor {
	return &Supervisor{files: files{root}, log: log, backoff: defaultBackoff, runners: map[string]*runner{}}
}

// Run keeps services running until ctx ends; then it stops them all, without
// changing what is wanted, and returns nil. Errors: ErrAlreadyRuns; whatever
// keeps it from starting.
func (s *Supervisor) Run(ctx context.Context) error {
	if err := s.files.make(); err != nil {
		return err
	}
	lock, err := durable.TryLock(s.files.lock())
	if errors.Is(err, durable.ErrLocked) {
		return ErrAlreadyRuns
	}
	if err != nil {
		return err
	}
	defer func() { _ = lock.Unlock() }()
	if err := errors.Join(s.files.makeHostID(), s.announce()); err != nil {
		return err
	}
	defer func() { _ = os.Remove(s.files.pid()) }()

	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer watcher.Close()
	if err := watcher.Add(s.files.desiredDir()); err != nil {
		return err
	}
	s.log.Info("supervisor started", zap.String("root", s.files.root))
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	for {
		s.look(ctx)
		select {
		case <-ctx.Done():
			s.log.Info("supervisor is asked to end, stopping services", zap.Int("services", len(s.runners)))
			s.group.Wait()
			return nil
		case <-watcher.Events:
		case err := <-watcher.Errors:
			s.log.Warn("watching the desired state failed, looking by the clock", zap.Error(err))
		case <-ticker.C:
			s.rotateLogs()
		}
	}
}

// announce writes who the supervisor is: into the lock for the verbs, and alone
// into init.pid for people and scripts.
func (s *Supervisor) announce() error {
	id, err := processIdentity(os.Getpid())
	if err != nil {
		return err
	}
	// In place: the lock is on this very file.
	if err := os.WriteFile(s.files.lock(), fmt.Appendf(nil, "%d %s\n", os.Getpid(), id), 0o600); err != nil {
		return err
	}
	return durable.WriteFile(s.files.pid(), fmt.Appendf(nil, "%d\n", os.Getpid()), 0o644)
}

// look tells each service's runner what is wanted of it.
func (s *Supervisor) look(ctx context.Context) {
	entries, err := os.ReadDir(s.files.desiredDir())
	if err != nil {
		s.log.Error("the desired state cannot be listed", zap.Error(err))
		return
	}
	seen := map[string]bool{}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), desiredSuffix)
		if !ok {
			continue
		}
		seen[name] = true
		d, found, err := s.files.readDesired(name)
		if err != nil {
			s.log.Error("a desired state cannot be read; the service goes on as it is", zap.String("service", name), zap.Error(err))
		}
		if err != nil || !found {
			continue
		}
		r := s.runners[name]
		if r == nil {
			r = newRunner(s, name)
			s.runners[name] = r
			s.group.Go(func() { r.run(ctx) })
		}
		r.tell(d)
	}
	for name, r := range s.runners {
		if !seen[name] {
			close(r.wishes)
			delete(s.runners, name)
		}
	}
}

func rotated(path string) string { return path + ".1" }

// rotateLogs puts logs aside that have grown too long. Services write to them
// directly, so that they survive the supervisor; so the content is copied and
// the file cut. Lines written in between are lost.
func (s *Supervisor) rotateLogs() {
	logs, err := filepath.Glob(s.files.log("*"))
	if err != nil {
		return
	}
	for _, path := range logs {
		if err := rotate(path, maxLog); err != nil {
			s.log.Warn("a log could not be rotated", zap.String("log", path), zap.Error(err))
		}
	}
}

func rotate(path string, limit int64) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() <= limit {
		return nil
	}
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	temp := rotated(path) + durable.TempSuffix
	if err := durable.Remove(temp); err != nil {
		return err
	}
	_, copyErr := durable.WriteFrom(temp, f, 0o640)
	if copyErr == nil {
		copyErr = durable.Rename(temp, rotated(path))
	}
	// Also when there was no room for the copy: a full disk is worse than a lost log.
	return errors.Join(copyErr, os.Truncate(path, 0))
}
