package activities

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
)

// maxManifest bounds what is read as a manifest; it is under 1 KiB.
const maxManifest = 64 << 10

// finalPrefix is where the final snapshots of a cluster are. They outlive it.
func finalPrefix(cluster, uid string) string {
	return fmt.Sprintf("snapshots/%s/%s/", cluster, uid)
}

// CloseSnapshot records in the manifest of the final snapshot that every member
// was stopped after it. From then on it is the last word on the cluster's data,
// also for an operation that follows this one.
func (s *Snapshots) CloseSnapshot(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	snapshot, err := s.finalSnapshot(ctx, r.Operation.Cluster, r.Operation.UID)
	switch {
	case err != nil:
		return note("", err)
	case snapshot == nil || snapshot.Operation != r.Operation.ID:
		return note("", fleet.Errorf(fleet.Lost, "final snapshot of "+r.Operation.Cluster, "is not in %s any more", s.Store))
	}
	snapshot.Closed = time.Now().UTC()
	return note(snapshot.Key, s.record(ctx, *snapshot))
}

// ReopenSnapshot records, before members are started again, that the final snapshot
// is not the last word on the cluster's data any more.
func (s *Snapshots) ReopenSnapshot(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	snapshot, err := s.finalSnapshot(ctx, r.Operation.Cluster, r.Operation.UID)
	switch {
	case err != nil:
		return note("", err)
	case snapshot == nil || snapshot.Closed.IsZero():
		return note("none is closed", nil)
	}
	snapshot.Closed = time.Time{}
	return note(snapshot.Key, s.record(ctx, *snapshot))
}

// record writes a snapshot's manifest beside it.
func (s *Snapshots) record(ctx context.Context, snapshot fleet.Snapshot) error {
	manifest, err := json.MarshalIndent(snapshot, "", "  ")
	if err != nil {
		return err
	}
	key := strings.TrimSuffix(snapshot.Key, ".db.age") + ".json"
	return s.Store.Put(ctx, key, bytes.NewReader(manifest), int64(len(manifest)))
}

// finalSnapshot gives the newest final snapshot that has a manifest.
func (r Region) finalSnapshot(ctx context.Context, cluster, uid string) (*fleet.Snapshot, error) {
	from := r.toRead()
	objects, err := from.List(ctx, finalPrefix(cluster, uid))
	if err != nil {
		return nil, err
	}
	var newest *fleet.Snapshot
	for _, o := range objects {
		if path.Ext(o.Key) != ".json" {
			continue
		}
		snapshot, err := finalIn(ctx, from, o.Key)
		if err != nil {
			return nil, err
		}
		if newest == nil || snapshot.Taken.After(newest.Taken) {
			newest = snapshot
		}
	}
	return newest, nil
}

func finalIn(ctx context.Context, from objectstore.Store, key string) (*fleet.Snapshot, error) {
	object, err := from.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	defer object.Close()
	var snapshot fleet.Snapshot
	if err := json.NewDecoder(io.LimitReader(object, maxManifest)).Decode(&snapshot); err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "manifest "+key, "cannot be read: %w", err).
			WithRemedy("it was damaged or altered; move it away to have a new snapshot taken")
	}
	return &snapshot, nil
}
