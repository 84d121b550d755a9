package service

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"golang.org/x/sys/unix"

	"github.com/flotilla-etcd/flotilla/node/internal/durable"
)

// systemctlPatience bounds one call of systemctl. A stop takes up to StopTimeout.
const systemctlPatience = StopTimeout + 20*time.Second

// Systemd is the Manager of hosts that systemd runs: one unit per service,
// flotilla-etcd-NAME.service.
type Systemd struct {
	dir string // of unit files
	// run calls a program and gives what it printed.
	run func(ctx context.Context, name string, args ...string) (string, error)
}

// NewSystemd gives the manager of this machine's systemd.
func NewSystemd() *Systemd { return &Systemd{dir: "/etc/systemd/system", run: runProgram} }

// SystemdRuns says whether systemd is what runs this machine, as sd_booted(3) does.
func SystemdRuns() bool {
	info, err := os.Lstat("/run/systemd/system")
	return err == nil && info.IsDir()
}

func runProgram(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, systemctlPatience)
	defer cancel()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}

//go:embed unit.tmpl
var unitText string

var unitTemplate = template.Must(template.New("unit").Funcs(template.FuncMap{
	"quote": quoteUnit,
	"plain": func(s string) string { return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "%", "%%") },
	"sorted": func(env map[string]string) []string {
		return slices.Sorted(maps.Keys(env))
	},
	"command": commandLine,
	"isThere": func(path string) string { return commandLine([]string{"/usr/bin/test", "-e", path}) },
}).Parse(unitText))

func commandLine(argv []string) string {
	words := make([]string, len(argv))
	for i, word := range argv {
		// $ begins a variable in command lines, and only there.
		words[i] = quoteUnit(strings.ReplaceAll(word, "$", "$$"))
	}
	return strings.Join(words, " ")
}

// quoteUnit writes a word so that systemd reads it back as it is (systemd.syntax(7)).
func quoteUnit(word string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "%", "%%").Replace(word) + `"`
}

// definitionVariable carries the digest of a unit into what runs by it, to tell
// whether a process was started by the unit as it is now.
const definitionVariable = "FLOTILLA_DEFINITION"

func renderUnit(s Service) ([]byte, error) {
	var unit bytes.Buffer
	err := unitTemplate.Execute(&unit, map[string]any{
		"Service":     s,
		"StopSeconds": int(StopTimeout.Seconds()),
	})
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(unit.Bytes())
	line := fmt.Sprintf("\nEnvironment=%s=%x\nExecStart=", definitionVariable, digest[:8])
	return bytes.Replace(unit.Bytes(), []byte("\nExecStart="), []byte(line), 1), nil
}

// definitionOf gives the line of an environment, or of a unit, that carries the digest.
var definitionOf = regexp.MustCompile(definitionVariable + `=[0-9a-f]{16}`)

// current says whether a process was started by this unit.
func current(pid int, unit []byte) bool {
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	return err == nil && bytes.Equal(definitionOf.Find(environ), definitionOf.Find(unit))
}

// unitPrefix begins the names of our units.
const unitPrefix = "flotilla-etcd-"

func unitName(name string) string              { return unitPrefix + name + ".service" }
func (m *Systemd) unitPath(name string) string { return filepath.Join(m.dir, unitName(name)) }

// Install is Manager's.
func (m *Systemd) Install(ctx context.Context, s Service) error {
	unit, err := renderUnit(s)
	if err != nil {
		return failed(s.Name, "installed", err)
	}
	if old, err := os.ReadFile(m.unitPath(s.Name)); err != nil || !bytes.Equal(old, unit) {
		if err := durable.WriteFile(m.unitPath(s.Name), unit, 0o644); err != nil {
			return failed(s.Name, "installed", err)
		}
	}
	// Also when nothing changed: a verb may have been killed right here.
	if _, err := m.run(ctx, "systemctl", "daemon-reload"); err != nil {
		return failed(s.Name, "installed", err)
	}
	return nil
}

// Start is Manager's.
func (m *Systemd) Start(ctx context.Context, name string) error {
	status, err := m.Status(ctx, name)
	if err != nil {
		return err
	}
	// enable first: what was started stays so over a reboot, whenever we are killed.
	action := "start"
	if status.Running && !status.Current || !status.Running && status.Wanted {
		action = "restart" // also ends the wait for the next attempt
	}
	return m.enableAnd(ctx, action, name)
}

