package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

// record is what the local provider keeps of a host or a disk, also when it ended.
type record struct {
	ID    string            `json:"id"`
	State string            `json:"state"`
	Tags  map[string]string `json:"tags"`
}

// records reads the provider's own files, past its interface: what it would not
// show must not be there either.
func (e *Env) records(kind, cluster string) ([]record, error) {
	paths, err := filepath.Glob(filepath.Join(e.Dir, "local", kind, "*.json"))
	if err != nil {
		return nil, err
	}
	var all []record
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		var r record
		if err := json.Unmarshal(text, &r); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if r.Tags[fleet.TagCluster] == cluster {
			all = append(all, r)
		}
	}
	return all, nil
}

// bought says for which members hosts or disks were ever bought, and which of them are left.
func (e *Env) bought(kind, cluster string) (ever, left []string, err error) {
	all, err := e.records(kind, cluster)
	for _, r := range all {
		ever = append(ever, r.Tags[fleet.TagMember])
		_, gone := os.Stat(filepath.Join(e.Dir, "local", kind, r.ID))
		ended := r.State == string(fleet.HostTerminated) || r.State == string(fleet.DiskDeleted)
		if !ended {
			left = append(left, r.Tags[fleet.TagMember])
		}
		if ended != errors.Is(gone, os.ErrNotExist) {
			err = errors.Join(err, fmt.Errorf("%s %s is %s, and of its directory: %w", kind, r.ID, r.State, gone))
		}
	}
	return ever, left, err
}

// strays gives directories of hosts and disks that no record knows.
func (e *Env) strays() (all []string) {
	for _, kind := range []string{"hosts", "disks"} {
		dirs, _ := filepath.Glob(filepath.Join(e.Dir, "local", kind, "?-*"))
		for _, dir := range dirs {
			info, err := os.Stat(dir)
			if _, missing := os.Stat(dir + ".json"); err == nil && info.IsDir() && missing != nil {
				all = append(all, dir)
			}
		}
	}
	return all
}

// HostProcess is a process on a host of the environment.
type HostProcess struct {
	PID  int
	Host string // its ID
	Args []string
}

// HostProcesses gives the processes on the hosts with these IDs.
func (e *Env) HostProcesses(hosts ...string) []HostProcess {
	var all []HostProcess
	for _, pid := range e.Processes() {
		environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		line, lineErr := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil || lineErr != nil || len(line) == 0 {
			continue // it ended
		}
		for _, host := range hosts {
			if slices.Contains(strings.Split(string(environ), "\x00"), "FLOTILLA_HOST="+host) {
				args := strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")
				all = append(all, HostProcess{PID: pid, Host: host, Args: args})
			}
		}
	}
	return all
}

// Member gives the member that a process is the etcd of, or "".
func (p HostProcess) Member() string {
	if filepath.Base(p.Args[0]) != "etcd" {
		return ""
	}
	for _, arg := range p.Args {
		if name, ok := strings.CutPrefix(arg, "--name="); ok {
			return name
		}
	}
	return ""
}

// HostsOf gives a cluster's hosts.
func (e *Env) HostsOf(ctx context.Context, cluster string) ([]fleet.Host, error) {
	return e.Cloud.ListHosts(ctx, iaas.Tags{fleet.TagCluster: cluster})
}

// Exactly says what is wrong unless the cluster has exactly these members, each
// with one host and one disk that were bought once, one init and one etcd process.
func (e *Env) Exactly(ctx context.Context, cluster string, members ...string) error {
	for _, kind := range []string{"hosts", "disks"} {
		ever, left, err := e.bought(kind, cluster)
		switch {
		case err != nil:
			return err
		case !same(ever, members):
			return fmt.Errorf("expected that %s were bought once for each of %v; they were for %v", kind, members, ever)
		case !same(left, members):
			return fmt.Errorf("expected %s of %v; there are those of %v", kind, members, left)
		}
	}
	if strays := e.strays(); len(strays) > 0 {
		return fmt.Errorf("expected no directory without a record; there are %v", strays)
	}
	hosts, err := e.HostsOf(ctx, cluster)
	if err != nil {
		return err
	}
	var ids []string
	for _, h := range hosts {
		if ids = append(ids, h.ID); h.State != fleet.HostRunning {
			return fmt.Errorf("expected that host %s runs; it is %s", h.Name, h.State)
		}
	}
	// A second init ends as soon as it sees the first, and commands of attempts that
	// died end by themselves: what matters is what stays.
	return e.Within(settling, func() error {
		var etcds, inits []string
		for _, p := range e.HostProcesses(ids...) {
			if member := p.Member(); member != "" {
				etcds = append(etcds, member)
			}
			if p.init() {
				inits = append(inits, p.Host)
			}
		}
		if !same(etcds, members) || !same(inits, ids) {
			return fmt.Errorf("expected one etcd process of each of %v and one init on each of %v; there are those of %v and %v",
				members, ids, etcds, inits)
		}
		return nil
	})
}

