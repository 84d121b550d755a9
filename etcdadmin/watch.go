package etcdadmin

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"google.golang.org/grpc"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// Watch is a stream of all changes of a cluster's key space, from one member.
//
// It is etcd's own RPC and not the library's Watcher: that keeps what its reader has not
// taken yet in memory without a bound, and joins all fragments of an answer. Here the
// member waits for a slow reader (and catches up later), so that what is in memory is
// one piece of about --max-request-bytes and the revision that is not whole yet.
type Watch struct {
	stream   pb.Watch_WatchClient
	cancel   context.CancelFunc
	endpoint string
	resource string
	client   *Client
	// History is the ID that etcd gives the cluster, Revision the store's last when the
	// watch began: what comes up to that one was there before.
	History  uint64
	Revision int64
	rest     []*mvccpb.Event // of a revision that is not known to be whole yet
}

// Seen is what a member told at once.
type Seen struct {
	// Events are the changes of whole revisions, in the order in which they were made;
	// of a deletion there is the key alone. Empty when it only told how far it is.
	Events []*mvccpb.Event
	// Revision is the store's last as far as the member knows. Without events nothing
	// has changed since the last event before, if that is of this revision.
	Revision int64
}

// CompactedError says that the changes asked for are gone.
type CompactedError struct {
	// Compacted is the revision up to which history is gone.
	Compacted int64
}

func (e *CompactedError) Error() string {
	return fmt.Sprintf("changes up to revision %d were compacted away", e.Compacted)
}

// createWithin is how long a member may take to begin a watch.
const createWithin = 10 * time.Second

// Watch begins to watch all keys from a revision on, at the first endpoint that serves
// it. A member that loses its leader ends the watch, instead of being silent. Errors: of
// kind Lost with a *CompactedError underneath when history from there is gone; as of the
// calls. It must be closed, and ends with ctx.
func (c *Client) Watch(ctx context.Context, from int64) (*Watch, error) {
	var errs []error
	for _, endpoint := range c.cfg.Endpoints {
		w, err := c.watchAt(ctx, endpoint, from)
		if err == nil {
			return w, nil
		}
		var compacted *CompactedError
		if errors.As(err, &compacted) {
			return nil, err // the others' history is the same
		}
		errs = append(errs, err)
	}
	return nil, fleet.Errorf(fleet.KindOf(errs[0]), "watch of the "+c.resource(), "no endpoint serves it: %w", errors.Join(errs...))
}

func (c *Client) watchAt(ctx context.Context, endpoint string, from int64) (*Watch, error) {
	client, err := c.at(endpoint)
	if err != nil {
		return nil, err
	}
	streaming, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	w := &Watch{cancel: cancel, endpoint: endpoint, resource: "watch at " + endpoint, client: c}
	late := time.AfterFunc(createWithin, cancel)
	w.stream, err = pb.NewWatchClient(client.ActiveConnection()).Watch(streaming, grpc.MaxCallRecvMsgSize(math.MaxInt32))
	if err == nil {
		err = w.stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{
			Key: []byte{0}, RangeEnd: []byte{0}, StartRevision: from, ProgressNotify: true, Fragment: true,
		}}})
	}
	var created *pb.WatchResponse
	if err == nil {
		created, err = w.stream.Recv()
	}
	if !late.Stop() && ctx.Err() == nil {
		err = fleet.Errorf(fleet.Unavailable, w.resource, "no answer within %s", createWithin)
	}
	switch {
	case err != nil:
		err = c.because(ctx, endpoint, w.resource, err)
	case created.GetCanceled(), !created.GetCreated():
		err = w.refused(created)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	w.History, w.Revision = created.GetHeader().GetClusterId(), created.GetHeader().GetRevision()
	return w, nil
}

// refused says why a member ends a watch, or begins none.
func (w *Watch) refused(r *pb.WatchResponse) error {
	if r.GetCompactRevision() > 0 {
		return fleet.Errorf(fleet.Lost, w.resource, "%w", &CompactedError{Compacted: r.GetCompactRevision()})
	}
	if r.GetCancelReason() == rpctypes.ErrorDesc(rpctypes.ErrGRPCPermissionDenied) {
		return fleet.Errorf(fleet.Denied, w.resource, "not allowed: %s", r.GetCancelReason()).
			WithRemedy("give the control plane's user the role root")
	}
	return fleet.Errorf(fleet.Unavailable, w.resource, "the member ended it: %s", r.GetCancelReason())
}

// Receive waits for what the member tells next. Errors: as of Watch.
func (w *Watch) Receive(ctx context.Context) (Seen, error) {
	for {
		r, err := w.stream.Recv()
		switch {
		case err != nil:
			return Seen{}, w.client.because(ctx, w.endpoint, w.resource, err)
		case r.GetCanceled():
			return Seen{}, w.refused(r)
		}
		events := r.GetEvents()
		if len(w.rest) > 0 {
			events = slices.Concat(w.rest, events)
			w.rest = nil
		}
		if r.GetFragment() && len(events) > 0 {
			// The revision of the last event may go on in the next piece.
			whole := len(events)
			for last := events[whole-1].GetKv().GetModRevision(); whole > 0 && events[whole-1].GetKv().GetModRevision() == last; {
				whole--
			}
			events, w.rest = events[:whole:whole], events[whole:]
			if whole == 0 {
				continue
			}
		}
		return Seen{Events: events, Revision: r.GetHeader().GetRevision()}, nil
	}
}

// AskProgress has the member tell how far it is, once it has told all changes.
func (w *Watch) AskProgress() error {
	err := w.stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}})
	if err != nil {
		return explain(w.resource, err) // Receive says why
	}
	return nil
}

// Endpoint is the member's that tells.
func (w *Watch) Endpoint() string { return w.endpoint }

// Close ends the watch on both sides.
func (w *Watch) Close() { w.cancel() }

// LeaseTTL gives the time that a lease was granted for; zero when there is no such lease
// any more. Errors: as of the calls, when no endpoint answers.
func (c *Client) LeaseTTL(ctx context.Context, id int64) (time.Duration, error) {
	var errs []error
	for _, endpoint := range c.cfg.Endpoints {
		answer, err := ask(ctx, c, endpoint, func(ctx context.Context, client *clientv3.Client) (*clientv3.LeaseTimeToLiveResponse, error) {
			return client.TimeToLive(ctx, clientv3.LeaseID(id))
		})
		if err == nil {
			return time.Duration(answer.GrantedTTL) * time.Second, nil // zero of one that is gone
		}
		errs = append(errs, err)
	}
	return 0, fleet.Errorf(fleet.KindOf(errs[0]), fmt.Sprintf("lease %x", id), "no endpoint tells of it: %w", errors.Join(errs...))
}
