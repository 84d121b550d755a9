package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/node/datadir"
	"github.com/flotilla-etcd/flotilla/node/internal/durable"
	"github.com/flotilla-etcd/flotilla/pki"
)

// restoredFile lies in a data directory that a restore made, and says from what. etcd
// leaves it alone.
const restoredFile = "flotilla-restored.json"

// restored is its content.
type restored struct {
	fleet.Restored
	Result RestoreResult `json:"result"`
}

// As recovering and beforeRecovery.
const (
	restoring     = "restoring-"
	beforeRestore = "before-restore-"
)

func (n *Node) hostKeyFile(m member) string { return n.pkiFile(m.Member, "restore.key") }

// Borrow says to whom the key of a backup is to be lent, from which a member is to be
// restored. It makes a key of the host's own if there is none, which ends with the
// restore. Errors: fleet.NotFound when the host does not know the member.
func (n *Node) Borrow(ctx context.Context, req MemberRequest) (*BorrowResult, error) {
	unlock, err := n.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	m, err := n.member(req.Member)
	if err != nil {
		return nil, err
	}
	key, err := pki.LoadHostKey(n.hostKeyFile(m))
	if err != nil {
		return nil, err
	}
	return &BorrowResult{Recipient: key.Recipient()}, nil
}

// Restore makes a stopped member's data from a snapshot, as the first data of a new
// cluster of the members in Start.Initial, and leaves it stopped. Nothing of a snapshot is
// used before all of it was compared with what it is to be. The new data is made beside
// the old, examined, and then the two change places, in one step; what was there is kept.
// Memory: 64 MiB, and what Examine takes.
//
// Whoever calls it has seen to it that no other member of the cluster that was serves
// again, where the new one takes its place.
//
// Errors: as of Start; fleet.Conflict when the member runs, or has data and SetAside is
// not said; fleet.Lost when the snapshot is damaged, or not what it is to be; fleet.Denied
// when there is no room, the file system cannot do it, or the objects may not be fetched;
// fleet.Invalid when this release cannot serve that data. In all of these cases the data
// is as it was.
func (n *Node) Restore(ctx context.Context, req RestoreRequest) (*RestoreResult, error) {
	began := n.Now()
	if err := checkRestore(req); err != nil {
		return nil, err
	}
	unlock, err := n.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	m, err := n.member(req.Start.Member)
	if err != nil {
		return nil, err
	}
	if err := n.mountDisk(ctx, m.DiskID); err != nil {
		return nil, err
	}
	if err := n.checkReady(m, req.Start); err != nil {
		return nil, err
	}
	done, err := n.restoredBy(m)
	if err != nil {
		return nil, err
	}
	if done != nil {
		// Also another one: what it was to put aside must not be taken for a leftover.
		if err := n.endRestore(m, *done); err != nil {
			return nil, err
		}
		if done.Token == req.Token {
			return &done.Result, n.forgetHostKey(m)
		}
	}
	if err := n.checkStopped(ctx, m); err != nil {
		return nil, err
	}
	return n.restoreFrom(ctx, m, req, began)
}

func checkRestore(req RestoreRequest) error {
	if err := checkStart(req.Start); err != nil {
		return err
	}
	resource := resourceOf(req.Start.Member)
	from := req.From
	switch {
	case (len(from.Objects) == 0) == (from.File == ""):
		return fleet.Errorf(fleet.Invalid, resource, "a restore is from objects or from a file, one of them")
	case from.File != "" && !filepath.IsAbs(from.File):
		return fleet.Errorf(fleet.Invalid, resource, "%q is not an absolute path", from.File)
	case len(from.Objects) > 0 && (from.Expect == nil || len(from.Key) == 0):
		return fleet.Errorf(fleet.Invalid, resource, "what the backup is to hold, and the key that opens it, are not said")
	case req.Bump < 0:
		return fleet.Errorf(fleet.Invalid, resource, "revisions are never moved back, as by %d", req.Bump)
	}
	if from.Etcd != "" {
		if err := fleet.CheckRestorable(from.Etcd, req.Start.Version); err != nil {
			return err
		}
	}
	return checkText(resource, "the token", req.Token)
}

// restoredBy gives the restore that made a member's data; nil if none did.
func (n *Node) restoredBy(m member) (*restored, error) {
	r := new(restored)
	err := durable.ReadJSON(filepath.Join(m.dataDir(n), restoredFile), r)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return r, onHost("data of "+resourceOf(m.Member), err)
}