// Nothing says what is wrong unless nothing is left of a cluster that had these
// members: no host, disk, process, directory or secret, and what was bought for them
// was bought once.
func (e *Env) Nothing(ctx context.Context, cluster string, members ...string) error {
	for _, kind := range []string{"hosts", "disks"} {
		ever, left, err := e.bought(kind, cluster)
		switch {
		case err != nil:
			return err
		case len(left) > 0:
			return fmt.Errorf("expected no %s; those of %v are left", kind, left)
		case !within(ever, members):
			return fmt.Errorf("expected that %s were bought at most once for each of %v; they were for %v", kind, members, ever)
		}
	}
	if strays := e.strays(); len(strays) > 0 {
		return fmt.Errorf("expected no directory without a record; there are %v", strays)
	}
	all, err := e.records("hosts", cluster)
	if err != nil {
		return err
	}
	var ids []string
	for _, r := range all {
		ids = append(ids, r.ID)
	}
	if left, _ := filepath.Glob(filepath.Join(e.Dir, "objects", "clusters", cluster)); len(left) > 0 {
		return fmt.Errorf("expected no secret; there is %v", left)
	}
	return e.Within(settling, func() error {
		if left := e.HostProcesses(ids...); len(left) > 0 {
			return fmt.Errorf("expected no process; there are %v", left)
		}
		return nil
	})
}

// settling is how long what is ending may still be seen.
const settling = 15 * time.Second

// Within asks check again and again until it is content, and gives its last error
// when that takes longer than patience.
func (e *Env) Within(patience time.Duration, check func() error) error {
	late := time.After(patience)
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-e.t.Context().Done():
			return err
		case <-late:
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// AwaitMember waits until a member's etcd process is there, and gives its ID.
func (e *Env) AwaitMember(cluster, member string) (int, error) {
	return e.await(member, func() (int, error) {
		return e.find(cluster, member, func(p HostProcess) bool { return p.Member() == member })
	})
}

// AwaitInit waits until the init of a member's host is there, and gives its ID.
func (e *Env) AwaitInit(cluster, member string) (int, error) {
	return e.await("init of "+member, func() (int, error) { return e.InitOf(cluster, member) })
}

// InitOf gives the ID of the init of a member's host, or 0 when there is none now.
func (e *Env) InitOf(cluster, member string) (int, error) {
	return e.find(cluster, member, HostProcess.init)
}

func (p HostProcess) init() bool { return p.Args[len(p.Args)-1] == "init" }

func (e *Env) await(what string, find func() (int, error)) (pid int, err error) {
	err = e.Within(Patience, func() error {
		pid, err = find()
		if err == nil && pid == 0 {
			err = fmt.Errorf("%s has no process", what)
		}
		return err
	})
	return pid, err
}

func (e *Env) find(cluster, member string, is func(HostProcess) bool) (int, error) {
	hosts, err := e.records("hosts", cluster)
	if err != nil {
		return 0, err
	}
	for _, h := range hosts {
		if h.Tags[fleet.TagMember] != member {
			continue
		}
		for _, p := range e.HostProcesses(h.ID) {
			if is(p) {
				return p.PID, nil
			}
		}
	}
	return 0, nil
}

// same says whether two lists have the same elements in any order.
func same(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}

// within says whether a list has only elements of another one, each once at most.
func within(list, all []string) bool {
	for i, element := range list {
		if !slices.Contains(all, element) || slices.Contains(list[:i], element) {
			return false
		}
	}
	return true
}
