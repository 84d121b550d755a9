package objectstore

import (
	"context"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// LockMode is who may end a lock before its time.
type LockMode string

// The modes of S3's object lock.
const (
	// Governance: whoever has the right s3:BypassGovernanceRetention.
	Governance LockMode = "governance"
	// Compliance: nobody, the account's owner neither.
	Compliance LockMode = "compliance"
)

// Lock keeps an object from being removed or replaced.
type Lock struct {
	Mode  LockMode  `json:"mode"`
	Until time.Time `json:"until"`
}

// Locker is a Store whose objects can be locked. Where the bucket has versions, as Amazon's
// with object lock do, Delete and Put of a locked object hide it, and its version stays; where
// it has none they are refused, as fleet.Blocked.
type Locker interface {
	// Lock locks an object that is there; one that is locked already, for as long or longer.
	// Errors: fleet.Invalid when the bucket has no object lock, fleet.Denied when it is not allowed.
	Lock(ctx context.Context, key string, l Lock) error
	// CanLock says whether objects can be locked; nil when they can. Errors: as of Lock.
	CanLock(ctx context.Context) error
}

var _ Locker = (*bucket)(nil)

// Lock is S3's PutObjectRetention.
func (b *bucket) Lock(ctx context.Context, key string, l Lock) error {
	if err := checkKey(b.name, key); err != nil {
		return err
	}
	if b.oss {
		return b.noLock()
	}
	mode, until := minio.RetentionMode(strings.ToUpper(string(l.Mode))), l.Until.UTC().Truncate(time.Second)
	err := b.client.PutObjectRetention(ctx, b.bucket, b.prefix+key, minio.PutObjectRetentionOptions{Mode: &mode, RetainUntilDate: &until})
	if err != nil {
		return explainS3(about(b.name, key), err)
	}
	return nil
}

// CanLock is S3's GetObjectLockConfiguration.
func (b *bucket) CanLock(ctx context.Context) error {
	if b.oss {
		return b.noLock()
	}
	enabled, _, _, _, err := b.client.GetObjectLockConfig(ctx, b.bucket)
	switch {
	case err == nil && enabled == "Enabled":
		return nil
	case err == nil, minio.ToErrorResponse(err).Code == "ObjectLockConfigurationNotFoundError":
		return fleet.Errorf(fleet.Invalid, "object store "+b.name, "the bucket has no object lock").
			WithRemedy("turn it on for the bucket, which turns versioning on too, or leave --object-lock out")
	}
	return explainS3("object store "+b.name, err)
}

// noLock: a retention policy of OSS (WORM) holds for all objects of a bucket.
func (b *bucket) noLock() error {
	return fleet.Errorf(fleet.Invalid, "object store "+b.name, "OSS locks whole buckets, not objects").
		WithRemedy("give a bucket that holds backups alone, as a second store's may, a retention policy in OSS, and leave --object-lock out")
}

// LockRule is how long objects are to be locked; the zero one locks none.
type LockRule struct {
	Mode LockMode
	// For is for how long; zero leaves it to what the object is.
	For time.Duration
}

// From gives the lock of what is stored at a time; nil where it is none, or for no time.
func (r LockRule) From(stored time.Time) *Lock {
	if r.Mode == "" || r.For <= 0 {
		return nil
	}
	return &Lock{Mode: r.Mode, Until: stored.Add(r.For).UTC().Truncate(time.Second)}
}

// ParseLockRule reads MODE or MODE:DURATION, as in governance:720h.
func ParseLockRule(text string) (LockRule, error) {
	mode, duration, timed := strings.Cut(text, ":")
	rule := LockRule{Mode: LockMode(mode)}
	invalid := func(why string) (LockRule, error) {
		return LockRule{}, fleet.Errorf(fleet.Invalid, "object lock "+text, "%s", why).WithRemedy("write it as governance, or compliance:720h")
	}
	switch {
	case text == "":
		return LockRule{}, nil
	case rule.Mode != Governance && rule.Mode != Compliance:
		return invalid("its mode is neither governance nor compliance")
	case !timed:
		return rule, nil
	}
	var err error
	if rule.For, err = time.ParseDuration(duration); err != nil || rule.For <= 0 {
		return invalid("its duration cannot be read")
	}
	return rule, nil
}
