package activities

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/flotilla-etcd/flotilla/backup"
	"github.com/flotilla-etcd/flotilla/etcdadmin"
	"github.com/flotilla-etcd/flotilla/fleet"
)

// CompareRehearsal compares what a rehearsal's cluster of one serves with the manifest of
// the backup that it began with, and records what became of it beside the backup.
func (b *Backups) CompareRehearsal(ctx context.Context, r fleet.RehearsalRequest) (fleet.Rehearsal, error) {
	return reply(b.compare(ctx, r))
}

func (b *Backups) compare(ctx context.Context, r fleet.RehearsalRequest) (fleet.Rehearsal, error) {
	of := r.Scratch.Options.Restore
	beat(ctx, -1, "reading the manifest")
	m, err := within(ctx, answerWithin, "reading the manifest", func(ctx context.Context) (backup.Manifest, error) {
		return b.both().Find(ctx, of.Cluster, of.UID, of.ID)
	})
	if err != nil {
		return fleet.Rehearsal{}, err
	}
	record := backup.Rehearsal{When: r.Began, Took: time.Duration(r.Took), Etcd: r.Scratch.Spec.Etcd.Version, Why: r.Failed}
	if r.Failed == "" {
		if record.Why, err = b.difference(ctx, r.Scratch, m); err != nil {
			return fleet.Rehearsal{}, err
		}
	}
	record.OK = record.Why == ""
	_, err = within(ctx, answerWithin, "recording the rehearsal", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, b.vault().Record(ctx, m, record)
	})
	if err == nil {
		b.protection().Rehearsal(of.Cluster, record.When, record.OK)
	}
	return fleet.Rehearsal{When: record.When, OK: record.OK, Took: r.Took, Why: record.Why}, err
}

// difference says what is served that is not in the manifest; empty when nothing is.
// Leases may have ended meanwhile, so it is asked for the manifest's revision.
func (b *Backups) difference(ctx context.Context, scratch fleet.Operation, m backup.Manifest) (string, error) {
	client, err := b.client(ctx, scratch, "")
	if err != nil {
		return "", err
	}
	defer client.Close()
	facts, err := asking(ctx, func(ctx context.Context) (etcdadmin.SnapshotFacts, error) { return client.FactsAt(ctx, m.Revision) })
	switch {
	case err != nil:
		return "", err
	case facts.Revision < m.Revision:
		return fmt.Sprintf("it serves revision %d, and the manifest says %d", facts.Revision, m.Revision), nil
	case facts.Keys != m.Keys:
		return fmt.Sprintf("it serves %d keys, and the manifest says %d", facts.Keys, m.Keys), nil
	case facts.Hash != m.Hash:
		return fmt.Sprintf("its hash at revision %d is %08x, and the manifest says %08x", m.Revision, facts.Hash, m.Hash), nil
	}
	return "", nil
}

// looksAtOnce is how many clusters' backups are listed at a time: ten thousand clusters
// are 170 lists a minute, of some dozens of small objects each.
const looksAtOnce = 16

// rehearsals gives the rehearsals that are due in a region. Each cluster's backups are
// looked at once an hour, which is as often as a rehearsal may be asked for, and how old
// they are is told. One whose backups cannot be listed is looked at in the next hour.
func (b *Backups) rehearsals(ctx context.Context, r fleet.DueRequest, clusters []fleet.Summary) ([]fleet.RehearseRequest, error) {
	hourly := fleet.BackupPolicy{Every: fleet.Duration(time.Hour)}
	found := make([]*fleet.RehearseRequest, len(clusters))
	looking, ctx := errgroup.WithContext(ctx)
	looking.SetLimit(looksAtOnce)
	for i, s := range clusters {
		if s.Provider != r.Provider || s.Region != r.Region || s.Phase != fleet.PhaseRunning || s.Backup == nil || s.Backup.Every <= 0 && s.Backup.Rehearse <= 0 {
			continue
		}
		slot, look := hourly.Due(s.UID, r.After, r.Until)
		if !look {
			continue
		}
		looking.Go(func() error {
			entries, err := b.vault().List(ctx, s.Name, s.UID)
			if err != nil {
				b.Log.Warn("backups cannot be looked at", zap.String("cluster", s.Name), zap.Error(err))
				return ctx.Err()
			}
			backups := make([]fleet.Backup, len(entries))
			for i, e := range entries {
				backups[i] = tell(e)
			}
			b.lookedAt(s, backups)
			if s.Rehearse != nil && s.Backup.RehearsalDue(backups, r.Until) {
				found[i] = rehearsal(s, slot)
			}
			return nil
		})
	}
	if err := looking.Wait(); err != nil {
		return nil, err
	}
	var due []fleet.RehearseRequest
	for _, request := range found {
		if request != nil {
			due = append(due, *request)
		}
	}
	return due, nil
}

// rehearsal gives the rehearsal of a cluster that was due at a time, always the same one.
func rehearsal(s fleet.Summary, slot time.Time) *fleet.RehearseRequest {
	return &fleet.RehearseRequest{
		ID: fmt.Sprintf("%x", sha256.Sum256([]byte(s.UID+"\x00rehearsal\x00"+slot.Format(time.RFC3339))))[:8], UID: s.UID, By: "schedule",
		Spec: fleet.Spec{
			Name: s.Name, Provider: s.Provider, Region: s.Region, Zones: s.Rehearse.Zones, Voters: s.Voters, Class: s.Class,
			Etcd: fleet.EtcdSpec{Version: s.Etcd, EtcdSettings: fleet.EtcdSettings{Quota: s.Rehearse.Quota}}, Machine: s.Rehearse.Machine,
		}.WithDefaults(),
	}
}
