package etcdadmin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// quorumKey is read to see that reads are answered. etcdctl's endpoint health
// reads the same; it need not exist.
const quorumKey = "health"

// Observation is one look at a cluster.
type Observation struct {
	// Members is the membership that a quorum stands behind. Nil means unknown,
	// never "no members"; then Why says so.
	Members []fleet.ObservedMember
	// Quorum says that a linearizable read was answered.
	Quorum bool
	// Leader is the name of the leader, empty if there is none or it is unknown.
	Leader string
	// Revision is that of the member that is furthest; zero if none answered.
	Revision int64
	// Why is what could not be seen, and why; empty when all of it was.
	Why string
}

// Members gives the membership, as a quorum answered it, with what each member
// says itself. A member that does not answer costs one answer timeout in all,
// and has Silent set. Errors: fleet.Unavailable when no quorum answers,
// fleet.Denied when all endpoints refuse us.
func (c *Client) Members(ctx context.Context) ([]fleet.ObservedMember, error) {
	list, err := c.memberList(ctx)
	if err != nil {
		return nil, err
	}
	members := make([]fleet.ObservedMember, len(list.Members))
	statuses := make([]*clientv3.StatusResponse, len(list.Members))
	var asked sync.WaitGroup
	for i, m := range list.Members {
		members[i] = fleet.ObservedMember{
			ID: m.ID, Name: m.Name, Learner: m.IsLearner, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs,
		}
		asked.Go(func() {
			status, err := c.status(ctx, m, list.Header.ClusterId)
			statuses[i] = status
			fill(&members[i], status, err)
		})
	}
	asked.Wait()
	markLeader(members, statuses)
	return members, ctxError(ctx, c.resource())
}

// Quorum makes a linearizable read through any endpoint. Errors: fleet.Unavailable
// when no quorum answers, fleet.Denied when all endpoints refuse us.
func (c *Client) Quorum(ctx context.Context) error {
	_, err := first(ctx, c, c.resource(), func(ctx context.Context, client *clientv3.Client) (struct{}, error) {
		_, err := client.Get(ctx, quorumKey, clientv3.WithCountOnly())
		// That a user may not read this key is an answer too: it is given behind
		// the same read of the quorum's index.
		if errors.Is(err, rpctypes.ErrPermissionDenied) {
			err = nil
		}
		return struct{}{}, err
	})
	return err
}

// Observe looks at the cluster. It takes two answer timeouts at most, and tells
// what it could not see instead of failing.
func (c *Client) Observe(ctx context.Context) Observation {
	var (
		o         Observation
		quorumErr error
		asked     sync.WaitGroup
	)
	asked.Go(func() { quorumErr = c.Quorum(ctx) })
	members, err := c.Members(ctx)
	asked.Wait()
	o.Quorum = quorumErr == nil
	var why []string
	switch {
	case err != nil:
		why = append(why, "the membership is unknown: "+err.Error(), c.whoAnswers(ctx))
	case quorumErr != nil:
		why = append(why, "no quorum answers reads: "+quorumErr.Error())
	}
	if err == nil {
		o.Members = members
	}
	for _, m := range o.Members {
		o.Revision = max(o.Revision, m.Revision)
		if m.Leader {
			o.Leader = m.Name
		}
		if !m.Answers {
			why = append(why, fmt.Sprintf("member %s: %s", called(m), m.Silent))
		}
	}
	o.Why = strings.Join(why, "; ")
	return o
}

func (c *Client) memberList(ctx context.Context) (*clientv3.MemberListResponse, error) {
	return first(ctx, c, c.resource(), func(ctx context.Context, client *clientv3.Client) (*clientv3.MemberListResponse, error) {
		return client.MemberList(ctx) // linearizable since 3.5
	})
}

// status asks one member how it is, at each of its addresses at once.
func (c *Client) status(ctx context.Context, m *etcdserverpb.Member, cluster uint64) (*clientv3.StatusResponse, error) {
	if m.Name == "" || len(m.ClientURLs) == 0 {
		return nil, errors.New("it was added but has not started yet, so that nobody knows its client address")
	}
	type result struct {
		answer *clientv3.StatusResponse
		err    error
	}
	results := make(chan result, len(m.ClientURLs))
	for _, endpoint := range m.ClientURLs {
		go func() {
			answer, err := ask(ctx, c, endpoint, func(ctx context.Context, client *clientv3.Client) (*clientv3.StatusResponse, error) {
				return client.Status(ctx, endpoint)
			})
			// An address is not an identity: it may have been given to another.
			if err == nil && answer.Header.ClusterId != cluster {
				err = fmt.Errorf("a member of another cluster (ID %x) answers at %s", answer.Header.ClusterId, endpoint)
			} else if err == nil && answer.Header.MemberId != m.ID {
				err = fmt.Errorf("another member (ID %x) answers at %s", answer.Header.MemberId, endpoint)
			}
			results <- result{answer, err}
		}()
	}
	var errs []string
	for range m.ClientURLs {
		r := <-results
		if r.err == nil {
			return r.answer, nil
		}
		errs = append(errs, r.err.Error())
	}
	return nil, errors.New(strings.Join(errs, "; "))
}

func fill(m *fleet.ObservedMember, s *clientv3.StatusResponse, err error) {
	if err != nil {
		m.Silent = err.Error()
		return
	}
	m.Answers = true
	m.Version = s.Version
	m.DBSize = fleet.Bytes(s.DbSize)
	m.Applied = s.RaftAppliedIndex
	m.Revision = s.Header.Revision
}

// markLeader marks the member that the answer of the highest term calls the
// leader: one that was cut off may still take itself for it.
func markLeader(members []fleet.ObservedMember, statuses []*clientv3.StatusResponse) {
	var leader, term uint64
	for _, s := range statuses {
		if s != nil && s.Leader != 0 && s.RaftTerm >= term {
			leader, term = s.Leader, s.RaftTerm
		}
	}
	for i := range members {
		members[i].Leader = leader != 0 && members[i].ID == leader
	}
}

// whoAnswers says in words which endpoints answer at all: a member tells its
// status without a quorum.
func (c *Client) whoAnswers(ctx context.Context) string {
	said := make([]string, len(c.cfg.Endpoints))
	var asked sync.WaitGroup
	for i, endpoint := range c.cfg.Endpoints {
		asked.Go(func() {
			s, err := ask(ctx, c, endpoint, func(ctx context.Context, client *clientv3.Client) (*clientv3.StatusResponse, error) {
				return client.Status(ctx, endpoint)
			})
			switch {
			case err != nil:
				said[i] = endpoint + " does not answer"
			case s.Leader == 0:
				said[i] = endpoint + " answers and has no leader"
			default:
				said[i] = fmt.Sprintf("%s answers and has a leader (ID %x)", endpoint, s.Leader)
			}
		})
	}
	asked.Wait()
	return strings.Join(said, ", ")
}

func called(m fleet.ObservedMember) string {
	if m.Name == "" {
		return fmt.Sprintf("%x", m.ID)
	}
	return m.Name
}

func ctxError(ctx context.Context, resource string) error {
	if err := ctx.Err(); err != nil {
		return explain(resource, err)
	}
	return nil
}
