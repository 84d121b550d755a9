package etcdadmin

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Nudge makes one entry in the raft log that changes nothing, neither a key, nor the
// revision, nor an alarm: it asks for the list of alarms, which etcd answers from the log.
//
// A member that was sent a snapshot may need it. It counts as applied what it applied
// entry by entry, and not what came in the snapshot (applySnapshot leaves appliedIndex as
// it was in 3.5.35, 3.6.16 and 3.7.3). Until the next entry it tells an index that is too
// low. If that is 5,000 entries below what is committed, members of 3.6 and 3.7 refuse
// their own publication, hundreds of times a second ("too many requests"), and until
// they have published themselves they serve no client. The leader makes a snapshot when it
// applies an entry, which in a cluster that nobody writes to is the member's first
// publication: it comes with the snapshot, is not seen to be answered, and the next one is
// refused. Then the member waits until somebody writes. Errors: fleet.Unavailable without a
// leader, fleet.Denied when we may not ask for alarms.
func (c *Client) Nudge(ctx context.Context) error {
	seen, err := c.look(ctx)
	if err != nil {
		return err
	}
	return c.change(ctx, seen, "an entry that changes nothing", func(ctx context.Context, client *clientv3.Client) error {
		_, err := client.AlarmList(ctx)
		return err
	})
}
