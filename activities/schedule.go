package activities

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/backup"
	"github.com/flotilla-etcd/flotilla/fleet"
)

// DueBackups says which clusters of a region were to be backed up within a time.
func (b *Backups) DueBackups(ctx context.Context, r fleet.DueRequest) (fleet.DueReply, error) {
	return reply(b.due(ctx, r))
}

func (b *Backups) due(ctx context.Context, r fleet.DueRequest) (fleet.DueReply, error) {
	answer := fleet.DueReply{AtOnce: max(1, b.BackupsAtOnce)}
	if b.Clusters == nil {
		return answer, nil
	}
	clusters, err := b.Clusters(ctx)
	if err != nil {
		return answer, err
	}
	var watch sync.WaitGroup
	watch.Go(func() { b.watchStandbys(ctx, fleet.Place{Provider: r.Provider, Region: r.Region}, clusters) })
	defer watch.Wait()
	changes, protected := false, map[string]bool{}
	for _, s := range clusters {
		if s.Provider != r.Provider || s.Region != r.Region || s.Phase != fleet.PhaseRunning || s.Backup == nil {
			continue
		}
		changes, protected[s.Name] = changes || s.Backup.Changes > 0, true
		if slot, due := s.Backup.Due(s.UID, r.After, r.Until); due {
			answer.Due = append(answer.Due, scheduled(s, slot))
		}
	}
	if changes && b.RecordChanges != nil {
		if err := b.RecordChanges(ctx); err != nil { // it is begun at the next look; backups do not wait for it
			b.Log.Warn("the recording of changes cannot be begun", zap.Error(err))
		}
	}
	b.protection().Only(protected)
	if answer.Rehearse, err = b.rehearsals(ctx, r, clusters); err != nil {
		return answer, err
	}
	slices.SortFunc(answer.Due, func(x, y fleet.Operation) int {
		return cmp.Or(x.Asked.Compare(y.Asked), strings.Compare(x.Cluster, y.Cluster))
	})
	return answer, nil
}

// scheduled gives the backup of a cluster that was due at a time, always the same one.
func scheduled(s fleet.Summary, slot time.Time) fleet.Operation {
	id := fmt.Sprintf("%x", sha256.Sum256([]byte(s.UID+"\x00"+slot.Format(time.RFC3339))))[:8]
	return fleet.Operation{
		ID: id, Generation: id, Kind: fleet.BackupCluster, Cluster: s.Name, UID: s.UID, By: "schedule", Asked: slot,
		// As much of the spec as a backup needs.
		Spec: fleet.Spec{
			Name: s.Name, Provider: s.Provider, Region: s.Region, Voters: s.Voters, Class: s.Class,
			Etcd: fleet.EtcdSpec{Version: s.Etcd}, Backup: *s.Backup,
		},
	}
}

// expired gives the backups of an operation's cluster that no rule of its spec keeps.
func (r Region) expired(ctx context.Context, op fleet.Operation) ([]backup.Entry, error) {
	if op.Spec.Backup.Keep == (fleet.Keep{}) {
		return nil, nil
	}
	entries, err := r.vault().List(ctx, op.Cluster, op.UID)
	if err != nil {
		return nil, err
	}
	own := backup.NewID(op.Asked, op.ID) // whatever was taken since, it was just asked for
	now := time.Now()
	return slices.DeleteFunc(backup.Expired(entries, op.Spec.Backup.Keep), func(e backup.Entry) bool {
		return e.ID == own || e.Manifest.LockedAt(now) // which is expired when it is not locked any more
	}), nil
}

// leftovers is the age from which what an attempt stored belongs to nobody: longer than
// a step may go on.
const leftovers = 3 * time.Hour

// ExpireBackups removes the backups that no rule keeps, the manifest of each first, and
// what attempts left that led to none. What is to go is looked up anew: the newest whole
// one never does.
func (b *Backups) ExpireBackups(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	return note(b.expire(ctx, r.Operation))
}

func (b *Backups) expire(ctx context.Context, op fleet.Operation) (string, error) {
	entries, err := within(ctx, listWithin, "listing backups", func(ctx context.Context) ([]backup.Entry, error) { return b.expired(ctx, op) })
	if err != nil {
		return "", err
	}
	locked := ""
	for i, e := range entries {
		beat(ctx, i*100/len(entries), "removing "+e.ID)
		_, err := within(ctx, answerWithin, "removing "+e.ID, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, b.vault().Delete(ctx, op.Cluster, op.UID, e.ID)
		})
		if fleet.Is(err, fleet.Blocked) { // by somebody else than its manifest says
			locked = "; the store has locked " + e.ID + ", and perhaps others"
			continue
		}
		if err != nil {
			return "", err
		}
	}
	changes, err := b.expireChanges(ctx, op)
	if err != nil {
		return "", err
	}
	swept, err := within(ctx, listWithin, "sweeping", func(ctx context.Context) ([]string, error) {
		snapshots, err := b.vault().Sweep(ctx, op.Cluster, op.UID, leftovers)
		if err != nil {
			return snapshots, err
		}
		segments, err := b.vault().SweepSegments(ctx, op.Cluster, op.UID, leftovers)
		return append(snapshots, segments...), err
	})
	return fmt.Sprintf("%d removed, %d pieces of changes, %d leftovers swept%s", len(entries), changes, len(swept), locked), err
}

// unneeded gives the recorded changes of an operation's cluster that need not be kept.
func (r Region) unneeded(ctx context.Context, op fleet.Operation) ([]backup.SegmentEntry, error) {
	segments, err := r.vault().Segments(ctx, op.Cluster, op.UID)
	if err != nil || len(segments) == 0 {
		return nil, err
	}
	entries, err := r.vault().List(ctx, op.Cluster, op.UID)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return slices.DeleteFunc(backup.Unneeded(entries, segments, op.Spec.Backup.KeptChanges(), now), func(e backup.SegmentEntry) bool {
		return e.Segment.LockedAt(now) // which is removed when it is not locked any more
	}), nil
}

// expireChanges removes them, the manifest of each first, and gives how many.
func (b *Backups) expireChanges(ctx context.Context, op fleet.Operation) (int, error) {
	segments, err := within(ctx, listWithin, "listing changes", func(ctx context.Context) ([]backup.SegmentEntry, error) { return b.unneeded(ctx, op) })
	if err != nil {
		return 0, err
	}
	removed := 0
	for i, e := range segments {
		beat(ctx, i*100/len(segments), "removing "+e.ID)
		_, err := within(ctx, answerWithin, "removing "+e.ID, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, b.vault().DeleteSegment(ctx, op.Cluster, op.UID, e.History, e.ID)
		})
		switch {
		case fleet.Is(err, fleet.Blocked): // by somebody else than its manifest says
		case err != nil:
			return removed, err
		default:
			removed++
		}
	}
	return removed, nil
}
