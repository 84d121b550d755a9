package etcdadmin

import (
	"context"
	"strconv"
	"strings"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// What is read of a member's metrics. IDs in their labels are hexadecimal. Members of
// 3.5, 3.6 and 3.7 have them all, with --metrics=basic too, at their client URL unless
// --listen-metrics-urls moves them elsewhere.
const (
	// metricMember has the member's own ID as server_id.
	metricMember = "etcd_server_id"
	// metricLeads is 1 while the member takes itself for the leader.
	metricLeads = "etcd_server_is_leader"
	// metricActive is 1 while the member has a connection to Remote.
	metricActive = "etcd_network_active_peers"
	// metricReceived is how many bytes of raft messages came From a peer.
	metricReceived = "etcd_network_peer_received_bytes_total"
	// metricSending is how many snapshots are on their way to the peer To.
	metricSending = "etcd_network_snapshot_send_inflights_total"
)

// metrics reads the metrics of a member at one of its addresses. It fails if another
// member answers there.
func (c *Client) metrics(ctx context.Context, endpoint string, id uint64, resource string, take func(name string, labels map[string]string, value float64)) error {
	resource += " at " + endpoint
	page, err := c.get(ctx, endpoint, "/metrics", resource)
	if err != nil {
		return err
	}
	itself := ""
	for line := range strings.Lines(string(page)) {
		name, labels, value := sample(line)
		if name == metricMember {
			itself = labels["server_id"]
		}
		take(name, labels, value)
	}
	switch itself {
	case "":
		return fleet.Errorf(fleet.Conflict, resource, "what it answers are not the metrics of a member")
	case strconv.FormatUint(id, 16):
		return nil
	}
	return fleet.Errorf(fleet.Conflict, resource, "another member (ID %s) answers there", itself)
}

// sample reads one line of Prometheus' text format, as far as etcd's counters and
// gauges need: no label of theirs has a brace, a quote or a comma in it. The name is
// empty for other lines.
func sample(line string) (name string, labels map[string]string, value float64) {
	line = strings.TrimSpace(line)
	space := strings.LastIndexByte(line, ' ')
	if space < 0 || strings.HasPrefix(line, "#") {
		return "", nil, 0
	}
	value, err := strconv.ParseFloat(line[space+1:], 64)
	if err != nil {
		return "", nil, 0
	}
	name, inner, _ := strings.Cut(line[:space], "{")
	labels = map[string]string{}
	for pair := range strings.SplitSeq(strings.TrimSuffix(inner, "}"), ",") {
		key, quoted, _ := strings.Cut(pair, "=")
		labels[key] = strings.Trim(quoted, `"`)
	}
	return name, labels, value
}
