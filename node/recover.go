package node

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/node/datadir"
	"github.com/flotilla-etcd/flotilla/node/internal/durable"
)

// recoveredFile lies in a data directory that a recovery made, and says by what. etcd
// leaves it alone.
const recoveredFile = "flotilla-recovered.json"

// recovered is its content.
type recovered struct {
	Token  string        `json:"token"`
	Result RecoverResult `json:"result"`
}

// Recover makes a stopped member a cluster of one, with everything that is in its log and
// its store, and leaves it stopped. It works on a copy: the data that was there stays, as
// it was, beside the new one. The copy's whole log counts as committed, then etcd is run
// on it once with --force-new-cluster, at addresses that nobody knows, then it is read
// again and compared, and only then the two change places, in one step.
//
// A learner gets its vote first, by an entry behind the last one of the copy's log
// (datadir.CommitAll): nothing of what it has is lost either.
//
// Whoever calls it has seen to it that none of its peers ever serves again: two clusters
// of one identity would diverge unseen.
//
// Errors: as of Start and Examine; fleet.Blocked when the data is damaged, or the member
// was removed; fleet.Denied when there is no room for the copy, or the file system cannot
// do it; fleet.Lost when what came of it is not what was there. In all of these cases the
// data is as it was.
func (n *Node) Recover(ctx context.Context, req RecoverRequest) (*RecoverResult, error) {
	start := req.Start
	if err := checkStart(start); err != nil {
		return nil, err
	}
	if err := checkText(resourceOf(start.Member), "the token", req.Token); err != nil {
		return nil, err
	}
	unlock, err := n.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	m, err := n.member(start.Member)
	if err != nil {
		return nil, err
	}
	done, err := n.recoveredBy(m)
	if err != nil {
		return nil, err
	}
	if done.Token != "" {
		// Also another one: what it was to put aside must not be taken for a leftover.
		if err := n.endRecovery(m, done); err != nil {
			return nil, err
		}
	}
	if done.Token == req.Token {
		return &done.Result, nil
	}
	if err := n.checkReady(m, start); err != nil {
		return nil, err
	}
	if err := n.checkStopped(ctx, m); err != nil {
		return nil, err
	}
	return n.recoverFrom(ctx, m, req)
}

// recoveredBy gives the recovery that made a member's data; none if none did.
func (n *Node) recoveredBy(m member) (recovered, error) {
	var r recovered
	err := durable.ReadJSON(filepath.Join(m.dataDir(n), recoveredFile), &r)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return r, onHost("data of "+resourceOf(m.Member), err)
}

// What begins the names of directories on a member's disk: where it is worked, and where
// what was there before is kept. What follows says by which token.
const (
	recovering     = "recovering-"
	beforeRecovery = "before-recovery-"
)

func (n *Node) besideData(m member, prefix, token string) string {
	sum := sha256.Sum256([]byte(token)) // a token need not be a file's name
	return filepath.Join(m.onDisk(n), fmt.Sprintf("%s%x", prefix, sum[:6]))
}

// removeAll deletes all directories beside a member's data that begin so.
func (n *Node) removeAll(m member, prefix string) error {
	found, err := filepath.Glob(filepath.Join(m.onDisk(n), prefix+"*"))
	for _, dir := range found {
		err = errors.Join(err, durable.Remove(dir))
	}
	return err
}

func (n *Node) recoverFrom(ctx context.Context, m member, req RecoverRequest) (*RecoverResult, error) {
	resource := "data of " + resourceOf(m.Member)
	if err := n.checkRoom(m, datadir.Size(m.dataDir(n))); err != nil {
		return nil, err
	}
	work := n.besideData(m, recovering, req.Token)
	if err := durable.CanExchange(m.onDisk(n)); err != nil {
		return nil, fleet.Errorf(fleet.Denied, "disk "+m.DiskID, "its file system cannot exchange two names in one step, which a recovery needs: %w", err).
			WithRemedy("use ext4, xfs or btrfs")
	}
	if err := n.removeAll(m, recovering); err != nil { // of attempts that were killed
		return nil, onHost(resource, err)
	}
	before, err := n.copyCommitted(ctx, m, work)
	if err != nil {
		return nil, errors.Join(err, n.removeAll(m, recovering))
	}
	if err := n.forceAlone(ctx, m, req.Start, work, before); err != nil {
		return nil, err
	}
	after, hash, err := n.examineAndSync(ctx, m, work, before.Revision)
	if err != nil {
		return nil, err
	}
	if err := checkRecovered(*before, *after, hash); err != nil {
		return nil, err
	}
	if err := forgetLog(work, after); err != nil {
		return nil, onHost(resource, err)
	}
	done := recovered{Token: req.Token, Result: RecoverResult{Before: *before, After: *after, Kept: n.besideData(m, beforeRecovery, req.Token)}}
	if err := durable.WriteJSON(filepath.Join(work, recoveredFile), done, 0o644); err != nil {
		return nil, onHost(resource, err)
	}
	if err := durable.Exchange(work, m.dataDir(n)); err != nil {
		return nil, onHost(resource, err)
	}
	return &done.Result, n.endRecovery(m, done)
}

// logDir is where etcd has its log, below a data directory.
var logDir = filepath.Join("member", "wal")

