package service

import (
	"context"
	"errors"
	"os/exec"
	"regexp"
	"strconv"
	"strings"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// Unit is a systemd service that something else made.
type Unit struct {
	name string
	run  func(ctx context.Context, name string, args ...string) (string, error)
}

var unitNames = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9:_.@-]*\.service$`)

// NewUnit gives the unit of a name, as in etcd.service. Error: fleet.Invalid for what
// cannot be one, or is one of ours.
func NewUnit(name string) (*Unit, error) {
	if !unitNames.MatchString(name) || strings.HasPrefix(name, unitPrefix) {
		return nil, fleet.Errorf(fleet.Invalid, "unit "+name, "it is not the name of a service that something else made")
	}
	return &Unit{name: name, run: runProgram}, nil
}

// String gives its name.
func (u *Unit) String() string { return u.name }

func (u *Unit) systemctl(ctx context.Context, args ...string) (string, error) {
	out, err := u.run(ctx, "systemctl", append(args, u.name)...)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "", fleet.Errorf(fleet.Invalid, "unit "+u.name, "systemd does not run this host").WithRemedy("leave the unit out")
	case err != nil:
		return "", fleet.Errorf(fleet.Unavailable, "unit "+u.name, "systemd does not do as it is asked: %w", err)
	}
	return out, nil
}

// MainPID gives its process; 0 when it does not run. Error: fleet.NotFound when there
// is no such unit.
func (u *Unit) MainPID(ctx context.Context) (int, error) {
	out, err := u.systemctl(ctx, "show", "--property=LoadState,MainPID")
	if err != nil {
		return 0, err
	}
	pid := 0
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch {
		case key == "LoadState" && value == "not-found":
			return 0, fleet.Errorf(fleet.NotFound, "unit "+u.name, "systemd does not know it")
		case key == "MainPID":
			pid, _ = strconv.Atoi(value)
		}
	}
	return pid, nil
}

// Stop ends it and waits for that. It may be started again by anybody.
func (u *Unit) Stop(ctx context.Context) error {
	_, err := u.systemctl(ctx, "stop")
	return err
}

// Disable keeps it from being started at a boot.
func (u *Unit) Disable(ctx context.Context) error {
	_, err := u.systemctl(ctx, "disable")
	return err
}
