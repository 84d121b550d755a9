package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/flotilla-etcd/flotilla/etcdadmin"
	"github.com/flotilla-etcd/flotilla/fleet"
)

// AwaitInSync waits until a member has what the leader has, by its own word, at
// several looks. One whose host ended meanwhile is fleet.Lost.
func (m *Members) AwaitInSync(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	return note(m.awaitInSync(ctx, r, time.Time{}))
}

// streakPause lies between the questions to a member that was in step at the last one.
// By then a wait may ask once a second only, and three more such seconds for each
// member would be most of what a rolling restart takes. It is longer than a heartbeat
// of etcd's, with which a follower learns what is committed.
const streakPause = 200 * time.Millisecond

// nudgeEvery lies between the entries that a wait makes in the log for a member that is
// behind, or silent: in a cluster that nobody writes to it may be waiting for one
// (etcdadmin.Client.Nudge). So many are nothing to etcd, and more would wake it no sooner.
const nudgeEvery = time.Second

// nudges are the entries that a wait makes.
type nudges struct{ last time.Time }

// nudge makes one if it is time. What comes of it is seen at the next look.
func (n *nudges) nudge(ctx context.Context, client *etcdadmin.Client) {
	if time.Since(n.last) < nudgeEvery {
		return
	}
	_ = client.Nudge(ctx)
	n.last = time.Now()
}

// observe looks at a cluster, says what keeps it from being healthy, and nudges who is
// behind or silent.
func (n *nudges) observe(ctx context.Context, client *etcdadmin.Client) (seen etcdadmin.Observation, troubled string) {
	_, _ = asking(ctx, func(ctx context.Context) (struct{}, error) {
		seen = client.Observe(ctx)
		if troubled = unhealthy(seen); troubled != "" && seen.Quorum {
			n.nudge(ctx, client)
		}
		return struct{}{}, nil
	})
	return seen, troubled
}

// late is the error of a wait that was over before its fact had come.
type late struct{ last string }

func (l late) Error() string { return "not in sync in time: " + l.last }

func isLate(err error) bool { return errors.As(err, &late{}) }

// awaitInSync waits until a step's member is in sync, or until a time, if there is
// one; then the error is late.
func (r Region) awaitInSync(ctx context.Context, req fleet.StepRequest, until time.Time) (string, error) {
	client, err := r.client(ctx, req.Operation, "")
	if err != nil {
		return "", err
	}
	defer client.Close()
	var gate etcdadmin.Gate
	var text string
	inStep, looked := false, time.Now()
	heard, said := looked, waitingForEtcd // when the member and its leader answered last, and what was seen last
	nudges := nudges{last: looked}
	pace := func(usual time.Duration) time.Duration {
		if inStep {
			return min(usual, streakPause)
		}
		return usual
	}
	err = pollAt(ctx, pace, func(ctx context.Context) (bool, int, string, error) {
		words, percent, err := "", -1, error(nil)
		lag, err := within(ctx, askedWithin, said, func(ctx context.Context) (etcdadmin.Lag, error) {
			id, err := memberID(ctx, client, req.Step)
			if err != nil {
				return etcdadmin.Lag{}, err
			}
			lag, err := client.Lag(ctx, id)
			if err == nil && !lag.Receiving && (!lag.Answers || lag.Behind() > 0) {
				nudges.nudge(ctx, client)
			}
			return lag, err
		})
		inStep = err == nil && lag.Answers && lag.Behind() <= fleet.SyncLag
		switch {
		case err == nil:
			gate = gate.After(lag)
			text, percent = lag.String(), lag.Percent()
			words = text
			if gate.InSync() {
				return true, 100, "", nil
			}
		case fleet.Is(err, fleet.Unavailable): // an election, or a busy machine
			gate, words, err = etcdadmin.Gate{}, err.Error(), nil
		case fleet.Is(err, fleet.NotFound):
			err = fleet.Errorf(fleet.Lost, "member "+req.Step.Member, "is no member any more")
		}
		if lag.Answers {
			heard = time.Now()
		} else {
			words = fmt.Sprintf("%s (%s so far)", words, time.Since(heard).Round(time.Second))
		}
		said = words
		switch {
		case err == nil && !until.IsZero() && time.Now().After(until):
			err = late{words}
		case err == nil && until.IsZero() && !lag.Answers && time.Since(looked) > endedEvery:
			looked, err = time.Now(), r.ended(ctx, req.Step)
		}
		return false, percent, words, err
	})
	return text, err
}

// memberID gives etcd's ID of a step's member. A step that does not say it was
// planned before the member was listed; its name or its place tells.
func memberID(ctx context.Context, client *etcdadmin.Client, step fleet.Step) (uint64, error) {
	if step.MemberID != 0 {
		return step.MemberID, nil
	}
	members, err := client.Members(ctx)
	if err != nil {
		return 0, err
	}
	for _, m := range members {
		if m.Name == step.Member || m.Name == "" && step.Endpoint != nil && slices.Contains(m.PeerURLs, step.Endpoint.PeerURL()) {
			return m.ID, nil
		}
	}
	return 0, fleet.Errorf(fleet.NotFound, "member "+step.Member, "is not in the membership")
}

