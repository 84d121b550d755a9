package local

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

//go:embed shim.sh
var shim string

const (
	// agentPatience is how long RunCommand waits for a host whose init had gone.
	agentPatience = 2 * time.Second
	// defaultTimeout ends commands that were sent without a limit.
	defaultTimeout = time.Hour
	// Old commands are kept as long as somebody may still ask for them, and the
	// last few for people.
	commandAge   = time.Hour
	commandsKept = 50
)

// commandNote is a command as it was recorded before it was started.
type commandNote struct {
	ID     string    `json:"id"`
	Token  string    `json:"token"`
	Limit  int       `json:"limit"` // seconds
	Script string    `json:"script"`
	Sent   time.Time `json:"sent"`
}

func (p *Provider) commandsDir(hostID string) string {
	return filepath.Join(p.hostDir(hostID), "commands")
}

func (p *Provider) commandDir(hostID, id string) string {
	return filepath.Join(p.commandsDir(hostID), id)
}

// RunCommand records a script and starts it. A token is good for one command on
// each host.
func (p *Provider) RunCommand(ctx context.Context, req iaas.CommandRequest) (iaas.Command, error) {
	f, err := p.begin(ctx)
	if err != nil {
		return iaas.Command{}, err
	}
	h, err := p.readHost(req.HostID)
	if err != nil {
		return iaas.Command{}, err
	}
	if err := checkToken(h.label(), req.Token); err != nil {
		return iaas.Command{}, err
	}
	if len(req.Script) > p.maxScript {
		return iaas.Command{}, fleet.Errorf(fleet.Invalid, h.label(), "a script of %d bytes is longer than %d",
			len(req.Script), p.maxScript)
	}
	note := commandNote{
		ID: idOf("c-", "command", req.HostID, req.Token), Token: req.Token,
		Limit: seconds(req.Timeout), Script: req.Script, Sent: time.Now().UTC(),
	}
	if f.silent(h.ID) {
		return iaas.Command{}, fleet.Errorf(fleet.Unavailable, h.label(), "its agent does not answer, by fault injection")
	}
	// A command that was sent before is answered for whatever the host does now.
	if _, err := os.Stat(p.commandDir(h.ID, note.ID)); err != nil {
		if err := p.awaitAgent(ctx, h); err != nil {
			return iaas.Command{}, err
		}
	}
	if err := p.send(ctx, h.ID, note); err != nil {
		return iaas.Command{}, err
	}
	return p.lookAtCommand(ctx, h.ID, note.ID)
}

// seconds rounds a limit up to what a shell can sleep.
func seconds(d time.Duration) int {
	if d <= 0 {
		d = defaultTimeout
	}
	return int((d + time.Second - 1) / time.Second)
}

// awaitAgent says whether a host takes commands; one whose init had gone is
// booted and given a moment.
func (p *Provider) awaitAgent(ctx context.Context, r hostRecord) error {
	for deadline := time.Now().Add(agentPatience); ; {
		h, err := p.look(ctx, r.ID)
		if err != nil {
			return err
		}
		_, up := p.initProcess(r.ID)
		switch {
		case h.Reason == reasonFailed:
			return fleet.Errorf(fleet.Unavailable, r.label(), "its agent does not answer, %s", reasonFailed)
		case h.State != fleet.HostRunning:
			return fleet.Errorf(fleet.Conflict, r.label(), "it is %s and runs no command", h.State).
				WithRemedy("start it first")
		case up:
			return nil
		case time.Now().After(deadline):
			return fleet.Errorf(fleet.Unavailable, r.label(), "its agent does not answer: %s", h.Reason)
		}
		if err := wait(ctx, settlePause); err != nil {
			return err
		}
	}
}

