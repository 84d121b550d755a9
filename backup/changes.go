package backup

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/flotilla-etcd/flotilla/backup/sealed"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
)

// What a segment holds, before it is compressed and sealed. Numbers are varints as
// protocol buffers have them:
//
//	leases, then for each: ID, seconds that it was granted for (0: it was gone already)
//	for each revision: revision, when it was seen (microseconds since 1970), events,
//	  then for each event: its length, and etcd's own mvccpb.Event
//
// The leases come first because what needs them does.

// Revision is what one revision of a cluster changed.
type Revision struct {
	Revision int64
	// Seen is when who recorded it was told, by its clock.
	Seen   time.Time
	Events []*mvccpb.Event

	late bool // it was made some time before it was seen
}

// appendRevision writes a revision behind others.
func appendRevision(to []byte, r Revision) ([]byte, error) {
	to = binary.AppendUvarint(to, uint64(r.Revision))
	to = binary.AppendVarint(to, r.Seen.UnixMicro())
	to = binary.AppendUvarint(to, uint64(len(r.Events)))
	for _, e := range r.Events {
		to = binary.AppendUvarint(to, uint64(proto.Size(e)))
		var err error
		if to, err = (proto.MarshalOptions{UseCachedSize: true}).MarshalAppend(to, e); err != nil {
			return nil, err
		}
	}
	return to, nil
}

// appendLeases writes what leases were granted for.
func appendLeases(to []byte, granted map[int64]time.Duration) []byte {
	to = binary.AppendUvarint(to, uint64(len(granted)))
	for id, ttl := range granted {
		to = binary.AppendVarint(to, id)
		to = binary.AppendUvarint(to, uint64(ttl/time.Second))
	}
	return to
}

// recorded is a segment that was read, and is right.
type recorded struct {
	segment   Segment
	granted   map[int64]time.Duration
	revisions []Revision
}

// at gives the changes of a revision; nil when they are not in it.
func (r *recorded) at(revision int64) *Revision {
	if i := revision - r.segment.First; i >= 0 && i < int64(len(r.revisions)) {
		return &r.revisions[i]
	}
	return nil
}

// readSegment reads a segment whole, and gives it only when every digest is right and it
// is what its manifest says. Memory: its size, several times. Errors: as of Open.
func (v Vault) readSegment(ctx context.Context, s Segment) (*recorded, error) {
	if s.Empty() {
		return &recorded{segment: s}, nil
	}
	stored, err := v.objects(ctx, s.String(), s.Objects)
	if err != nil {
		return nil, err
	}
	opened, err := v.Key.Open(stored)
	if fleet.Is(err, fleet.Denied) {
		return nil, err // of another key: its digest is right
	}
	var plain []byte
	if err == nil {
		plain, err = unpacked(opened, s)
	}
	if err != nil {
		return nil, damaged(s.String(), "%w", err)
	}
	r := &recorded{segment: s}
	if err := r.decode(plain); err != nil {
		return nil, damaged(s.String(), "%w", err)
	}
	return r, nil
}

// objects reads objects whole, each compared with its digest.
func (v Vault) objects(ctx context.Context, resource string, objects []Object) (io.Reader, error) {
	var stored bytes.Buffer
	for _, o := range objects {
		data, err := either(ctx, v, resource, func(from objectstore.Store) ([]byte, error) {
			r, err := from.Get(ctx, o.Key)
			if err != nil {
				return nil, sealed.Missing(resource, o.Key, err)
			}
			defer r.Close()
			read := sealed.NewDigestReader(io.LimitReader(r, int64(o.Size)+1), nil)
			data, err := io.ReadAll(read)
			if err == nil && !read.Is(o) {
				err = damaged(resource, "object %s is not what was stored", o.Key)
			}
			return data, err
		})
		if err != nil {
			return nil, err
		}
		stored.Write(data)
	}
	return &stored, nil
}

// unpacked gives what was compressed, when it is what the segment says.
func unpacked(compressed io.Reader, s Segment) ([]byte, error) {
	z, err := zstd.NewReader(compressed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(sealed.MaxWindow))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	read := sealed.NewDigestReader(io.LimitReader(z, int64(s.Size)+1), nil)
	plain, err := io.ReadAll(read)
	if err == nil && !read.Is(Object{Size: s.Size, SHA256: s.SHA256}) {
		err = errors.New("the changes are not those that were stored")
	}
	return plain, err
}

