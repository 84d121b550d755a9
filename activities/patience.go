package activities

import (
	"context"
	"errors"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

// How patient a call to the cloud is. One step makes a dozen of them, so with a
// cloud that throttles or fails one call in five hardly any attempt would come to
// its end if each such answer ended it.
const (
	// failuresBorne is how often one call may fail before its step does. A cloud
	// that is down is told of in a second, and the step's own retries go on.
	failuresBorne = 3
	// throttledAtMost is how long one call is put off before its step fails, which
	// people see, and which is put off for longer.
	throttledAtMost = time.Minute
	// firstPause is waited after the first failure, or when the cloud does not say
	// for how long; it doubles.
	firstPause = 100 * time.Millisecond
	// beatEvery keeps the heart beating while a call is put off, or takes its time.
	beatEvery = time.Second
	// answerWithin bounds one call: a cloud under load answers within seconds, and a
	// connection that died says nothing at all. Until then the heart beats.
	answerWithin = 20 * time.Second
)

// patient makes each call to a provider again that was throttled or not answered.
// All calls may be: those that buy carry a token, the others ask for a state.
type patient struct{ iaas.Provider }

// Unwrap gives what is behind, for what it can do beyond iaas.Provider.
func (p patient) Unwrap() iaas.Provider { return p.Provider }

// again makes a call until it is answered, or bears no more.
func again[T any](ctx context.Context, call func(ctx context.Context) (T, error)) (T, error) {
	failed, pause, began := 0, firstPause, time.Now()
	for {
		value, err := within(ctx, answerWithin, "waiting for the cloud to answer", call)
		wait := pause
		switch {
		case fleet.Is(err, fleet.Throttled):
			wait = max(wait, retryAfter(err))
			if time.Since(began)+wait > throttledAtMost {
				return value, err
			}
		case fleet.Is(err, fleet.Unavailable):
			if failed++; failed > failuresBorne {
				return value, err
			}
		default:
			return value, err
		}
		if !putOff(ctx, wait, err) {
			if errors.Is(ctx.Err(), context.Canceled) {
				err = ctx.Err() // a cancelled activity must say so as it is
			}
			return value, err
		}
		pause *= 2
	}
}

// within makes one call that is ended in time, heart beating while it lasts. A call
// that does not even heed its end is a hang, and then no heart beats.
func within[T any](ctx context.Context, limit time.Duration, words string, call func(ctx context.Context) (T, error)) (value T, err error) {
	timed, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		value, err = call(timed)
	}()
	ticker := time.NewTicker(beatEvery)
	defer ticker.Stop()
	for {
		select {
		case <-answered:
			return value, err
		case <-ticker.C:
			if timed.Err() == nil {
				beat(ctx, -1, words)
			}
		}
	}
}

// putOff waits, heart beating, and says whether that was not ended early.
func putOff(ctx context.Context, wait time.Duration, why error) bool {
	for wait > 0 {
		beat(ctx, -1, "waiting: "+why.Error())
		part := min(wait, beatEvery)
		select {
		case <-ctx.Done():
			return false
		case <-time.After(part):
		}
		wait -= part
	}
	return ctx.Err() == nil
}

// againErr is again for calls that give nothing but an error.
func againErr(ctx context.Context, call func(ctx context.Context) error) error {
	_, err := again(ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, call(ctx) })
	return err
}

func (p patient) LaunchHost(ctx context.Context, req iaas.LaunchHostRequest) (fleet.Host, error) {
	return again(ctx, func(ctx context.Context) (fleet.Host, error) { return p.Provider.LaunchHost(ctx, req) })
}

func (p patient) Host(ctx context.Context, id string) (fleet.Host, error) {
	return again(ctx, func(ctx context.Context) (fleet.Host, error) { return p.Provider.Host(ctx, id) })
}

func (p patient) ListHosts(ctx context.Context, tags iaas.Tags) ([]fleet.Host, error) {
	return again(ctx, func(ctx context.Context) ([]fleet.Host, error) { return p.Provider.ListHosts(ctx, tags) })
}

func (p patient) StopHost(ctx context.Context, id string) error {
	return againErr(ctx, func(ctx context.Context) error { return p.Provider.StopHost(ctx, id) })
}

func (p patient) StartHost(ctx context.Context, id string) error {
	return againErr(ctx, func(ctx context.Context) error { return p.Provider.StartHost(ctx, id) })
}

func (p patient) ResizeHost(ctx context.Context, id, machineType string) error {
	return againErr(ctx, func(ctx context.Context) error { return p.Provider.ResizeHost(ctx, id, machineType) })
}