// send records a command, whole or not at all, and starts it if it never was.
func (p *Provider) send(ctx context.Context, hostID string, note commandNote) error {
	unlock, err := lock(ctx, p.hostLock(hostID))
	if err != nil {
		return err
	}
	defer unlock()
	r, err := p.readHost(hostID)
	if err != nil {
		return err
	}
	dir := p.commandDir(hostID, note.ID)
	old, err := readNote(dir)
	switch {
	case err == nil:
		if old.Script != note.Script || old.Limit != note.Limit || old.Token != note.Token {
			return reusedToken(fmt.Sprintf("command %s on %s", note.ID, r.label()))
		}
	case fleet.Is(err, fleet.NotFound):
		if r.State != fleet.HostRunning {
			return fleet.Errorf(fleet.Conflict, r.label(), "it is %s and runs no command", r.State)
		}
		p.pruneCommands(hostID)
		if err := recordCommand(dir, note); err != nil {
			return ioError(r.label(), "a command cannot be recorded", err)
		}
	default:
		return err
	}
	return p.startCommand(ctx, r, note)
}

// recordCommand makes a command's directory appear with all that is in it.
func recordCommand(dir string, note commandNote) error {
	tmp := dir + ".tmp"
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	if err := os.MkdirAll(tmp, 0o700); err != nil {
		return err
	}
	for _, name := range []string{"lock", "stdout", "stderr"} {
		if err := os.WriteFile(filepath.Join(tmp, name), nil, 0o600); err != nil {
			return err
		}
	}
	if err := writeFile(filepath.Join(tmp, "script"), []byte(note.Script)); err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(tmp, "command.json"), note); err != nil {
		return err
	}
	if err := os.Rename(tmp, dir); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

func readNote(dir string) (commandNote, error) {
	var note commandNote
	path := filepath.Join(dir, "command.json")
	resource := "command " + filepath.Base(dir)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return note, fleet.Errorf(fleet.NotFound, resource, "there is none")
	}
	if err != nil {
		return note, ioError(resource, "its state cannot be read", err)
	}
	if err := json.Unmarshal(data, &note); err != nil || note.ID != filepath.Base(dir) {
		return note, fleet.Errorf(fleet.Denied, resource, "its state file %s is damaged", path).
			WithRemedy("remove the command's directory; it may then run once more")
	}
	return note, nil
}

// startCommand starts a recorded command that never was started. The host's lock
// is held. The shim inherits the command's lock, so the lock is free exactly
// when no shim lives, and a shim that dies before it has made `started` has run
// nothing.
func (p *Provider) startCommand(ctx context.Context, r hostRecord, note commandNote) error {
	dir := p.commandDir(r.ID, note.ID)
	held, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR, 0)
	if err != nil {
		return ioError(r.label(), "a command's lock cannot be opened", err)
	}
	defer func() { _ = held.Close() }()
	if ok, err := flock(held, unix.LOCK_EX); err != nil || !ok {
		return err // it runs, or somebody looks at this instant and the next look starts it
	}
	if exists(filepath.Join(dir, "started")) {
		return nil
	}
	f, err := p.readFaults()
	if err != nil {
		return err
	}
	if view(r, f).State != fleet.HostRunning {
		// It must not run later either, when it has been reported as lost.
		if err := os.Mkdir(filepath.Join(dir, "started"), 0o700); err != nil {
			return ioError(r.label(), "a command cannot be given up", err)
		}
		return nil
	}
	// The shim goes on when the caller does not.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "/bin/sh", "-c", shim, "flotilla-command", dir, strconv.Itoa(note.Limit))
	cmd.ExtraFiles = []*os.File{held}
	if err := p.start(cmd, r); err != nil {
		return fleet.Errorf(fleet.Unavailable, r.label(), "a command cannot be started: %w", err)
	}
	return nil
}

// CommandPause is short: a look reads a few small files.
func (p *Provider) CommandPause() time.Duration { return 50 * time.Millisecond }

