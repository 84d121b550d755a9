package local

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/fleet"
)

const (
	// bootPatience is how long an init may take until it holds its lock; one
	// that takes longer hangs, and is killed and started anew.
	bootPatience = 30 * time.Second
	// bootPause lies between two boots of a host whose init keeps ending, so
	// that looking often does not mean booting often.
	bootPause = 500 * time.Millisecond
)

// bootNote is the init that was last started. It only saves starting a second
// one, which would end at once, so it may be missing.
type bootNote struct {
	process
	At time.Time `json:"at"`
}

// initProcess gives the init that runs a host, if there is one: alive, one of the
// host's own processes, and holder of the lock. The lock is tried last, so that
// an init that is about to take it is not disturbed.
func (p *Provider) initProcess(id string) (process, bool) {
	data, err := os.ReadFile(filepath.Join(p.hostFS(id), "run", "init.pid"))
	if err != nil {
		return process{}, false
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || pid <= 0 {
		return process{}, false
	}
	proc := process{PID: pid, Start: startOf(pid)}
	if proc.Start == "" || !hasMarker(pid, p.marker(id)) ||
		!lockHeld(filepath.Join(p.hostFS(id), "run", "init.lock")) {
		return process{}, false
	}
	return proc, true
}

// boot starts a host's init unless one is on its way. The host's lock is held;
// a worker that dies here leaves either no process or one that carries the
// marker, and a second init would find the first one's lock and end.
func (p *Provider) boot(ctx context.Context, r hostRecord) error {
	if p.nodeBinary == "" {
		return fleet.Errorf(fleet.Denied, r.label(), "it cannot boot without a flotilla-node").
			WithRemedy("look at it from a process that is configured with one")
	}
	note := filepath.Join(p.hostDir(r.ID), "boot.json")
	var last bootNote
	if data, err := os.ReadFile(note); err == nil {
		_ = json.Unmarshal(data, &last) // a damaged note is no note
	}
	age := time.Since(last.At)
	switch {
	case last.alive() && age >= 0 && age < bootPatience:
		return nil
	case last.alive():
		last.signal(syscall.SIGKILL)
		return nil
	case age >= 0 && age < bootPause:
		return nil
	}
	if err := p.furnish(r.ID); err != nil {
		return ioError(r.label(), "its file system cannot be made", err)
	}
	out, err := os.OpenFile(filepath.Join(p.hostDir(r.ID), "init.log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return ioError(r.label(), "its log cannot be opened", err)
	}
	defer func() { _ = out.Close() }()
	// What runs on a host ends with the host, not with the call that started it.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), p.nodeBinary, "--root", p.hostFS(r.ID), "init")
	cmd.Stdout, cmd.Stderr = out, out
	if err := p.start(cmd, r); err != nil {
		return fleet.Errorf(fleet.Unavailable, r.label(), "its init cannot be started: %w", err)
	}
	pid := cmd.Process.Pid
	p.log.Info("booted a host", zap.String("host", r.ID), zap.String("name", r.Name),
		zap.String("address", r.Address), zap.Int("pid", pid))
	data, err := json.Marshal(bootNote{process: process{PID: pid, Start: startOf(pid)}, At: time.Now()})
	if err == nil {
		err = os.WriteFile(note, data, 0o600)
	}
	if err != nil {
		p.log.Warn("a boot was not noted", zap.String("host", r.ID), zap.Error(err))
	}
	return nil
}

// start runs a program on a host: in a session of its own, so that neither the
// death of this process nor an interrupt of its terminal reaches it.
func (p *Provider) start(cmd *exec.Cmd, r hostRecord) error {
	cmd.Env = p.environment(r)
	cmd.Dir = p.hostFS(r.ID)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // reaps it; how it went is told by files
	return nil
}

// furnish makes the directories that a fresh host has, and puts flotilla-node
// on its PATH under that name whatever the file is called.
func (p *Provider) furnish(id string) error {
	fs := p.hostFS(id)
	for _, dir := range []string{"run", "var", "opt", "disks", "root", "tmp", "usr/local/bin"} {
		if err := os.MkdirAll(filepath.Join(fs, dir), 0o700); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(p.commandsDir(id), 0o700); err != nil {
		return err
	}
	if p.nodeBinary == "" {
		return nil
	}
	return relink(p.nodeBinary, filepath.Join(fs, "usr/local/bin/flotilla-node"))
}

// relink makes link point to target, also when it points elsewhere.
func relink(target, link string) error {
	if have, err := os.Readlink(link); err == nil && have == target {
		return nil
	}
	tmp := link + ".tmp"
	if err := os.Remove(tmp); err != nil && !os.IsNotExist(err) {
		return err
	}
	if err := os.Symlink(target, tmp); err != nil {
		return err
	}
	return os.Rename(tmp, link)
}

// environment is what a process on the host sees. Nothing of our own environment
// goes there, as that may hold credentials.
func (p *Provider) environment(r hostRecord) []string {
	fs := p.hostFS(r.ID)
	path := []string{filepath.Join(fs, "usr/local/bin")}
	if p.nodeBinary != "" {
		path = append(path, filepath.Dir(p.nodeBinary))
	}
	path = append(path, "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
	env := append(p.marker(r.ID),
		envNodeRoot+"="+fs,
		"PATH="+strings.Join(path, string(os.PathListSeparator)),
		"HOME="+filepath.Join(fs, "root"),
		"TMPDIR="+filepath.Join(fs, "tmp"),
		"LANG=C.UTF-8",
	)
	if t, ok := p.typeOf(r.Type); ok {
		env = append(env, fmt.Sprintf("GOMAXPROCS=%d", procs(t)), fmt.Sprintf("GOMEMLIMIT=%s", t.Memory))
	}
	return append(env, p.env...)
}
