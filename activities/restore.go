package activities

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/backup"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/node"
	"github.com/flotilla-etcd/flotilla/objectstore"
)

const (
	// restoreWithin is how long a host may take: it fetches 16 GiB, makes a store of them,
	// and reads that.
	restoreWithin = 50 * time.Minute
	// linkedFor is how long links to a backup are good. They are followed at once.
	linkedFor = time.Hour
)

// RestoreMember makes a stopped member's data from the operation's backup. What the member
// had is kept on its disk.
func (h *Hosts) RestoreMember(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	return reply(h.restore(ctx, r.Operation, r.Step))
}

func (h *Hosts) restore(ctx context.Context, op fleet.Operation, step fleet.Step) (fleet.StepReply, error) {
	want := cmp.Or(step.Restore, op.Options.Restore)
	host, err := h.Provider.Host(ctx, step.HostID)
	if err != nil {
		return fleet.StepReply{}, err
	}
	beat(ctx, -1, "reading the manifest")
	m, err := within(ctx, answerWithin, "reading the manifest", func(ctx context.Context) (backup.Manifest, error) {
		return h.both().Find(ctx, want.Cluster, want.UID, want.ID)
	})
	if fleet.Is(err, fleet.NotFound) {
		return fleet.StepReply{}, missing(*want, err)
	} else if err != nil {
		return fleet.StepReply{}, err
	}
	again := op.Kind == fleet.RestoreCluster || op.Kind == fleet.RecoverQuorum
	request := node.RestoreRequest{Token: step.Token, Start: startRequest(op, step), SetAside: again}
	if again {
		// Another cluster than the one that was: its members cannot take part in this one.
		which := sha256.Sum256([]byte(step.Token))
		request.Start.Token += fmt.Sprintf("-%s-%x", op.Generation, which[:4])
	}
	if !want.Rehearsal {
		request.Bump = fleet.RevisionBump
	}
	if request.From, err = h.lend(ctx, host, step.Member, m); err != nil {
		return fleet.StepReply{}, err
	}
	away := h.away()
	if away != nil { // the host need not find that out by itself
		request.From.SecondFirst()
	}
	result, err := callWithin[node.RestoreResult](ctx, h.Provider, host, node.VerbRestore, request, restoreWithin)
	if err != nil {
		return fleet.StepReply{}, err
	}
	text := fmt.Sprintf("%d keys at revision %d, which was %d, in %s", result.After.Keys, result.After.Revision, m.Revision,
		time.Duration(result.Took).Round(100*time.Millisecond))
	if result.Kept != "" {
		text += "; what it had is kept on its disk"
	}
	switch {
	case away != nil && result.Second == "":
		text += "; read from the SECOND store: " + away.Error()
	case away == nil && result.Second != "":
		text += "; read from the SECOND store: " + result.Second
	}
	return fleet.StepReply{Note: text, Revision: m.Revision}, nil
}

// DiscardData deletes what restores and recoveries put aside on a member's disk.
func (h *Hosts) DiscardData(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	host, err := h.Provider.Host(ctx, r.Step.HostID)
	if err != nil {
		return note("", err)
	}
	result, err := call[node.LetGoResult](ctx, h.Provider, host, node.VerbLetGo, node.MemberRequest{Member: r.Step.Member})
	if err != nil {
		return note("", err)
	}
	if len(result.Deleted) == 0 {
		return note("nothing is kept there any more", nil)
	}
	return note(fmt.Sprintf("%s, %s", strings.Join(result.Deleted, ", "), result.Size.Human()), nil)
}

// lend gives a host what it needs to fetch and open a backup, and nothing else.
func (r Region) lend(ctx context.Context, host fleet.Host, member string, m backup.Manifest) (node.RestoreFrom, error) {
	from := node.RestoreFrom{Name: m.String(), Backup: m.ID, Etcd: m.Etcd, Expect: &node.SnapshotFacts{
		Size: m.Size, SHA256: m.SHA256, Revision: m.Revision, Hash: m.Hash, Keys: m.Keys,
	}}
	to, err := call[node.BorrowResult](ctx, r.Provider, host, node.VerbBorrow, node.MemberRequest{Member: member})
	if err != nil {
		return from, err
	}
	from.Key, err = within(ctx, answerWithin, "reading the header of the backup", func(ctx context.Context) ([]byte, error) {
		return r.both().Lend(ctx, m, to.Recipient)
	})
	if err != nil {
		return from, err
	}
	for _, o := range m.Objects {
		object := node.RestoreObject{Size: o.Size, SHA256: o.SHA256}
		if object.URL, err = linkTo(ctx, r.Store, o.Key); err != nil {
			return from, err
		}
		if r.Second != nil {
			if object.Second, err = linkTo(ctx, r.Second, o.Key); err != nil {
				return from, err
			}
		}
		from.Objects = append(from.Objects, object)
	}
	return from, nil
}

// linkTo says where a host finds an object: behind a link that is good for a while, or in
// a file, where the store is a directory of the machine that all hosts are on.
func linkTo(ctx context.Context, in objectstore.Store, key string) (string, error) {
	switch store := in.(type) {
	case objectstore.Linker:
		return store.Link(ctx, key, linkedFor)
	case objectstore.Filer:
		return store.File(key), nil
	}
	return "", fleet.Errorf(fleet.Invalid, in.String(), "hosts cannot read from it").
		WithRemedy("keep backups in a bucket")
}
