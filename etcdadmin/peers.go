package etcdadmin

import (
	"cmp"
	"context"
	"strconv"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// listenFor is for how long voters are listened to. A leader hears from every member
// at each heartbeat: 100 ms by default, and 500 ms where members are many.
const listenFor = 2 * time.Second

// Hearsay is what the other voters say of one member.
type Hearsay struct {
	ID      uint64 `json:"id,string"`
	Name    string `json:"name"` // empty for one that has not started yet
	Learner bool   `json:"learner,omitempty"`
	// Voters is how many other voters there are, and Answered how many of them told of
	// their peers. One that was cut off, or has just started, answers too.
	Voters   int `json:"voters"`
	Answered int `json:"answered"`
	// Connected is how many of those have a connection to this member. That it has
	// ended is known at once when the member's process ends. When the process hangs, or
	// its host vanishes, connections last until a buffer fills or TCP gives up, which
	// was over 90 s and may be a quarter of an hour.
	Connected int `json:"connected"`
	// Heard is how many of those received something from it while they were listened
	// to. Only the leader hears from everybody.
	Heard int `json:"heard"`
	// ByLeader says that the leader is another member and among those that answered.
	ByLeader bool `json:"byLeader"`
	// Silent is why voters did not tell, each in words.
	Silent []string `json:"silent,omitempty"`
}

// Says gives the word of the other voters: alive if one of them heard from the
// member; dead if most of them answered, since one that was cut off itself is connected
// to nobody, and either none is connected to it, or the leader is one of them and heard
// nothing; else unknown.
func (h Hearsay) Says() fleet.Testimony {
	switch most := h.Answered > h.Voters/2; {
	case h.Heard > 0:
		return fleet.SaysAlive
	case most && (h.Connected == 0 || h.ByLeader):
		return fleet.SaysDead
	}
	return fleet.SaysUnknown
}

// Peers asks each voter what it knows of its peers, listens for 2 s, and gives what
// they say by member. It needs no quorum: without one, the membership is what some
// member last knew. It takes those 2 s and four answer timeouts at most. Errors:
// fleet.Unavailable when nobody gives a membership.
func (c *Client) Peers(ctx context.Context) ([]Hearsay, error) {
	list, err := c.lastKnown(ctx)
	if err != nil {
		return nil, err
	}
	heard := make([]ear, len(list.Members))
	var asked sync.WaitGroup
	for i, m := range list.Members {
		if !m.IsLearner {
			asked.Go(func() { heard[i] = c.listen(ctx, m) })
		}
	}
	asked.Wait()
	if err := ctxError(ctx, c.resource()); err != nil {
		return nil, err
	}
	all := make([]Hearsay, len(list.Members))
	for i, m := range list.Members {
		all[i] = Hearsay{ID: m.ID, Name: m.Name, Learner: m.IsLearner}
		for j, voter := range list.Members {
			if !voter.IsLearner && i != j {
				all[i].add(heard[j])
			}
		}
	}
	return all, nil
}

// add counts one voter's word.
func (h *Hearsay) add(e ear) {
	h.Voters++
	if e.err != nil {
		h.Silent = append(h.Silent, e.err.Error())
		return
	}
	h.Answered++
	if e.active[h.ID] {
		h.Connected++
	}
	if e.heard[h.ID] {
		h.Heard++
	}
	h.ByLeader = h.ByLeader || e.leads
}

// ear is what one voter knows of its peers, by ID.
type ear struct {
	err    error // why it did not tell
	leads  bool
	active map[uint64]bool
	heard  map[uint64]bool
}

// listen asks a voter twice. Only one address of it is asked: the first that answers.
func (c *Client) listen(ctx context.Context, m *etcdserverpb.Member) ear {
	before, endpoint, err := c.peers(ctx, m, m.ClientURLs)
	if err != nil {
		return ear{err: err}
	}
	if err := pause(ctx, listenFor, "peers of member "+m.Name); err != nil {
		return ear{err: err}
	}
	after, _, err := c.peers(ctx, m, []string{endpoint})
	if err != nil {
		return ear{err: err}
	}
	e := ear{leads: after.leads, active: after.active, heard: map[uint64]bool{}}
	for id, bytes := range after.received {
		e.heard[id] = bytes > before.received[id]
	}
	return e
}

// counts are a member's metrics of its peers, by their IDs.
type counts struct {
	leads    bool
	active   map[uint64]bool
	received map[uint64]float64
}

// peers reads a member's metrics of its peers, at whichever endpoint answers first.
func (c *Client) peers(ctx context.Context, m *etcdserverpb.Member, endpoints []string) (counts, string, error) {
	resource := "peers of member " + cmp.Or(m.Name, strconv.FormatUint(m.ID, 16))
	if len(endpoints) == 0 {
		return counts{}, "", fleet.Errorf(fleet.Conflict, resource, "it has not told the cluster its client address")
	}
	type result struct {
		counts
		endpoint string
		err      error
	}
	results := make(chan result, len(endpoints))
	for _, endpoint := range endpoints {
		go func() {
			r := result{counts{active: map[uint64]bool{}, received: map[uint64]float64{}}, endpoint, nil}
			r.err = c.metrics(ctx, endpoint, m.ID, resource, r.take)
			results <- r
		}()
	}
	var err error
	for range endpoints {
		r := <-results
		if r.err == nil {
			return r.counts, r.endpoint, nil
		}
		err = r.err
	}
	return counts{}, "", err
}

func (k *counts) take(name string, labels map[string]string, value float64) {
	id := func(label string) uint64 {
		id, _ := strconv.ParseUint(labels[label], 16, 64) // 0 is nobody's
		return id
	}
	switch name {
	case metricLeads:
		k.leads = value > 0
	case metricActive:
		k.active[id("Remote")] = value > 0
	case metricReceived:
		k.received[id("From")] = value
	}
}

// lastKnown gives the membership as a quorum has it, or else as a member last knew
// it. Learners do not even tell that.
func (c *Client) lastKnown(ctx context.Context) (*clientv3.MemberListResponse, error) {
	list, err := c.memberList(ctx)
	if fleet.Is(err, fleet.Unavailable) && ctx.Err() == nil {
		list, err = first(ctx, c, c.resource(), func(ctx context.Context, client *clientv3.Client) (*clientv3.MemberListResponse, error) {
			return client.MemberList(ctx, clientv3.WithSerializable())
		})
	}
	return list, err
}
