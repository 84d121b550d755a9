package activities

import (
	"time"

	"github.com/flotilla-etcd/flotilla/backup"
	"github.com/flotilla-etcd/flotilla/fleet"
)

// Protection is told how old what protects clusters is, by whoever looks at it or makes
// it. It must be quick.
type Protection interface {
	// Backup tells when the newest backup that counts was taken, or the cluster created,
	// if there is none; and how often one is to be.
	Backup(cluster string, newest time.Time, every time.Duration)
	// Rehearsal tells of the last one.
	Rehearsal(cluster string, when time.Time, ok bool)
	// Copied tells when the newest backup was taken that the second store has, or the cluster
	// created, if there is none.
	Copied(cluster string, newest time.Time)
	// Changes tells until when all that was written is stored.
	Changes(cluster string, until time.Time)
	// Only forgets clusters but these.
	Only(clusters map[string]bool)
}

// nobody is told nothing.
type nobody struct{}

func (nobody) Backup(string, time.Time, time.Duration) {}
func (nobody) Rehearsal(string, time.Time, bool)       {}
func (nobody) Copied(string, time.Time)                {}
func (nobody) Changes(string, time.Time)               {}
func (nobody) Only(map[string]bool)                    {}

func (r Region) protection() Protection {
	if r.Protection == nil {
		return nobody{}
	}
	return r.Protection
}

// lookedAt tells of the backups of a cluster, which are oldest first.
func (b *Backups) lookedAt(s fleet.Summary, backups []fleet.Backup) {
	newest := s.Created
	var last *fleet.Rehearsal
	for _, of := range backups {
		if of.Damaged == "" && of.Base == "" {
			newest = of.Taken
		}
		if r := of.Rehearsal; r != nil && (last == nil || r.When.After(last.When)) {
			last = r
		}
	}
	b.protection().Backup(s.Name, newest, time.Duration(s.Backup.Every))
	if last != nil {
		b.protection().Rehearsal(s.Name, last.When, last.OK)
	}
}

// storedUntil gives until when all that was written is stored, if that can be told now.
func storedUntil(p backup.Progress) (time.Time, bool) {
	return p.Until, p.Seen == p.Stored && !p.Until.IsZero()
}