// copyCommitted copies a member's data, and has the copy's log say that all of it is committed.
// Clients wait for it, so the log is read and copied while the store is copied. What Examine
// found a moment ago counts as long as no file was touched since: the planner asked, to know
// whom to recover from.
func (n *Node) copyCommitted(ctx context.Context, m member, to string) (*fleet.DataReport, error) {
	from, resource := m.dataDir(n), "data of "+resourceOf(m.Member)
	before := n.examinedBefore(m)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return onHost(resource, copyData(ctx, from, to, []string{logDir})) })
	group.Go(func() (err error) {
		if before == nil {
			before, _, err = n.examine(ctx, m, from, 0)
		}
		if err == nil {
			err = recoverable(*before)
		}
		if err != nil {
			return err
		}
		without, err := datadir.Unread(from, before)
		if err == nil {
			err = copyData(ctx, filepath.Join(from, logDir), filepath.Join(to, logDir), without)
		}
		if err != nil {
			return onHost(resource, err)
		}
		if err := datadir.CommitAll(to, before); err != nil {
			return fleet.Errorf(fleet.Unavailable, resource, "its copy cannot be made ready: %w", err)
		}
		return nil
	})
	err := group.Wait()
	return before, err
}

// forgetLog removes the files of a log that no start reads any more, since etcd took a raft
// snapshot when it ran alone: reading them would be most of what the next start takes.
func forgetLog(dir string, r *fleet.DataReport) error {
	files, err := datadir.Unread(dir, r)
	for _, name := range files {
		err = errors.Join(err, os.Remove(filepath.Join(dir, logDir, name)))
	}
	return err
}

// examineAndSync looks at what was made in a directory while the disk gets what it lacks of it.
func (n *Node) examineAndSync(ctx context.Context, m member, dir string, earlier int64) (after *fleet.DataReport, hash uint32, err error) {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		after, hash, err = n.examine(ctx, m, dir, earlier)
		return err
	})
	group.Go(func() error { return onHost("data of "+resourceOf(m.Member), syncTree(dir)) })
	err = group.Wait()
	return after, hash, err
}

// endRecovery does what is left once the data has changed places.
func (n *Node) endRecovery(m member, done recovered) error {
	if err := n.ownData(m); err != nil {
		return err
	}
	err := durable.Rename(n.besideData(m, recovering, done.Token), done.Result.Kept)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it was done
	}
	return onHost("data of "+resourceOf(m.Member), err)
}

// recoverable refuses what no cluster can be made of.
func recoverable(r fleet.DataReport) error {
	resource := "data of " + resourceOf(r.Member)
	switch {
	case len(r.Damage) > 0:
		return fleet.Errorf(fleet.Blocked, resource, "it is damaged: %s", r.Damage[0]).
			WithRemedy("recover from another member, or restore a backup")
	case !r.Votes() && !r.Learns():
		return fleet.Errorf(fleet.Blocked, resource, "it was removed from the cluster").
			WithRemedy("recover from another member, or restore a backup")
	}
	return nil
}

// checkRecovered compares what a recovery made with what there was; hash is of what it made,
// at the revision of what there was.
func checkRecovered(before, after fleet.DataReport, hash uint32) error {
	resource := "recovery of " + resourceOf(before.Member)
	lost := func(format string, args ...any) error {
		return fleet.Errorf(fleet.Lost, resource, "what came of it is not what was there: %s", fmt.Sprintf(format, args...)).
			WithRemedy("the data is as it was; recover from another member, or restore a backup")
	}
	voters := after.Voters()
	switch {
	case len(after.Damage) > 0:
		return lost("%s", after.Damage[0])
	case len(after.Members) != 1 || len(voters) != 1 || voters[0].ID != before.MemberID:
		return lost("its members are %+v", after.Members)
	case after.ClusterID != before.ClusterID || after.MemberID != before.MemberID:
		return lost("it is member %s of cluster %s", after.MemberID, after.ClusterID)
	case after.Applied.Index < before.Last.Index:
		return lost("its store has applied entry %d, and the log had %d", after.Applied.Index, before.Last.Index)
	case after.Revision < before.Revision:
		return lost("its store is at revision %d, and was at %d", after.Revision, before.Revision)
	case after.Compacted == before.Compacted && hash != before.Hash: // a compaction that was in the log only changes what can be compared
		return lost("the hash at revision %d is %08x, and was %08x", before.Revision, hash, before.Hash)
	}
	return nil
}

// checkRoom refuses a copy that the disk has no room for.
func (n *Node) checkRoom(m member, size fleet.Bytes) error {
	const margin = 256 * fleet.MiB // etcd prepares log files of 64 MiB ahead
	s, err := n.diskSpace(m.DiskID)
	if err != nil {
		return onHost("disk "+m.DiskID, err)
	}
	if s.free < size+margin {
		return fleet.Errorf(fleet.Denied, "disk "+m.DiskID, "a copy of the data needs %s, and %s are free", (size + margin).Human(), s.free.Human()).
			WithRemedy("make the disk larger in the cloud, or move what is not etcd's away")
	}
	return nil
}

// copyData copies a directory, without some files and directories, which are named below it. Its
// files are not being written.
func copyData(ctx context.Context, from, to string, without []string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case slices.Contains(without, rel) && e.IsDir():
			return fs.SkipDir
		case slices.Contains(without, rel):
			return nil
		case e.IsDir():
			return os.MkdirAll(target, 0o700)
		case !e.Type().IsRegular():
			return fmt.Errorf("%s is no file", path)
		}
		return copyFile(path, target)
	})
}

// copyFile makes a copy that whoever wants it to survive a power cut syncs.
func copyFile(from, to string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	return durable.Copy(to, f, 0o600)
}

// syncTree makes a directory's content survive a power cut.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return durable.SyncDir(path) // of files as well: it opens and syncs
	})
}