func (m *Systemd) enableAnd(ctx context.Context, action, name string) error {
	for _, verb := range []string{"enable", action} {
		if _, err := m.run(ctx, "systemctl", verb, unitName(name)); err != nil {
			return failed(name, action+"ed", err)
		}
	}
	return nil
}

// Restart is Manager's.
func (m *Systemd) Restart(ctx context.Context, name string) error {
	return m.enableAnd(ctx, "restart", name)
}

// Stop is Manager's.
func (m *Systemd) Stop(ctx context.Context, name string) error {
	if _, err := os.Stat(m.unitPath(name)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if _, err := m.run(ctx, "systemctl", "disable", "--now", unitName(name)); err != nil {
		return failed(name, "stopped", err)
	}
	return nil
}

// Remove is Manager's. What journald has logged stays.
func (m *Systemd) Remove(ctx context.Context, name string) error {
	if err := m.Stop(ctx, name); err != nil {
		return err
	}
	if err := durable.Remove(m.unitPath(name)); err != nil {
		return failed(name, "removed", err)
	}
	if _, err := m.run(ctx, "systemctl", "daemon-reload"); err != nil {
		return failed(name, "removed", err)
	}
	return nil
}

// Status is Manager's.
func (m *Systemd) Status(ctx context.Context, name string) (Status, error) {
	unit, err := os.ReadFile(m.unitPath(name))
	if errors.Is(err, fs.ErrNotExist) {
		return Status{}, nil
	}
	if err != nil {
		return Status{}, failed(name, "looked at", err)
	}
	out, err := m.run(ctx, "systemctl", "show", "--property="+shownProperties, unitName(name))
	if err != nil {
		return Status{}, failed(name, "looked at", err)
	}
	s := parseShow(out, time.Now(), monotonic())
	s.Installed = true
	s.Current = s.Running && current(s.PID, unit)
	s.Began = began(s.PID)
	if s.LastExit != "" {
		// Best effort: the words help, their absence hurts nobody.
		s.LastOutput, _ = m.run(ctx, "journalctl", "--unit", unitName(name), "--lines=40", "--output=cat", "--no-pager")
		s.LastOutput = s.LastOutput[max(0, len(s.LastOutput)-maxLastOutput):]
	}
	return s, nil
}

// shownProperties are what parseShow understands. Times are asked for as the
// monotonic clock, which prints the same in every locale and version.
const shownProperties = "ActiveState,MainPID,NRestarts,UnitFileState,ExecMainCode,ExecMainStatus," +
	"ExecMainStartTimestampMonotonic,ExecMainExitTimestampMonotonic"

// monotonic reads the clock that systemd's timestamps are of.
func monotonic() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0
	}
	return time.Duration(now.Nano())
}

// parseShow reads what systemctl show prints.
func parseShow(out string, now time.Time, clock time.Duration) Status {
	values := map[string]string{}
	for line := range strings.Lines(out) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			values[key] = value
		}
	}
	s := Status{
		Wanted:  values["UnitFileState"] == "enabled",
		Running: values["ActiveState"] == "active" || values["ActiveState"] == "deactivating",
	}
	if us, _ := strconv.ParseInt(values["ExecMainStartTimestampMonotonic"], 10, 64); us > 0 {
		s.Started = now.Add(time.Duration(us)*time.Microsecond - clock)
	}
	s.Restarts, _ = strconv.Atoi(values["NRestarts"])
	if s.Running {
		s.PID, _ = strconv.Atoi(values["MainPID"])
	}
	// ExecMain* are of the current run; they tell of an end only when it has one.
	if us := values["ExecMainExitTimestampMonotonic"]; us != "" && us != "0" {
		switch status := values["ExecMainStatus"]; values["ExecMainCode"] {
		case "1": // CLD_EXITED
			s.LastExit = "exit status " + status
		case "2", "3": // CLD_KILLED, CLD_DUMPED
			s.LastExit = "killed by signal " + status
		}
	} else if s.Restarts > 0 {
		s.LastExit = "ended by itself"
	}
	return s
}
