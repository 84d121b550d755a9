package harness

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/starter"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// Change is an operation on a running cluster, as a test asks for it.
type Change struct {
	Kind fleet.OperationKind
	// To makes the spec that is asked for of the one that there is; nil asks for none.
	To      func(*fleet.Spec)
	Options fleet.Options
}

// BeginChange asks for an operation on a cluster that runs.
func (e *Env) BeginChange(cluster string, change Change) (*Running, error) {
	return e.begin(cluster, func(ctx context.Context, request starter.Request) (workflows.SubmitReply, error) {
		request.Options = change.Options
		if change.To == nil {
			return e.Client.Submit(ctx, cluster, change.Kind, request)
		}
		view, err := e.Client.Describe(ctx, cluster)
		if err != nil {
			return workflows.SubmitReply{}, err
		}
		spec := view.Spec.Clone()
		change.To(&spec)
		if amended := view.Spec.Amended(spec); !amended.Equal(view.Spec) {
			if err := e.Client.Amend(ctx, cluster, amended); err != nil {
				return workflows.SubmitReply{}, err
			}
		}
		return e.Client.Change(ctx, cluster, change.Kind, &spec, request)
	})
}

// Resume asks for the rest of what did not end well.
func (e *Env) Resume(cluster string) (*Running, error) {
	return e.begin(cluster, func(ctx context.Context, request starter.Request) (workflows.SubmitReply, error) {
		return e.Client.Resume(ctx, cluster, request.ID)
	})
}

// Settled waits until a cluster's own record says that nothing runs, and gives it.
func (e *Env) Settled(cluster string) (view workflows.ClusterView, err error) {
	err = e.Within(Patience, func() error {
		view, err = e.Client.Describe(e.t.Context(), cluster)
		if err == nil && view.Summary.Operation != "" {
			err = fmt.Errorf("%s runs", view.Summary.Operation)
		}
		return err
	})
	return view, err
}

// Stands says what is wrong unless a cluster is just what its spec asks for: so many
// voters and learners that all serve, each on one host and one disk of the right kind
// in the right zone, run by one process of the right release; and nothing else.
func (e *Env) Stands(ctx context.Context, cluster string) error {
	view, err := e.Settled(cluster)
	if err != nil {
		return err
	}
	spec := view.Spec
	a, err := e.connectToAll(ctx, cluster, spec.Voters)
	if err != nil {
		return err
	}
	defer a.Close()
	var voters, learners []string
	var list *clientv3.MemberListResponse
	err = e.Within(settling, func() (err error) {
		timed, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		list, err = a.MemberList(timed)
		return err
	})
	if err != nil {
		return fmt.Errorf("listing the members of %s: %w", cluster, err)
	}
	for _, m := range list.Members {
		if m.IsLearner {
			learners = append(learners, m.Name)
		} else {
			voters = append(voters, m.Name)
		}
	}
	if len(voters) != spec.Voters || len(learners) != spec.Learners {
		return fmt.Errorf("expected %d voters and %d learners; etcd lists %v and %v", spec.Voters, spec.Learners, voters, learners)
	}
	members := slices.Concat(voters, learners)
	if err := e.resourcesOf(ctx, spec, members); err != nil {
		return err
	}
	return e.answers(ctx, a)
}