// Command looks at a command again.
func (p *Provider) Command(ctx context.Context, hostID, commandID string) (iaas.Command, error) {
	f, err := p.begin(ctx)
	if err != nil {
		return iaas.Command{}, err
	}
	if _, err := p.readHost(hostID); err != nil {
		return iaas.Command{}, err
	}
	if !checkID("c-", commandID) {
		return iaas.Command{}, fleet.Errorf(fleet.NotFound, "command "+commandID, "there is none")
	}
	if f.silent(hostID) {
		if _, err := readNote(p.commandDir(hostID, commandID)); err != nil {
			return iaas.Command{}, err
		}
		return iaas.Command{ID: commandID, HostID: hostID, State: iaas.CommandRunning, ExitCode: -1}, nil
	}
	return p.lookAtCommand(ctx, hostID, commandID)
}

func (p *Provider) lookAtCommand(ctx context.Context, hostID, id string) (iaas.Command, error) {
	dir := p.commandDir(hostID, id)
	note, err := readNote(dir)
	if err != nil {
		return iaas.Command{}, err
	}
	c := iaas.Command{ID: id, HostID: hostID, ExitCode: -1}
	// The order matters. A shim holds the lock from before it makes `started` until
	// it ends: started once, and the lock free after that, the files are final.
	started := exists(filepath.Join(dir, "started"))
	alive := lockHeld(filepath.Join(dir, "lock"))
	code, finished := exitCode(dir)
	switch {
	case finished && code == 0:
		c.State, c.ExitCode = iaas.CommandSucceeded, 0
	case finished:
		c.State, c.ExitCode = iaas.CommandFailed, code
	case alive:
		c.State = iaas.CommandRunning
	case started && exists(filepath.Join(dir, "expired")):
		c.State = iaas.CommandTimedOut
	case started:
		c.State = iaas.CommandLost
	default:
		c.State = iaas.CommandRunning // recorded and not started yet: that is made up for
		if err := p.send(ctx, hostID, note); err != nil {
			return iaas.Command{}, err
		}
	}
	if c.Stdout, err = head(filepath.Join(dir, "stdout"), iaas.MaxStdout); err != nil {
		return iaas.Command{}, ioError("command "+id, "its output cannot be read", err)
	}
	if c.Stderr, err = head(filepath.Join(dir, "stderr"), iaas.MaxStderr); err != nil {
		return iaas.Command{}, ioError("command "+id, "its output cannot be read", err)
	}
	return c, nil
}

func exitCode(dir string) (int, bool) {
	data, err := os.ReadFile(filepath.Join(dir, "exit"))
	if err != nil {
		return 0, false
	}
	code, err := strconv.Atoi(strings.TrimSpace(string(data)))
	return code, err == nil
}

// head gives the first part of a file, cut between two characters.
func head(path string, limit int) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err != nil || len(data) <= limit {
		return string(data), err
	}
	data = data[:limit]
	for cut := 1; cut <= utf8.UTFMax && cut <= len(data); cut++ {
		if b := data[len(data)-cut]; utf8.RuneStart(b) {
			if !utf8.FullRune(data[len(data)-cut:]) {
				data = data[:len(data)-cut]
			}
			break
		}
	}
	return string(data), nil
}

// pruneCommands forgets the oldest commands that have ended. The host's lock is held.
func (p *Provider) pruneCommands(hostID string) {
	entries, err := os.ReadDir(p.commandsDir(hostID))
	if err != nil || len(entries) <= commandsKept {
		return
	}
	type candidate struct {
		dir string
		age time.Duration
	}
	var old []candidate
	for _, e := range entries {
		info, err := e.Info()
		dir := filepath.Join(p.commandsDir(hostID), e.Name())
		if err != nil || lockHeld(filepath.Join(dir, "lock")) {
			continue
		}
		if age := time.Since(info.ModTime()); age > commandAge {
			old = append(old, candidate{dir, age})
		}
	}
	slices.SortFunc(old, func(a, b candidate) int { return cmp.Compare(b.age, a.age) })
	for _, c := range old[:min(len(old), len(entries)-commandsKept)] {
		if err := os.RemoveAll(c.dir); err != nil {
			p.log.Warn("an old command was not pruned", zap.String("directory", c.dir), zap.Error(err))
		}
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
