package etcdadmin

import (
	"context"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// AddLearner adds a member that is not started yet to the membership, as a
// learner. One that is there already is a success. For some seconds after a start
// or a change etcd refuses with fleet.Unavailable ("unhealthy cluster"): ask again.
func (c *Client) AddLearner(ctx context.Context, peerURL string) error {
	list, err := c.memberList(ctx)
	if err != nil {
		return err
	}
	for _, m := range list.Members {
		if slices.Contains(m.PeerURLs, peerURL) {
			return nil
		}
	}
	_, err = first(ctx, c, c.resource(), func(ctx context.Context, client *clientv3.Client) (struct{}, error) {
		// Several endpoints are asked at once; the second to arrive is told that
		// the URL exists, and the first's answer is the one that counts.
		_, err := client.MemberAddAsLearner(ctx, []string{peerURL})
		return struct{}{}, err
	})
	return err
}
