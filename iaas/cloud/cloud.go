// Package cloud is what the providers of public clouds have in common: words for
// resources, the check of tokens, what a disk's state says about an attachment, and
// waiting until a look shows what a call has met. What is of one vendor is not here.
package cloud

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

// Label names a resource for people: by its name where there is one, and its ID.
func Label(kind, name, id string) string {
	if name == "" || name == id {
		return kind + " " + cmp.Or(id, "?")
	}
	return kind + " " + name + " (" + id + ")"
}

// MaxToken is how long a client token may be, in ASCII characters, for EC2 ("Ensuring
// idempotency") as for ECS ("How to ensure idempotence").
const MaxToken = 64

// CheckToken refuses a token that a cloud would not take (fleet.Invalid).
func CheckToken(resource, token string) error {
	if token == "" || len(token) > MaxToken {
		return fleet.Errorf(fleet.Invalid, resource, "its token has %d characters, not 1 to %d", len(token), MaxToken)
	}
	for _, c := range []byte(token) {
		if c <= ' ' || c > '~' {
			return fleet.Errorf(fleet.Invalid, resource, "its token %q has other than printable ASCII characters", token)
		}
	}
	return nil
}

// ReusedToken is the error of a command's token that was used for another one.
func ReusedToken(resource string) error {
	return fleet.Errorf(fleet.Invalid, resource, "the token of a command was used again for another one").
		WithRemedy("use a new token for each command")
}

// Matches says whether a resource has all of the tags; an empty value matches any.
func Matches(have map[string]string, want iaas.Tags) bool {
	for key, value := range want {
		got, ok := have[key]
		if !ok || value != "" && got != value {
			return false
		}
	}
	return true
}

// Bought says whether a host is what a request asks for: a token that bought it may be
// refused for another request because the worker's configuration is another one since.
func Bought(h fleet.Host, req iaas.LaunchHostRequest) bool {
	return h.Zone == req.Zone && h.Type == req.Type && h.Name == req.Name && h.Tags[fleet.TagToken] == req.Token && Matches(h.Tags, req.Tags)
}

// GiB rounds a size up to what clouds sell.
func GiB(size fleet.Bytes) int { return int((size + fleet.GiB - 1) / fleet.GiB) }

// Short gives the beginning of a text, at most limit bytes of it.
func Short(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "")
}

// longestMessage keeps an error one sentence.
const longestMessage = 300

// Plain makes a cloud's own words part of a sentence; otherwise stands for no words.
func Plain(message, otherwise string) string {
	message = strings.TrimRight(strings.TrimSpace(message), ".")
	if len(message) > longestMessage {
		message = Short(message, longestMessage) + "…"
	}
	return cmp.Or(message, otherwise)
}

// AttachedTo says whether a host has a disk, or will soon, and refuses one that cannot
// be attached now: fleet.Conflict if another host has it, fleet.NotFound if it was deleted.
func AttachedTo(d fleet.Disk, hostID string) (bool, error) {
	resource := Label("disk", d.Name, d.ID)
	switch {
	case d.HostID == hostID && (d.State == fleet.DiskAttaching || d.State == fleet.DiskInUse):
		return true, nil
	case d.HostID != "":
		return false, fleet.Errorf(fleet.Conflict, resource, "it is %s, at host %s", d.State, d.HostID).WithRemedy("detach it first")
	case d.State == fleet.DiskDeleting || d.State == fleet.DiskDeleted:
		return false, fleet.Errorf(fleet.NotFound, resource, "it was deleted")
	}
	return false, nil
}

// SameZone gives why a disk cannot be attached to a host of another zone, or nil.
func SameZone(d fleet.Disk, h fleet.Host) error {
	if h.Zone == d.Zone {
		return nil
	}
	return fleet.Errorf(fleet.Invalid, Label("disk", d.Name, d.ID), "it is in zone %s and %s in zone %s", d.Zone, Label("host", h.Name, h.ID), h.Zone).
		WithRemedy("use a disk of the host's zone")
}

// lookPause is between two looks at what should show soon.
const lookPause = 200 * time.Millisecond

// Await looks until a look is done or fails, and says whether it was done within a
// time. Errors: the look's, and the context's own.
func Await(ctx context.Context, within time.Duration, look func(context.Context) (done bool, err error)) (bool, error) {
	for deadline := time.Now().Add(within); ; {
		if done, err := look(ctx); done || err != nil {
			return done, err
		}
		if time.Now().After(deadline) {
			return false, nil
		}
		timer := time.NewTimer(lookPause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return false, ctx.Err()
		case <-timer.C:
		}
	}
}