func (n *Node) restoreFrom(ctx context.Context, m member, req RestoreRequest, began time.Time) (*RestoreResult, error) {
	resource := "data of " + resourceOf(m.Member)
	there, err := os.ReadDir(m.dataDir(n))
	if err != nil {
		return nil, onHost(resource, err)
	}
	if len(there) > 0 && !req.SetAside {
		return nil, fleet.Errorf(fleet.Conflict, resource, "there is data already, which a restore was not told to put aside").
			WithRemedy("ask for a restore in place, or use an empty disk")
	}
	if err := durable.CanExchange(m.onDisk(n)); err != nil {
		return nil, fleet.Errorf(fleet.Denied, "disk "+m.DiskID, "its file system cannot exchange two names in one step, which a restore needs: %w", err).
			WithRemedy("use ext4, xfs or btrfs")
	}
	work := n.besideData(m, restoring, req.Token)
	if err := n.removeAll(m, restoring); err != nil { // of attempts that were killed
		return nil, onHost(resource, err)
	}
	if err := os.MkdirAll(work, 0o700); err != nil {
		return nil, onHost(resource, err)
	}
	data := filepath.Join(work, "data")
	done, err := n.makeRestored(ctx, m, req, data)
	if err != nil {
		return nil, errors.Join(err, durable.Remove(work)) // it takes room, and is of no use
	}
	done.Result.Took = fleet.Duration(n.Now().Sub(began))
	if len(there) > 0 {
		done.Result.Kept = n.besideData(m, beforeRestore, req.Token)
	}
	if err := durable.WriteJSON(filepath.Join(data, restoredFile), done, 0o644); err != nil {
		return nil, onHost(resource, err)
	}
	if err := durable.Exchange(data, m.dataDir(n)); err != nil {
		return nil, onHost(resource, err)
	}
	if err := n.endRestore(m, *done); err != nil {
		return nil, err
	}
	return &done.Result, n.forgetHostKey(m)
}

// makeRestored makes a data directory from a snapshot, sees that it holds what it is to, and that
// the disk has it.
func (n *Node) makeRestored(ctx context.Context, m member, req RestoreRequest, data string) (*restored, error) {
	var fell error // why the second source was read from
	held, err := n.bring(ctx, m, req.From, data, func(why error) { fell = why })
	if err != nil {
		return nil, err
	}
	was, err := datadir.Restore(data, newCluster(req))
	switch {
	case errors.Is(err, datadir.ErrDamaged):
		return nil, notRestorable(req.From.Name, err.Error())
	case err != nil:
		return nil, onHost("data of "+resourceOf(m.Member), err)
	}
	before, after, err := n.examineRestored(ctx, m, data, was)
	if err != nil {
		return nil, err
	}
	after.Version = req.Start.Version
	if err := checkRestored(req, *before, *after); err != nil {
		return nil, err
	}
	if err := checkHeld(req.From, held, *before); err != nil {
		return nil, err
	}
	done := &restored{
		Restored: fleet.Restored{Token: req.Token, From: req.From.Name, Backup: req.From.Backup, Revision: after.Revision},
		Result:   RestoreResult{Before: *before, After: *after},
	}
	for _, peer := range req.Start.Initial {
		done.Members = append(done.Members, peer.Name)
	}
	if fell != nil {
		done.Result.Second = fell.Error()
	}
	return done, nil
}

func newCluster(req RestoreRequest) datadir.NewCluster {
	c := datadir.NewCluster{Member: req.Start.Member, Token: req.Start.Token, Bump: req.Bump}
	var initial []string
	for _, peer := range req.Start.Initial {
		initial = append(initial, peer.Name+"="+peer.URL)
		if peer.Name == req.Start.Member {
			c.URL = peer.URL
		}
	}
	c.Initial = strings.Join(initial, ",")
	return c
}

// forgetHostKey removes the key that a backup's was lent to.
func (n *Node) forgetHostKey(m member) error {
	return onHost(resourceOf(m.Member), durable.Remove(n.hostKeyFile(m)))
}

// endRestore does what is left once the data has changed places.
func (n *Node) endRestore(m member, done restored) error {
	if err := n.ownData(m); err != nil {
		return err
	}
	resource, work := "data of "+resourceOf(m.Member), n.besideData(m, restoring, done.Token)
	if done.Result.Kept != "" {
		err := durable.Rename(filepath.Join(work, "data"), done.Result.Kept)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // it was done
			return onHost(resource, err)
		}
	}
	return onHost(resource, durable.Remove(work))
}

// examineSnapshot opens a file that may be a snapshot.
func examineSnapshot(ctx context.Context, file string, from RestoreFrom) (*fleet.DataReport, error) {
	r, err := datadir.ExamineStore(ctx, file)
	switch {
	case errors.Is(err, datadir.ErrInUse):
		return nil, fleet.Errorf(fleet.Conflict, from.Name, "%w", err).WithRemedy("end that process")
	case err != nil:
		return nil, onHost(from.Name, err)
	case len(r.Damage) > 0:
		return nil, notRestorable(from.Name, r.Damage[0])
	}
	return r, nil
}