// resourcesOf says what is wrong unless these members have just the hosts, disks and
// processes that a spec asks for.
func (e *Env) resourcesOf(ctx context.Context, spec fleet.Spec, members []string) error {
	hosts, err := e.HostsOf(ctx, spec.Name)
	if err != nil {
		return err
	}
	disks, err := e.Cloud.ListDisks(ctx, iaas.Tags{fleet.TagCluster: spec.Name})
	if err != nil {
		return err
	}
	var onHosts, onDisks, ids []string
	places := map[string]string{}
	for _, h := range hosts {
		onHosts, ids, places[h.Member()] = append(onHosts, h.Member()), append(ids, h.ID), h.ID
		if h.Type != spec.Machine.Type || h.State != fleet.HostRunning || !slices.Contains(slices.Concat(spec.Zones, spec.Standby.Zones), h.Zone) {
			return fmt.Errorf("expected a running %s in %v as host of %s; it is %s %s in %s", spec.Machine.Type, spec.Zones, h.Member(), h.State, h.Type, h.Zone)
		}
	}
	for _, d := range disks {
		onDisks = append(onDisks, d.Member())
		if d.Size != spec.Machine.Disk.Size || d.Category != spec.Machine.Disk.Category || d.HostID != places[d.Member()] {
			return fmt.Errorf("expected %s of %s at host %s as disk of %s; it is %s of %s at %s", spec.Machine.Disk.Size, spec.Machine.Disk.Category,
				places[d.Member()], d.Member(), d.Size, d.Category, d.HostID)
		}
	}
	if !same(onHosts, members) || !same(onDisks, members) {
		return fmt.Errorf("expected one host and one disk of each of %v; there are hosts of %v and disks of %v", members, onHosts, onDisks)
	}
	if strays := e.strays(); len(strays) > 0 {
		return fmt.Errorf("expected no directory without a record; there are %v", strays)
	}
	return e.Within(settling, func() error {
		var running []string
		for _, p := range e.HostProcesses(ids...) {
			if p.Member() == "" {
				continue
			}
			running = append(running, p.Member())
			if version := filepath.Base(filepath.Dir(p.Args[0])); version != spec.Etcd.Version {
				return fmt.Errorf("expected that %s runs etcd %s; it runs %s", p.Member(), spec.Etcd.Version, version)
			}
			if quota := fmt.Sprintf("--quota-backend-bytes=%d", spec.Etcd.Quota); !slices.Contains(p.Args, quota) {
				return fmt.Errorf("expected that %s runs with %s; it runs with %s", p.Member(), quota, strings.Join(p.Args, " "))
			}
		}
		if !same(running, members) {
			return fmt.Errorf("expected one process of each of %v; there are those of %v", members, running)
		}
		return nil
	})
}

// answers writes to a cluster and reads it back, linearizably, at each of these endpoints.
func (e *Env) answers(ctx context.Context, a *Access) error {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	const key = "/stands"
	value := fmt.Sprint(time.Now().UnixNano())
	if _, err := a.Put(ctx, key, value); err != nil {
		return fmt.Errorf("writing to it: %w", err)
	}
	for _, endpoint := range a.Endpoints {
		a.SetEndpoints(endpoint)
		got, err := a.Get(ctx, key)
		if err != nil || len(got.Kvs) != 1 || string(got.Kvs[0].Value) != value {
			return errors.Join(fmt.Errorf("expected to read at %s what was written; got %v", endpoint, got), err)
		}
	}
	return nil
}

// Bought counts the hosts that were ever bought for a cluster.
func (e *Env) Bought(cluster string) (int, error) {
	ever, _, err := e.bought("hosts", cluster)
	return len(ever), err
}

// Leader gives the name of the member that leads.
func (e *Env) Leader(ctx context.Context, cluster string) (leader string, err error) {
	a, err := e.Connect(ctx, cluster)
	if err != nil {
		return "", err
	}
	defer a.Close()
	err = e.Within(settling, func() error {
		timed, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		list, err := a.MemberList(timed)
		if err != nil {
			return err
		}
		status, err := a.Status(timed, a.Endpoints[0])
		if err != nil {
			return err
		}
		i := slices.IndexFunc(list.Members, func(m *etcdserverpb.Member) bool { return m.ID == status.Leader })
		if i < 0 {
			return fmt.Errorf("%s has no leader", cluster)
		}
		leader = list.Members[i].Name
		return nil
	})
	return leader, err
}

// StopMember stops a member's process as an operator's hand might: it stays stopped.
func (e *Env) StopMember(ctx context.Context, host fleet.Host) error {
	cmd := exec.CommandContext(ctx, Binary(e.node), "--root", filepath.Join(e.Dir, "local", "hosts", host.ID, "fs"), "stop")
	cmd.Stdin = strings.NewReader(fmt.Sprintf(`{"member": %q}`, host.Member()))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("stopping %s: %w: %s", host.Member(), err, out)
	}
	return nil
}
