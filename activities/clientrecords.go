package activities

import (
	"context"
	"path"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
	"github.com/flotilla-etcd/flotilla/pki"
)

// Nobody may stop trusting an authority under which a client's certificate is still
// valid. So until when there are such is recorded: as empty objects whose names say
// a time, below the authority's fingerprint. They are only ever added, and deleted
// only when their time is over, so that issuers need not know of each other.
//
// An issuer records before it looks who signs, and gives out only what that one
// signed (Authorities.sign). A replacement has another one sign before it reads the
// records. So whichever of them comes first, either the record is read, or what it
// is about is never given out.

// recordTime is how a record's name says its time, in UTC; it sorts as times do.
const recordTime = "20060102T150405Z"

// recordSteps is into how many parts the life of a certificate is divided: so many
// records are there at most for certificates of one validity, and so much of it an
// authority is trusted for longer than necessary.
const recordSteps = 16

func recordsPrefix(cluster, uid, fingerprint string) string {
	return secretsPrefix(cluster, uid) + "clients/" + fingerprint + "/"
}

// clientsUntil gives the latest time of an authority's records; zero when there are none.
func (r Region) clientsUntil(ctx context.Context, cluster, uid, fingerprint string) (time.Time, error) {
	records, err := r.toRead().List(ctx, recordsPrefix(cluster, uid, fingerprint))
	return latest(records), err
}

func latest(records []objectstore.Object) (until time.Time) {
	for _, o := range records {
		if t := timeOf(o); t.After(until) {
			until = t
		}
	}
	return until
}

// timeOf gives a record's time; zero for what is no record.
func timeOf(o objectstore.Object) time.Time {
	t, err := time.Parse(recordTime, path.Base(o.Key))
	if err != nil {
		return time.Time{}
	}
	return t
}

// recordClient has it on record that a client's certificate that an authority signs
// now will be valid for so long. Most of the time that is on record already.
func (r Region) recordClient(ctx context.Context, cluster, uid, fingerprint string, now time.Time, validity time.Duration) error {
	prefix := recordsPrefix(cluster, uid, fingerprint)
	records, err := r.Store.List(ctx, prefix)
	if err != nil {
		return err
	}
	until := now.Add(validity)
	if !latest(records).Before(until) {
		return nil
	}
	step := max(validity/recordSteps, time.Second).Truncate(time.Second) // names are in seconds
	until = until.Add(step).Truncate(step)
	err = r.Store.PutIfAbsent(ctx, prefix+until.UTC().Format(recordTime), nil)
	if err := ignore(err, fleet.Conflict); err != nil {
		return err
	}
	for _, o := range records {
		if t := timeOf(o); !t.IsZero() && t.Before(now) {
			if err := r.Store.Delete(ctx, o.Key); err != nil {
				return err
			}
		}
	}
	return nil
}

// trust names a cluster's authorities, and until when there are client certificates
// of the former one.
func (r Region) trust(ctx context.Context, op fleet.Operation, authority *pki.Authority) (fleet.Trust, error) {
	trust := authority.Trust()
	if !trust.Switched {
		return trust, nil
	}
	until, err := r.clientsUntil(ctx, op.Cluster, op.UID, trust.Other)
	if until.After(trust.OtherUntil) {
		trust.OtherUntil = until
	}
	return trust, err
}