func (p patient) TagHost(ctx context.Context, id string, tags iaas.Tags) error {
	return againErr(ctx, func(ctx context.Context) error { return p.Provider.TagHost(ctx, id, tags) })
}

func (p patient) TerminateHost(ctx context.Context, id string) error {
	return againErr(ctx, func(ctx context.Context) error { return p.Provider.TerminateHost(ctx, id) })
}

func (p patient) CreateDisk(ctx context.Context, req iaas.CreateDiskRequest) (fleet.Disk, error) {
	return again(ctx, func(ctx context.Context) (fleet.Disk, error) { return p.Provider.CreateDisk(ctx, req) })
}

func (p patient) Disk(ctx context.Context, id string) (fleet.Disk, error) {
	return again(ctx, func(ctx context.Context) (fleet.Disk, error) { return p.Provider.Disk(ctx, id) })
}

func (p patient) ListDisks(ctx context.Context, tags iaas.Tags) ([]fleet.Disk, error) {
	return again(ctx, func(ctx context.Context) ([]fleet.Disk, error) { return p.Provider.ListDisks(ctx, tags) })
}

func (p patient) AttachDisk(ctx context.Context, disk, host string) error {
	return againErr(ctx, func(ctx context.Context) error { return p.Provider.AttachDisk(ctx, disk, host) })
}

func (p patient) DetachDisk(ctx context.Context, id string) error {
	return againErr(ctx, func(ctx context.Context) error { return p.Provider.DetachDisk(ctx, id) })
}

func (p patient) GrowDisk(ctx context.Context, id string, size fleet.Bytes) error {
	return againErr(ctx, func(ctx context.Context) error { return p.Provider.GrowDisk(ctx, id, size) })
}

func (p patient) RetypeDisk(ctx context.Context, id, category string, size fleet.Bytes) error {
	return againErr(ctx, func(ctx context.Context) error { return p.Provider.RetypeDisk(ctx, id, category, size) })
}

func (p patient) TagDisk(ctx context.Context, id string, tags iaas.Tags) error {
	return againErr(ctx, func(ctx context.Context) error { return p.Provider.TagDisk(ctx, id, tags) })
}

func (p patient) DeleteDisk(ctx context.Context, id string) error {
	return againErr(ctx, func(ctx context.Context) error { return p.Provider.DeleteDisk(ctx, id) })
}

func (p patient) SnapshotDisk(ctx context.Context, req iaas.SnapshotDiskRequest) (fleet.DiskSnapshot, error) {
	return again(ctx, func(ctx context.Context) (fleet.DiskSnapshot, error) { return p.Provider.SnapshotDisk(ctx, req) })
}

func (p patient) DiskSnapshot(ctx context.Context, id string) (fleet.DiskSnapshot, error) {
	return again(ctx, func(ctx context.Context) (fleet.DiskSnapshot, error) { return p.Provider.DiskSnapshot(ctx, id) })
}

func (p patient) ListDiskSnapshots(ctx context.Context, tags iaas.Tags) ([]fleet.DiskSnapshot, error) {
	return again(ctx, func(ctx context.Context) ([]fleet.DiskSnapshot, error) {
		return p.Provider.ListDiskSnapshots(ctx, tags)
	})
}

func (p patient) DeleteDiskSnapshot(ctx context.Context, id string) error {
	return againErr(ctx, func(ctx context.Context) error { return p.Provider.DeleteDiskSnapshot(ctx, id) })
}

func (p patient) RunCommand(ctx context.Context, req iaas.CommandRequest) (iaas.Command, error) {
	return again(ctx, func(ctx context.Context) (iaas.Command, error) { return p.Provider.RunCommand(ctx, req) })
}

func (p patient) Command(ctx context.Context, hostID, commandID string) (iaas.Command, error) {
	return again(ctx, func(ctx context.Context) (iaas.Command, error) { return p.Provider.Command(ctx, hostID, commandID) })
}

func (p patient) Zones(ctx context.Context) ([]string, error) {
	return again(ctx, func(ctx context.Context) ([]string, error) { return p.Provider.Zones(ctx) })
}

func (p patient) MachineTypes(ctx context.Context) ([]fleet.MachineType, error) {
	return again(ctx, func(ctx context.Context) ([]fleet.MachineType, error) { return p.Provider.MachineTypes(ctx) })
}

func (p patient) DiskCategories(ctx context.Context) ([]string, error) {
	return again(ctx, func(ctx context.Context) ([]string, error) { return p.Provider.DiskCategories(ctx) })
}

func (p patient) Available(ctx context.Context, zone, machineType string) (bool, error) {
	return again(ctx, func(ctx context.Context) (bool, error) { return p.Provider.Available(ctx, zone, machineType) })
}
