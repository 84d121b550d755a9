package etcdadmin

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// Lag is the answer to one question: how far one member is behind the leader. Both
// were asked themselves, at once.
type Lag struct {
	ID     uint64 `json:"id,string"`
	Member string `json:"member"`
	Leader string `json:"leader"`
	// Answers says that the member answered itself; Silent says why it did not.
	Answers bool   `json:"answers"`
	Silent  string `json:"silent,omitempty"`
	// Applied and LeaderApplied are raft indexes.
	Applied       uint64 `json:"applied"`
	LeaderApplied uint64 `json:"leaderApplied"`
	// DBSize and LeaderDBSize are the sizes of their stores' files.
	DBSize       fleet.Bytes `json:"dbSize"`
	LeaderDBSize fleet.Bytes `json:"leaderDbSize"`
	// Receiving says that the leader is sending it a snapshot of its whole store. A
	// member that begins with that answers nothing before it has it all.
	Receiving bool `json:"receiving,omitempty"`
}

// Behind is how many raft entries the leader had applied and the member had not.
func (l Lag) Behind() uint64 {
	if l.Applied >= l.LeaderApplied {
		return 0
	}
	return l.LeaderApplied - l.Applied
}

// Lag asks how far a member is behind the leader. A member that does not answer is
// in the answer, not an error. It takes two answer timeouts at most, and one more for
// a member that is far behind, whose leader is asked what it does about that. Errors:
// fleet.NotFound when there is no such member, fleet.Unavailable when no quorum or
// no leader answers.
func (c *Client) Lag(ctx context.Context, id uint64) (Lag, error) {
	seen, err := c.look(ctx)
	if err != nil {
		return Lag{}, err
	}
	l, err := c.lag(seen, id)
	if err == nil && (!l.Answers || l.Behind() > fleet.SyncLag) {
		l.Receiving = c.sends(ctx, leader(seen), id)
	}
	return l, err
}

// sends says whether the leader is sending a member a snapshot; a leader that does
// not tell is not known to.
func (c *Client) sends(ctx context.Context, l *sight, to uint64) bool {
	sending := false
	err := c.metrics(ctx, l.endpoint, l.ID, "snapshots by member "+called(l.ObservedMember), func(name string, labels map[string]string, value float64) {
		if name == metricSending && labels["To"] == strconv.FormatUint(to, 16) && value > 0 {
			sending = true
		}
	})
	return err == nil && sending
}

func (c *Client) lag(seen []sight, id uint64) (Lag, error) {
	s, l := find(seen, id), leader(seen)
	switch {
	case s == nil:
		return Lag{}, c.noMember(id)
	case l == nil:
		return Lag{}, fleet.Errorf(fleet.Unavailable, "member "+called(s.ObservedMember),
			"nobody can tell how far it is: the leader of the %s does not answer, or there is none", c.resource())
	}
	return Lag{
		ID: id, Member: called(s.ObservedMember), Leader: called(l.ObservedMember),
		Answers: s.Answers, Silent: s.Silent,
		Applied: s.Applied, LeaderApplied: l.Applied, DBSize: s.DBSize, LeaderDBSize: l.DBSize,
	}, nil
}

// GateStreak is how many questions in a row a member must be found in step before it
// counts as in sync: once may be chance, as when nothing was written in between.
const GateStreak = 3

// Gate decides whether a member is in sync, from one Lag after another; two polls
// lie between them. It is plain data, so that whoever continues can take it up. The
// zero Gate has asked nothing.
type Gate struct {
	// Leader is what the leader had applied at the last question.
	Leader uint64 `json:"leader"`
	// Streak is how often in a row the member was in step.
	Streak int `json:"streak"`
}

// After gives the gate after one more question. A member is in step if it answered,
// has applied all that the leader had at the question before, and is no more than
// fleet.SyncLag behind now. Its own index counts, not what the leader believes of it:
// the leader believes a dead member, and one whose snapshot is still on its way.
func (g Gate) After(l Lag) Gate {
	asked := g.Leader > 0
	if !l.Answers || l.Applied < g.Leader || l.Behind() > fleet.SyncLag {
		return Gate{Leader: l.LeaderApplied}
	}
	if asked {
		g.Streak++
	}
	g.Leader = l.LeaderApplied
	return g
}

// InSync says whether the member was in step often enough.
func (g Gate) InSync() bool { return g.Streak >= GateStreak }

// followPause lies between the questions of follows: a follower learns what is
// committed with the next entry, or the next heartbeat (100 ms by default).
const followPause = 50 * time.Millisecond

// follows makes sure, within one call, that a member answers and has applied what the
// leader had when this call began, and so knows its own part: a learner that was just
// promoted does not know for a heartbeat that it may lead. It waits one answer timeout
// for it, and the time of one more look.
func (c *Client) follows(ctx context.Context, seen []sight, id uint64, resource string) error {
	deadline := time.Now().Add(c.cfg.AnswerTimeout)
	before, err := c.lag(seen, id)
	for now := before; err == nil; now, err = c.Lag(ctx, id) {
		late := time.Now().After(deadline)
		switch {
		case !now.Answers:
			return fleet.Errorf(fleet.Conflict, resource, "it does not answer, and only its own word counts: %s", now.Silent).
				WithRemedy("wait until it answers and is in sync")
		case now.Applied >= before.LeaderApplied && now.Behind() <= fleet.SyncLag:
			return nil
		case late:
			return fleet.Errorf(fleet.Conflict, resource, "it is not in sync: it has applied %d of the %d entries that leader %s had when first asked, and is %d behind now",
				now.Applied, before.LeaderApplied, now.Leader, now.Behind()).
				WithRemedy("wait until it is in sync")
		}
		if err := pause(ctx, followPause, resource); err != nil {
			return err
		}
	}
	return err
}

// pause waits between two questions.
func pause(ctx context.Context, d time.Duration, resource string) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return explain(resource, ctx.Err())
	case <-timer.C:
		return nil
	}
}

// Percent is how far the member is by its index, for a progress report: 100 only when
// it is not behind at all. Of a snapshot that is on its way etcd tells no size, at
// neither end: then it is what it was before, often 0, and jumps.
func (l Lag) Percent() int {
	if !l.Answers || l.LeaderApplied == 0 {
		return 0
	}
	if l.Behind() == 0 {
		return 100
	}
	return min(99, int(100*float64(l.Applied)/float64(l.LeaderApplied)))
}

// String says it for a person.
func (l Lag) String() string {
	switch behind := l.Behind(); {
	case l.Receiving:
		return fmt.Sprintf("%s is receiving a snapshot of %s from leader %s", l.Member, l.LeaderDBSize, l.Leader)
	case !l.Answers:
		return fmt.Sprintf("%s does not answer: %s", l.Member, l.Silent)
	case behind == 0:
		return fmt.Sprintf("%s has all that leader %s has", l.Member, l.Leader)
	default:
		return fmt.Sprintf("%s is %d entries behind leader %s", l.Member, behind, l.Leader)
	}
}