// examineRestored looks at what a restore made, while the disk gets what it lacks of it. What the
// snapshot held is read back from it: all but what the restore added.
func (n *Node) examineRestored(ctx context.Context, m member, dir string, was datadir.State) (before, after *fleet.DataReport, err error) {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		after, was, err = datadir.ExamineFrom(ctx, dir, was)
		return err
	})
	group.Go(func() error { return syncTree(dir) })
	if err := group.Wait(); err != nil {
		return nil, nil, onHost("data of "+resourceOf(m.Member), err)
	}
	after.Member = m.Member
	return &fleet.DataReport{Revision: was.Revision, Compacted: was.Compacted, Hash: was.Hash, Keys: was.Keys}, after, nil
}

// checkHeld compares what a snapshot held, as it was read back, with what it is to hold: by its
// manifest, or, for a file, as it was before it was copied.
func checkHeld(from RestoreFrom, file *fleet.DataReport, r fleet.DataReport) error {
	var wants []SnapshotFacts
	if from.Expect != nil {
		wants = append(wants, *from.Expect)
	}
	if file != nil {
		wants = append(wants, SnapshotFacts{Revision: file.Revision, Hash: file.Hash, Keys: file.Keys})
	}
	for _, e := range wants {
		if r.Revision != e.Revision || r.Hash != e.Hash || r.Keys != e.Keys {
			return notRestorable(from.Name, fmt.Sprintf("it holds %d keys at revision %d (hash %08x), and is to hold %d at %d (%08x)",
				r.Keys, r.Revision, r.Hash, e.Keys, e.Revision, e.Hash))
		}
	}
	return nil
}

func notRestorable(name, why string) error {
	return fleet.Errorf(fleet.Lost, name, "it is damaged and is not restored: %s", why).
		WithRemedy("the data is as it was; restore another backup")
}

// checkRestored compares what a restore made with what it was to make.
func checkRestored(req RestoreRequest, before, after fleet.DataReport) error {
	wrong := func(format string, args ...any) error {
		return fleet.Errorf(fleet.Lost, "restore of "+resourceOf(req.Start.Member), "what came of it is not what was in %s: "+format, append([]any{req.From.Name}, args...)...).
			WithRemedy("the data is as it was; restore another backup")
	}
	var want, got []string
	for _, peer := range req.Start.Initial {
		want = append(want, peer.Name+"="+peer.URL)
	}
	for _, m := range after.Members {
		if !m.Learner {
			got = append(got, m.Name+"="+strings.Join(m.Peers, ","))
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	from := before.Revision
	if req.Bump > 0 && from == 1 { // nothing was ever written: the file has no revision, and etcdutl begins at zero
		from = 0
	}
	switch {
	case len(after.Damage) > 0:
		return wrong("%s", after.Damage[0])
	case !slices.Equal(want, got) || len(after.Members) != len(got):
		return wrong("its members are %+v", after.Members)
	case after.Revision != from+req.Bump:
		return wrong("it is at revision %d, and was at %d", after.Revision, before.Revision)
	case after.Keys != before.Keys:
		return wrong("it has %d keys, and had %d", after.Keys, before.Keys)
	case req.Bump > 0 && after.Compacted != after.Revision:
		return wrong("history is gone up to revision %d, and is to be up to %d", after.Compacted, after.Revision)
	}
	return nil
}

// LetGo deletes what restores and recoveries of a member put aside. There is no way back.
func (n *Node) LetGo(ctx context.Context, req MemberRequest) (*LetGoResult, error) {
	unlock, err := n.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	m, err := n.member(req.Member)
	if err != nil {
		return nil, err
	}
	if err := n.checkDisk(m); err != nil {
		return nil, err
	}
	result := &LetGoResult{}
	for _, dir := range n.setAside(m) {
		size := allocated(dir)
		if err := durable.Remove(dir); err != nil {
			return nil, onHost("data of "+resourceOf(m.Member), err)
		}
		result.Deleted, result.Size = append(result.Deleted, filepath.Base(dir)), result.Size+size
	}
	return result, nil
}

// setAside gives the directories that hold what was put aside.
func (n *Node) setAside(m member) []string {
	var dirs []string
	for _, prefix := range []string{beforeRestore, beforeRecovery} {
		found, _ := filepath.Glob(filepath.Join(m.onDisk(n), prefix+"*"))
		dirs = append(dirs, found...)
	}
	return dirs
}