// decode reads what append… wrote, and compares it with the manifest.
func (r *recorded) decode(plain []byte) error {
	d := &decoder{left: plain}
	leases := d.uvarint()
	r.granted = map[int64]time.Duration{}
	for range leases {
		id := d.varint()
		r.granted[id] = time.Duration(d.uvarint()) * time.Second
		if d.err != nil {
			return d.err
		}
	}
	changes := 0
	for d.err == nil && len(d.left) > 0 {
		revision := Revision{Revision: int64(d.uvarint()), Seen: time.UnixMicro(d.varint()).UTC()}
		revision.late = revision.Revision <= r.segment.Late
		count := d.uvarint()
		for range count {
			e := &mvccpb.Event{}
			if err := proto.Unmarshal(d.bytes(d.uvarint()), e); err != nil && d.err == nil {
				d.err = err
			}
			if d.err != nil {
				return d.err
			}
			if _, known := r.granted[e.GetKv().GetLease()]; e.GetKv().GetLease() != 0 && !known {
				return fmt.Errorf("it does not say what lease %x was granted for", e.GetKv().GetLease())
			}
			if e.GetKv().GetModRevision() != revision.Revision {
				return fmt.Errorf("it has a change of revision %d in revision %d", e.GetKv().GetModRevision(), revision.Revision)
			}
			revision.Events = append(revision.Events, e)
		}
		if next := r.segment.First + int64(len(r.revisions)); revision.Revision != next || count == 0 {
			return fmt.Errorf("revision %d with %d changes is where revision %d should be", revision.Revision, count, next)
		}
		r.revisions = append(r.revisions, revision)
		changes += len(revision.Events)
	}
	switch {
	case d.err != nil:
		return d.err
	case r.segment.First+int64(len(r.revisions)) != r.segment.Last+1, changes != r.segment.Changes, len(r.granted) != r.segment.Leases:
		return fmt.Errorf("it has %d revisions, %d changes and %d leases, which is not what its manifest says", len(r.revisions), changes, len(r.granted))
	}
	return nil
}

// decoder reads numbers and bytes until something is not there.
type decoder struct {
	left []byte
	err  error
}

var errShort = errors.New("it ends too early")

func (d *decoder) uvarint() uint64 {
	n, size := binary.Uvarint(d.left)
	d.skip(size)
	return n
}

func (d *decoder) varint() int64 {
	n, size := binary.Varint(d.left)
	d.skip(size)
	return n
}

func (d *decoder) skip(size int) {
	if size <= 0 {
		d.err, d.left = errShort, nil
		return
	}
	d.left = d.left[size:]
}

func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.left)) {
		d.err, d.left = errShort, nil
		return nil
	}
	b := d.left[:n]
	d.left = d.left[n:]
	return b
}

// agree says whether two who recorded the same revision were told the same.
func (r *Revision) agree(other *Revision) bool {
	if r.Revision != other.Revision || len(r.Events) != len(other.Events) {
		return false
	}
	for i := range r.Events {
		if !proto.Equal(r.Events[i], other.Events[i]) {
			return false
		}
	}
	return true
}

// changeReader gives revisions one after another, from segments that may overlap.
type changeReader struct {
	ctx      context.Context
	vault    Vault
	resource string
	next     int64
	seen     time.Time // the latest so far: clocks of several may differ
	left     []Segment // by their first revision
	open     []*recorded
	damaged  []error // segments that could not be used; others may hold the same
	used     int     // segments
}

// read gives the next revision, and what its leases were granted for; nil at the end of
// what is covered. Errors: fleet.Lost when segments disagree, or when one is damaged that
// holds what no other does; as of the store.
func (c *changeReader) read() (*Revision, map[int64]time.Duration, error) {
	for len(c.left) > 0 && c.left[0].First <= c.next {
		s := c.left[0]
		c.left = c.left[1:]
		if s.Last < c.next {
			continue
		}
		r, err := c.vault.readSegment(c.ctx, s)
		switch {
		case fleet.Is(err, fleet.Lost):
			c.damaged = append(c.damaged, err)
			continue
		case err != nil:
			return nil, nil, err
		}
		c.open, c.used = append(c.open, r), c.used+1
	}
	var found *Revision
	var granted map[int64]time.Duration
	still := c.open[:0]
	for _, r := range c.open {
		at := r.at(c.next)
		if r.segment.Last > c.next {
			still = append(still, r)
		}
		switch {
		case at == nil:
		case found == nil:
			first := *at
			found, granted = &first, r.granted
		case !found.agree(at):
			return nil, nil, fleet.Errorf(fleet.Lost, c.resource, "two records of revision %d differ (one is %s): which is right cannot be known", c.next, r.segment.ID).
				WithRemedy("restore to a revision before that one, or use a newer backup")
		default:
			granted = merged(granted, r.granted)
			if at.Seen.Before(found.Seen) { // who was told first knows better
				found.Seen, found.late = at.Seen, at.late
			}
		}
	}
	clear(c.open[len(still):])
	c.open = still
	if found == nil {
		return nil, nil, errors.Join(c.damaged...)
	}
	c.next++
	if found.Seen.Before(c.seen) {
		found.Seen = c.seen
	}
	c.seen = found.Seen
	return found, granted, nil
}

// merged gives what is known of leases by either: a lease may have been gone when the
// second one asked.
func merged(a, b map[int64]time.Duration) map[int64]time.Duration {
	both := make(map[int64]time.Duration, len(a)+len(b))
	for _, known := range []map[int64]time.Duration{a, b} {
		for id, ttl := range known {
			both[id] = max(both[id], ttl)
		}
	}
	return both
}
