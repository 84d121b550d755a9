// Package datadir reads the data directory of an etcd member that does not run: which
// cluster and member it is of, how far its log and its store are, and whether they are
// whole. It starts nothing.
//
// Reading changes nothing, down to names and times of modification: what is looked at
// may be the only copy. etcd's own start, its snapshotter and its etcdutl rename, cut or
// write while they read, so the files are taken apart here, by etcd's decoders.
//
// The layout is that of etcd 3.5, 3.6 and 3.7 (server/storage, server/etcdserver/api/snap).
package datadir

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// ErrInUse says that a process has the directory open.
var ErrInUse = errors.New("a process has it open")

// ErrDamaged says that content is not what etcd would have written.
var ErrDamaged = errors.New("damaged")

// damage is what is wrong with content, in words.
type damage string

func (d damage) Error() string        { return string(d) }
func (d damage) Is(target error) bool { return target == ErrDamaged }

func damaged(format string, args ...any) error { return damage(fmt.Sprintf(format, args...)) }

// Examine reads a data directory (etcd's --data-dir). What is damaged is part of the
// report. It reads the whole log once and the store twice. Memory: about 100 bytes and the
// key for each key, which is less than a member that serves them takes. Errors: ErrInUse
// when etcd runs on it; fs.ErrNotExist when there never was a log; the context's; and what
// the file system says that is not about content.
func Examine(ctx context.Context, dir string) (*fleet.DataReport, error) {
	r, _, err := ExamineSince(ctx, dir, 0)
	return r, err
}

// ExamineSince is Examine, and gives the hash of the store as it was at an earlier
// revision, too. That is worth nothing where history was compacted since then.
func ExamineSince(ctx context.Context, dir string, revision int64) (r *fleet.DataReport, hash uint32, err error) {
	r, was, err := ExamineFrom(ctx, dir, State{Revision: revision, Compacted: sinceCompacted})
	return r, was.Hash, err
}

// ExamineFrom is Examine, and gives the hash and the keys of the store as it was at an earlier
// revision, when history was compacted as far as was says. That is worth nothing where a
// compaction was done since then, and not just scheduled.
func ExamineFrom(ctx context.Context, dir string, was State) (*fleet.DataReport, State, error) {
	r := &fleet.DataReport{Size: Size(dir)}
	inStore, err := examine(ctx, dir, was, r)
	if err != nil {
		return nil, was, err
	}
	if inStore != nil {
		was = inStore.earlier
	}
	return r, was, nil
}

// examine fills in a report, and gives what the store holds, if it can be read.
func examine(ctx context.Context, dir string, earlier State, r *fleet.DataReport) (*storeContent, error) {
	logDir, store := filepath.Join(dir, "member", "wal"), StorePath(dir)
	if _, err := os.Stat(logDir); err != nil {
		return nil, err
	}
	// Clients may be waiting, and a processor more is more than either has use for alone.
	reading, stop := context.WithCancel(ctx)
	defer stop()
	var ofLog fleet.DataReport
	var inLog *logContent
	var logErr error
	var log sync.WaitGroup
	log.Go(func() {
		inLog, logErr = look(&ofLog, "its log", func() (*logContent, error) { return readLog(reading, logDir) })
	})
	inStore, err := look(r, "its store", func() (*storeContent, error) { return readStore(ctx, store, earlier) })
	if err != nil { // it is in use, for one
		stop()
	}
	log.Wait()
	if err := cmp.Or(err, logErr); err != nil {
		return nil, err
	}
	r.Damage = append(r.Damage, ofLog.Damage...)
	if inStore != nil {
		inStore.report(r)
	}
	if inLog != nil {
		inLog.report(r)
	}
	if inStore == nil || inLog == nil {
		return inStore, nil
	}
	r.Members = inLog.membership(inStore.members, r.Applied.Index)
	r.RaftSnapshot, err = startingPoint(inLog, filepath.Dir(store), inStore.storageVersion)
	var bad damage
	if errors.As(err, &bad) {
		r.Damage = append(r.Damage, bad.Error())
	} else if err != nil {
		return nil, err
	}
	switch {
	case r.Last.Index < r.Applied.Index:
		r.Damage = append(r.Damage, fmt.Sprintf("its log ends at entry %d, and its store has applied entry %d: the end of the log is lost", r.Last.Index, r.Applied.Index))
	case r.Last.Index < r.Commit:
		r.Damage = append(r.Damage, fmt.Sprintf("its log ends at entry %d, and entry %d was committed: the end of the log is lost", r.Last.Index, r.Commit))
	case r.Applied.Index < r.RaftSnapshot.Index:
		r.Damage = append(r.Damage, fmt.Sprintf("its store has applied entry %d, and its log begins after %d", r.Applied.Index, r.RaftSnapshot.Index))
	}
	return inStore, nil
}

// ExamineStore reads a store by itself: a snapshot, or a copy of member/snap/db. What has to
// do with a log is left out of the report. Errors and memory: as of Examine.
func ExamineStore(ctx context.Context, file string) (*fleet.DataReport, error) {
	if _, err := os.Stat(file); err != nil {
		return nil, err
	}
	r := &fleet.DataReport{}
	c, err := look(r, "the store", func() (*storeContent, error) { return readStore(ctx, file, State{}) })
	if err != nil {
		return nil, err
	}
	if c != nil {
		c.report(r)
		r.Size, r.Members = r.DBSize, c.members
	}
	return r, nil
}

// look reads a part of the directory. Damage goes into the report; what is read with an
// etcd's code that panics, or from a mapped page that is not there, is damage too.
func look[T any](r *fleet.DataReport, what string, read func() (*T, error)) (content *T, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			content, err = nil, nil
			r.Damage = append(r.Damage, fmt.Sprintf("%s cannot be read: %v", what, p))
		}
	}()
	content, err = read()
	var bad damage
	if errors.As(err, &bad) {
		r.Damage = append(r.Damage, fmt.Sprintf("%s is damaged: %v", what, bad))
		return content, nil
	}
	return content, err
}

// Size adds up the lengths of all files.
func Size(dir string) fleet.Bytes {
	var sum fleet.Bytes
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			if info, err := e.Info(); err == nil {
				sum += fleet.Bytes(info.Size())
			}
		}
		return nil
	})
	return sum
}
