package activities

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/etcdadmin"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
)

// Snapshots stores copies of clusters' data.
type Snapshots struct{ Region }

// SaveFinalSnapshot streams a snapshot into the object store, sealed with the
// fleet's key, then reads back what is stored, opens it, and restores it for
// real. The manifest is written last: a snapshot without one does not count.
func (s *Snapshots) SaveFinalSnapshot(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	return note(s.save(ctx, r))
}

func (s *Snapshots) save(ctx context.Context, r fleet.StepRequest) (string, error) {
	snapshot := fleet.Snapshot{
		Key:       finalPrefix(r.Operation.Cluster, r.Operation.UID) + r.Operation.ID + ".db.age",
		Operation: r.Operation.ID, Taken: time.Now().UTC(),
	}
	if err := s.store(ctx, r.Operation, &snapshot); err != nil {
		return "", err
	}
	beat(ctx, -1, "stored "+snapshot.Size.Human()+", verifying")
	if err := s.verify(ctx, &snapshot); err != nil {
		return "", err
	}
	beat(ctx, -1, "verified")
	// What is left is of attempts that were killed, or taken for dead: they must not put theirs
	// in the place of what was verified.
	if _, err := objectstore.SweepUploads(ctx, s.Store, finalPrefix(r.Operation.Cluster, r.Operation.UID), 0); err != nil {
		s.Log.Warn("what other attempts at a final snapshot left stays", zap.String("cluster", r.Operation.Cluster), zap.Error(err))
	}
	if err := s.record(ctx, snapshot); err != nil {
		return "", err
	}
	return fmt.Sprintf("revision %d, %d keys, %s, verified by a restore", snapshot.Revision, snapshot.Keys, snapshot.Size.Human()), nil
}

// store streams from a member through the seal into the store.
func (s *Snapshots) store(ctx context.Context, op fleet.Operation, snapshot *fleet.Snapshot) error {
	obs, err := s.resources(ctx, op)
	if err != nil {
		return err
	}
	s.ask(ctx, &obs)
	client, err := s.connect(ctx, op.Cluster, op.UID, servingOn(op, obs))
	if err != nil {
		return err
	}
	defer client.Close()
	// Each of these takes a second or two; on a busy machine, all of them together
	// take longer than a heart may stand still.
	beat(ctx, -1, "asking members")
	source, size, err := s.source(client.Observe(ctx))
	if err != nil {
		return err
	}
	beat(ctx, -1, "asking "+source+" for a snapshot")
	stream, err := client.Snapshot(ctx, source)
	if err != nil {
		return err
	}
	defer stream.Close()
	counted := &progressReader{from: stream, sum: sha256.New(), tell: func(n int64) {
		percent := -1
		if size > 0 {
			percent = int(min(99, n*100/int64(size)))
		}
		beat(ctx, percent, fmt.Sprintf("storing, %s from %s", fleet.Bytes(n).Human(), source))
	}}
	sealed, stop := s.sealed(counted)
	defer stop()
	if err := s.Store.Put(ctx, snapshot.Key, sealed, -1); err != nil {
		return err
	}
	snapshot.SHA256, snapshot.Size = hex.EncodeToString(counted.sum.Sum(nil)), fleet.Bytes(counted.n)
	return nil
}

// source chooses the member to take a snapshot from: a learner, else a follower,
// else the leader, because a snapshot makes its member slower.
func (s *Snapshots) source(seen etcdadmin.Observation) (string, fleet.Bytes, error) {
	best, rank, size := "", 0, fleet.Bytes(0)
	for _, m := range seen.Members {
		worth := 2
		switch {
		case !m.Answers:
			continue
		case m.Learner:
			worth = 1 // it may lag: only when nobody else answers
		case !m.Leader:
			worth = 3
		}
		if worth > rank {
			best, rank, size = m.Name, worth, m.DBSize
		}
	}
	if best == "" {
		return "", 0, fleet.Errorf(fleet.Unavailable, "final snapshot", "no member answers: %s", seen.Why)
	}
	return best, size, nil
}

// sealed gives a reader of the sealed form of what is read from r. stop ends the
// goroutine that seals, if the reader was not read to its end.
func (s *Snapshots) sealed(r io.Reader) (sealed io.Reader, stop func()) {
	out, in := io.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w, err := s.Key.Seal(in)
		if err == nil {
			if _, err = io.Copy(w, r); err == nil {
				err = w.Close()
			}
		}
		in.CloseWithError(err)
	}()
	return out, func() {
		out.Close()
		<-ended
	}
}

// verify reads back what was stored and restores it.
func (s *Snapshots) verify(ctx context.Context, snapshot *fleet.Snapshot) error {
	dir, err := s.workspace(snapshot.Operation)
	if err != nil {
		return fleet.Errorf(fleet.Unavailable, "scratch directory of the worker", "%w", err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "snapshot.db")
	sum, err := s.fetch(ctx, snapshot.Key, file)
	if err != nil {
		return err
	}
	if sum != snapshot.SHA256 {
		return fleet.Errorf(fleet.Unavailable, "final snapshot "+snapshot.Key, "what is stored is not what was sent; storing it again")
	}
	var facts etcdadmin.SnapshotFacts
	err = busy(ctx, "restoring, to verify", func() int64 { return sizeBelow(dir) }, func() (err error) {
		facts, err = etcdadmin.VerifySnapshot(ctx, file, dir)
		return err
	})
	if err != nil {
		return err
	}
	snapshot.Revision, snapshot.Keys, snapshot.Hash = facts.Revision, facts.Keys, facts.Hash
	snapshot.Verified = time.Now().UTC()
	return nil
}

// workspace makes a directory for verifying an operation's snapshot, and deletes those
// of its attempts that died here: what is in them is not sealed.
func (s *Snapshots) workspace(operation string) (string, error) {
	prefix := "verify-" + operation + "-"
	left, err := filepath.Glob(filepath.Join(s.Scratch, prefix+"*"))
	for _, dir := range left {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	if err != nil {
		return "", err
	}
	return os.MkdirTemp(s.Scratch, prefix)
}

// fetch reads a sealed object into a file and gives its SHA-256, unsealed.
func (s *Snapshots) fetch(ctx context.Context, key, file string) (string, error) {
	object, err := s.Store.Get(ctx, key)
	if err != nil {
		return "", err
	}
	defer object.Close()
	opened, err := s.Key.Open(object)
	if err != nil {
		return "", err
	}
	out, err := os.Create(file)
	if err != nil {
		return "", fleet.Errorf(fleet.Unavailable, "scratch directory of the worker", "%w", err)
	}
	defer out.Close()
	counted := &progressReader{from: opened, sum: sha256.New(), tell: func(n int64) {
		beat(ctx, -1, "reading back, "+fleet.Bytes(n).Human())
	}}
	if _, err := io.Copy(out, counted); err != nil {
		return "", fleet.Errorf(fleet.Unavailable, "final snapshot "+key, "could not be read back: %w", err)
	}
	return hex.EncodeToString(counted.sum.Sum(nil)), out.Close()
}

// progressReader counts, sums and tells about once for every MiB.
type progressReader struct {
	from io.Reader
	sum  hash.Hash
	n    int64
	told int64
	tell func(n int64)
}

func (p *progressReader) Read(b []byte) (int, error) {
	n, err := p.from.Read(b)
	p.sum.Write(b[:n])
	if p.n += int64(n); p.n-p.told >= 1<<20 || p.told == 0 {
		p.told = p.n
		p.tell(p.n)
	}
	return n, err
}