// AwaitSettled waits until all members that etcd lists have been healthy and in sync
// for as long as the policy asks for. What their processes have lived already counts,
// so that a cluster that has long been settled is so at once.
func (m *Members) AwaitSettled(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	return note(m.awaitSettled(ctx, r))
}

func (m *Members) awaitSettled(ctx context.Context, r fleet.StepRequest) (string, error) {
	soak := time.Duration(r.Policy.WithDefaults().Soak)
	client, err := m.client(ctx, r.Operation, "")
	if err != nil {
		return "", err
	}
	defer client.Close()
	var calm calm
	var text string
	var nudges nudges
	left := soak
	// When it is over is known, unless trouble comes.
	pace := func(usual time.Duration) time.Duration { return min(usual, max(left, firstPoll)) }
	err = pollAt(ctx, pace, func(ctx context.Context) (bool, int, string, error) {
		seen, troubled := nudges.observe(ctx, client)
		left = soak
		calm.see(time.Now(), troubled == "")
		if troubled != "" {
			return false, 0, troubled, nil
		}
		if calm.looks < 2 {
			return false, 0, "looking once more", nil
		}
		if calm.uptime == nil || calm.lasts(time.Now()) >= soak {
			// At the end as well: a process that was restarted in between tells by its age.
			uptime, err := m.uptimes(ctx, r.Operation, seen.Members)
			if err != nil {
				return false, -1, "", err
			}
			calm.aged(time.Now(), uptime)
		}
		lasts := min(calm.lasts(time.Now()), soak)
		left = soak - lasts
		text = fmt.Sprintf("all %d members have been in sync for %s of %s", len(seen.Members), lasts.Round(time.Second/10), soak)
		return lasts >= soak, int(100 * lasts / max(soak, 1)), text, nil
	})
	return text, err
}

// unhealthy says in words what keeps a cluster from being healthy; "" when nothing does.
func unhealthy(seen etcdadmin.Observation) string {
	var ahead uint64
	for _, m := range seen.Members {
		ahead = max(ahead, m.Applied)
	}
	switch {
	case len(seen.Members) == 0 || !seen.Quorum:
		return seen.Why
	case seen.Leader == "":
		return "there is no leader"
	}
	for _, m := range seen.Members {
		switch {
		case !m.Answers:
			return fmt.Sprintf("%s does not answer: %s", m.Name, m.Silent)
		case m.Applied+fleet.SyncLag < ahead:
			return fmt.Sprintf("%s is %d entries behind", m.Name, ahead-m.Applied)
		}
	}
	return ""
}

// calm is for how long a cluster has been healthy: since the first of our own looks
// that found nothing wrong, or for as long as the youngest process has lived by then.
type calm struct {
	since time.Time // of the first look in a row that found nothing wrong; zero before
	looks int       // in that row
	// uptime is how long the youngest process had lived at askedAt; nil before hosts
	// were asked in this row.
	uptime  *time.Duration
	askedAt time.Time
}

// see takes a look into account.
func (c *calm) see(now time.Time, healthy bool) {
	switch {
	case !healthy:
		*c = calm{}
	case c.since.IsZero():
		c.since, c.looks = now, 1
	default:
		c.looks++
	}
}

// aged takes into account what hosts say of the age of their processes. A process
// that is younger than our looks was restarted between two of them.
func (c *calm) aged(now time.Time, uptimes []time.Duration) {
	for _, up := range uptimes {
		if up > 0 && up < now.Sub(c.since) {
			c.since = now.Add(-up)
		}
	}
	youngest := time.Duration(0) // of a process that is not known, our own looks tell
	if len(uptimes) > 0 {
		youngest = slices.Min(uptimes)
	}
	c.uptime, c.askedAt = &youngest, now
}

// lasts is for how long there has been calm.
func (c *calm) lasts(now time.Time) time.Duration {
	seen := now.Sub(c.since)
	if c.uptime != nil && *c.uptime > 0 {
		seen = max(seen, *c.uptime+now.Sub(c.askedAt))
	}
	return seen
}

// uptimes gives for how long each member's process has lived, by its host's word;
// zero where that is not known.
func (r Region) uptimes(ctx context.Context, op fleet.Operation, members []fleet.ObservedMember) ([]time.Duration, error) {
	obs, err := r.resources(ctx, op)
	if err != nil {
		return nil, err
	}
	r.ask(ctx, &obs)
	all := make([]time.Duration, len(members))
	for i, m := range members {
		for _, h := range obs.Hosts {
			if report := h.Report.Find(m.Name); report != nil && h.Member() == m.Name {
				all[i] = time.Duration(report.Up)
			}
		}
	}
	return all, nil
}
