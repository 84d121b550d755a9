package etcdadmin

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// FactsAt asks a member what its store holds at a revision: how many keys, and etcd's hash
// of it. Revision is the store's last, which may be beyond that one. Errors: as of the
// calls; fleet.Invalid when the revision is beyond the store's, or compacted.
func (c *Client) FactsAt(ctx context.Context, revision int64) (SnapshotFacts, error) {
	return first(ctx, c, c.resource(), func(ctx context.Context, client *clientv3.Client) (SnapshotFacts, error) {
		all, err := client.Get(ctx, "", clientv3.WithPrefix(), clientv3.WithCountOnly(), clientv3.WithRev(revision))
		if err != nil {
			return SnapshotFacts{}, err
		}
		facts := SnapshotFacts{Revision: all.Header.Revision, Keys: int(all.Count)}
		for _, endpoint := range client.Endpoints() {
			hash, err := client.HashKV(ctx, endpoint, revision)
			if err != nil {
				return SnapshotFacts{}, err
			}
			facts.Hash, facts.Compacted = hash.Hash, max(0, hash.CompactRevision)
		}
		return facts, nil
	})
}
