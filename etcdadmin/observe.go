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
	// Downgrade is the minor that a downgrade is enabled for, or empty. Members of 3.5
	// do not tell.
	Downgrade string
	// Alarms are those that the leader knows of, or any member if it does not answer.
	Alarms []fleet.Alarm
	// Why is what could not be seen, and why; empty when all of it was.
	Why string
}

// Members gives the membership, as a quorum answered it, with what each member
// says itself. A member that does not answer costs one answer timeout in all,
// and has Silent set. Errors: fleet.Unavailable when no quorum answers,
// fleet.Denied when all endpoints refuse us.
func (c *Client) Members(ctx context.Context) ([]fleet.ObservedMember, error) {
	seen, err := c.look(ctx)
	if err != nil {
		return nil, err
	}
	members := make([]fleet.ObservedMember, len(seen))
	for i, s := range seen {
		members[i] = s.ObservedMember
	}
	return members, nil
}

// sight is a member as the membership has it, with its own answer.
type sight struct {
	fleet.ObservedMember
	status   *clientv3.StatusResponse // nil when it did not answer
	endpoint string                   // where it answered
}

// look asks for the membership, and each member of it for its status.
func (c *Client) look(ctx context.Context) ([]sight, error) {
	list, err := c.memberList(ctx)
	if err != nil {
		return nil, err
	}
	seen := make([]sight, len(list.Members))
	var asked sync.WaitGroup
	for i, m := range list.Members {
		asked.Go(func() { seen[i] = c.see(ctx, m, list.Header.ClusterId) })
	}
	asked.Wait()
	markLeader(seen)
	return seen, ctxError(ctx, c.resource())
}

// see asks one member for its status.
func (c *Client) see(ctx context.Context, m *etcdserverpb.Member, cluster uint64) sight {
	s := sight{ObservedMember: fleet.ObservedMember{
		ID: m.ID, Name: m.Name, Learner: m.IsLearner, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs,
	}}
	var err error
	s.status, s.endpoint, err = c.status(ctx, m, cluster)
	if err != nil {
		s.Silent = err.Error()
		return s
	}
	s.Answers = true
	s.Version = s.status.Version
	s.Storage = s.status.StorageVersion
	s.DBSize = fleet.Bytes(s.status.DbSize)
	s.Applied = s.status.RaftAppliedIndex
	s.Revision = s.status.Header.Revision
	s.Term = s.status.RaftTerm
	s.Errors = s.status.Errors
	return s
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

// Point is a point in the history of one cluster. Revisions can be compared only
// within one: a restore begins another.
type Point struct {
	Cluster  uint64 // etcd's ID of it
	Revision int64
}

// Now makes a linearizable read and gives the point that it was answered at: every
// write that was acknowledged before the call is in it. Errors: as of Quorum;
// fleet.Denied also when we may not read the key that is asked for.
func (c *Client) Now(ctx context.Context) (Point, error) {
	return first(ctx, c, c.resource(), func(ctx context.Context, client *clientv3.Client) (Point, error) {
		answer, err := client.Get(ctx, quorumKey, clientv3.WithCountOnly())
		if err != nil {
			return Point{}, err
		}
		return Point{Cluster: answer.Header.ClusterId, Revision: answer.Header.Revision}, nil
	})
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
	seen, err := c.look(ctx)
	asked.Wait()
	o.Quorum = quorumErr == nil
	var why []string
	switch {
	case err != nil:
		why = append(why, "the membership is unknown: "+err.Error(), c.whoAnswers(ctx))
	case quorumErr != nil:
		why = append(why, "no quorum answers reads: "+quorumErr.Error())
	}
	for _, s := range seen {
		m := s.ObservedMember
		o.Members = append(o.Members, m)
		o.Revision = max(o.Revision, m.Revision)
		if m.Leader {
			o.Leader = m.Name
		}
		if !m.Answers {
			why = append(why, fmt.Sprintf("member %s: %s", called(m), m.Silent))
		}
	}
	o.Downgrade, o.Alarms = downgrade(seen), alarms(seen)
	o.Why = strings.Join(why, "; ")
	return o
}

func (c *Client) memberList(ctx context.Context) (*clientv3.MemberListResponse, error) {
	return first(ctx, c, c.resource(), func(ctx context.Context, client *clientv3.Client) (*clientv3.MemberListResponse, error) {
		return client.MemberList(ctx) // linearizable since 3.5
	})
}

// status asks one member how it is, at each of its addresses at once, and says
// which of them answered first.
func (c *Client) status(ctx context.Context, m *etcdserverpb.Member, cluster uint64) (*clientv3.StatusResponse, string, error) {
	if m.Name == "" || len(m.ClientURLs) == 0 {
		return nil, "", errors.New("it was added but has not started yet, so that nobody knows its client address")
	}
	type result struct {
		answer   *clientv3.StatusResponse
		endpoint string
		err      error
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
			results <- result{answer, endpoint, err}
		}()
	}
	var errs []string
	for range m.ClientURLs {
		r := <-results
		if r.err == nil {
			return r.answer, r.endpoint, nil
		}
		errs = append(errs, r.err.Error())
	}
	return nil, "", errors.New(strings.Join(errs, "; "))
}

// markLeader marks the member that the answer of the highest term calls the
// leader: one that was cut off may still take itself for it.
func markLeader(seen []sight) {
	var leader, term uint64
	for _, s := range seen {
		if s.status != nil && s.status.Leader != 0 && s.status.RaftTerm >= term {
			leader, term = s.status.Leader, s.status.RaftTerm
		}
	}
	for i := range seen {
		seen[i].Leader = leader != 0 && seen[i].ID == leader
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
