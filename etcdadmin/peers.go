package etcdadmin

import (
	"context"
	"strconv"
	"strings"
	"sync"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// Hearsay is what the other voters say of one member.
type Hearsay struct {
	ID      uint64 `json:"id,string"`
	Name    string `json:"name"` // empty for one that has not started yet
	Learner bool   `json:"learner,omitempty"`
	// Voters is how many other voters there are, Answered how many of them told of
	// their peers, and Connected how many of those have a connection to this member.
	// They need not be connected to say so: a voter that was cut off, or has just
	// started, answers and is connected to nobody.
	Voters    int `json:"voters"`
	Answered  int `json:"answered"`
	Connected int `json:"connected"`
	// Silent is why voters did not tell, each in words.
	Silent []string `json:"silent,omitempty"`
}

// The metrics of a member that tell of its peers. IDs are hexadecimal; members of
// 3.5, 3.6 and 3.7 have both with --metrics=basic.
const (
	metricPeers  = "etcd_network_active_peers"
	metricMember = "etcd_server_id"
)

// Peers asks each voter which of its peers it has an active connection to, and gives
// that by member. It needs no quorum: without one, the membership is what some member
// last knew. A member that is dead is inactive for its peers at once, and one that
// hangs after some five seconds, etcd's read timeout between peers. It takes three
// answer timeouts at most. Errors: fleet.Unavailable when nobody gives a membership.
func (c *Client) Peers(ctx context.Context) ([]Hearsay, error) {
	list, err := c.lastKnown(ctx)
	if err != nil {
		return nil, err
	}
	active := make([]map[uint64]bool, len(list.Members)) // nil for those that do not tell
	silent := make([]string, len(list.Members))
	var asked sync.WaitGroup
	for i, m := range list.Members {
		if m.IsLearner {
			continue
		}
		asked.Go(func() {
			var err error
			if active[i], err = c.activePeers(ctx, m); err != nil {
				silent[i] = err.Error()
			}
		})
	}
	asked.Wait()
	if err := ctxError(ctx, c.resource()); err != nil {
		return nil, err
	}
	all := make([]Hearsay, len(list.Members))
	for i, m := range list.Members {
		h := Hearsay{ID: m.ID, Name: m.Name, Learner: m.IsLearner}
		for j, voter := range list.Members {
			switch {
			case voter.IsLearner || i == j:
				continue
			case active[j] == nil:
				h.Silent = append(h.Silent, silent[j])
			default:
				h.Answered++
				if active[j][m.ID] {
					h.Connected++
				}
			}
			h.Voters++
		}
		all[i] = h
	}
	return all, nil
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

// activePeers gives the IDs of the peers that a member has an active connection to,
// at whichever of its addresses answers first.
func (c *Client) activePeers(ctx context.Context, m *etcdserverpb.Member) (map[uint64]bool, error) {
	resource := "peers of member " + m.Name
	if len(m.ClientURLs) == 0 {
		return nil, fleet.Errorf(fleet.Conflict, "peers of member "+strconv.FormatUint(m.ID, 16), "it has not told the cluster its client address")
	}
	type result struct {
		active map[uint64]bool
		err    error
	}
	results := make(chan result, len(m.ClientURLs))
	for _, endpoint := range m.ClientURLs {
		go func() {
			at := resource + " at " + endpoint
			page, err := c.get(ctx, endpoint, "/metrics", at)
			if err != nil {
				results <- result{err: err}
				return
			}
			active, err := readPeers(page, m.ID, at)
			results <- result{active, err}
		}()
	}
	var err error
	for range m.ClientURLs {
		r := <-results
		if r.err == nil {
			return r.active, nil
		}
		err = r.err
	}
	return nil, err
}

// readPeers reads a member's metrics: its own ID, which shows that it is who was
// asked, and its peers.
func readPeers(page []byte, id uint64, resource string) (map[uint64]bool, error) {
	active, itself := map[uint64]bool{}, ""
	for line := range strings.Lines(string(page)) {
		name, labels, value := sample(line)
		switch name {
		case metricMember:
			itself = labels["server_id"]
		case metricPeers:
			remote, err := strconv.ParseUint(labels["Remote"], 16, 64)
			if err == nil && labels["Local"] == strconv.FormatUint(id, 16) && value > 0 {
				active[remote] = true
			}
		}
	}
	switch itself {
	case "":
		return nil, fleet.Errorf(fleet.Conflict, resource, "what it answers are not the metrics of a member that has joined")
	case strconv.FormatUint(id, 16):
		return active, nil
	}
	return nil, fleet.Errorf(fleet.Conflict, resource, "another member (ID %s) answers there", itself)
}

// sample reads one line of Prometheus' text format, as far as etcd's gauges need:
// no label of theirs has a quote or a comma in it.
func sample(line string) (name string, labels map[string]string, value float64) {
	name, rest, ok := strings.Cut(line, "{")
	if !ok || strings.HasPrefix(line, "#") {
		return "", nil, 0
	}
	inner, number, ok := strings.Cut(rest, "}")
	if !ok {
		return "", nil, 0
	}
	value, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil {
		return "", nil, 0
	}
	labels = map[string]string{}
	for pair := range strings.SplitSeq(inner, ",") {
		key, quoted, _ := strings.Cut(pair, "=")
		labels[key] = strings.Trim(quoted, `"`)
	}
	return name, labels, value
}
