// Package endpoints publishes where clients of a cluster are to connect, under a name
// that stays while members come and go: in a file that clients on this machine follow, or
// through a program of one's own. The clouds' DNS is in their providers (iaas/aws,
// iaas/aliyun). Which name a cluster has is said by its spec, what is written and where by
// the worker's configuration: no spec reaches beyond what the worker was given.
package endpoints

import (
	"context"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// Publisher makes names say where clients connect.
type Publisher interface {
	// Publish has a record say these endpoints and no others, and returns when everybody
	// who asks from then on is told so. What is added is there before anything is taken
	// away. A record without endpoints is removed. It is idempotent, and the last one wins.
	//
	// Errors: fleet.Conflict where the name is not this cluster's; fleet.Invalid where it
	// cannot be published here; fleet.Denied, fleet.Throttled and fleet.Unavailable as the
	// other side says.
	Publish(ctx context.Context, record fleet.Record) error
}

// Open opens what is on this machine: file:///directory or exec:///program. known is
// false for another scheme.
func Open(location string) (p Publisher, known bool, err error) {
	scheme, _, _ := strings.Cut(location, "://")
	if scheme != "file" && scheme != "exec" {
		return nil, false, nil
	}
	u, err := url.Parse(location)
	if err != nil || u.Host != "" || u.RawQuery != "" || !filepath.IsAbs(u.Path) {
		return nil, true, fleet.Errorf(fleet.Invalid, "--publish "+location, "is not like file:///var/lib/flotilla/endpoints or exec:///usr/local/bin/publish")
	}
	if scheme == "exec" {
		return newCommand(u.Path), true, nil
	}
	p, err = newDirectory(u.Path)
	return p, true, err
}
