package activities

import (
	"context"
	"encoding/json"
	"sync"

	"go.temporal.io/sdk/activity"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// luggage is what an attempt leaves to the next one, with every heartbeat, so that
// it is taken up where it ended.
type luggage struct {
	mu    sync.Mutex
	bytes json.RawMessage
}

type luggageKey struct{}

// carrying gives a context whose heartbeats carry what pack is given, and what the
// attempt before left, if it left any.
func carrying[T any](ctx context.Context) (carries context.Context, left T, pack func(T)) {
	l := &luggage{}
	var last fleet.StepBeat
	if activity.HasHeartbeatDetails(ctx) && activity.GetHeartbeatDetails(ctx, &last) == nil &&
		len(last.Resume) > 0 && json.Unmarshal(last.Resume, &left) == nil {
		l.bytes = last.Resume
	}
	return context.WithValue(ctx, luggageKey{}, l), left, func(value T) {
		if bytes, err := json.Marshal(value); err == nil { // what cannot be carried is done again
			l.mu.Lock()
			defer l.mu.Unlock()
			l.bytes = bytes
		}
	}
}

func (l *luggage) packed() json.RawMessage {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bytes
}
