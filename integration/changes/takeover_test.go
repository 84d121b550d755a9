package changes

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/flotilla-etcd/flotilla/integration/harness"
)

// follow gives what a record says now; nothing if there is none.
func follow(t *testing.T, path string) []string {
	t.Helper()
	urls, err := recorded(path)
	require.NoError(t, err)
	return urls
}

func recorded(path string) ([]string, error) {
	data, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var said struct {
		URLs []string `json:"urls"`
	}
	return said.URLs, json.Unmarshal(data, &said)
}

// writesAgain has a client follow a record until a write is acknowledged, and gives what
// the record said then.
func writesAgain(t *testing.T, a *harness.Access, record string) (said []string) {
	t.Helper()
	for until := time.Now().Add(harness.Patience); ; {
		if now := follow(t, record); !slices.Equal(now, said) {
			said = now
			a.SetEndpoints(now...)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := a.Put(ctx, "taken over", "by the standby")
		cancel()
		if err == nil {
			return said
		}
		require.True(t, time.Now().Before(until), "a client that follows the record writes again: %v", err)
	}
}

// lostAtTheEnd counts the acknowledged writes that a cluster does not have. What a learner
// has is the beginning of the log: of each writer, only its last writes may be lost, and
// not all of them.
func lostAtTheEnd(t *testing.T, a *harness.Access, acknowledged []string) (lost int) {
	t.Helper()
	there, err := a.Get(t.Context(), "k/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	require.NoError(t, err)
	keys := map[string]bool{}
	for _, kv := range there.Kvs {
		keys[string(kv.Key)] = true
	}
	gone := map[string]bool{}
	for _, key := range acknowledged { // in the order in which each writer wrote
		writer := filepath.Dir(key)
		require.False(t, gone[writer] && keys[key], "%s is there, and one before it is lost", key)
		if !keys[key] {
			gone[writer] = true
			lost++
		}
	}
	require.Less(t, lost, len(acknowledged))
	return lost
}

// oldSide is a client that goes on writing to voters whose cluster went on without them.
type oldSide struct {
	stop  context.CancelFunc
	ended sync.WaitGroup
	mu    sync.Mutex
	tries int
	heard int // of the tries, those that were acknowledged
}

// writeToOldSide begins to write to the former voters, and is not to be heard: they are
// told that they were removed as soon as they begin, long before they can elect anybody;
// on a machine that is starved it may be the other way round, once.
func writeToOldSide(t *testing.T, late *harness.Access, old []string) *oldSide {
	late.SetEndpoints(old...)
	ctx, stop := context.WithCancel(t.Context())
	o := &oldSide{stop: stop}
	back := time.Now()
	o.ended.Go(func() {
		for ctx.Err() == nil {
			try, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
			_, err := late.Put(try, "late", "v")
			cancel()
			o.mu.Lock()
			o.tries++
			if err == nil {
				o.heard++
				if time.Since(back) > 20*time.Second {
					t.Error("voters of the old side go on acknowledging writes")
				}
			}
			o.mu.Unlock()
		}
	})
	return o
}

func (o *oldSide) tried() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.tries
}

// end ends it, and expects that what it wrote is in no cluster.
func (o *oldSide) end(t *testing.T, a *harness.Access) {
	t.Helper()
	o.stop()
	o.ended.Wait()
	t.Logf("of %d writes to the old side, it acknowledged %d", o.tries, o.heard)
	require.NotZero(t, o.tries)
	require.Less(t, o.heard, max(o.tries/2, 1))
	stale, err := a.Get(t.Context(), "late")
	require.NoError(t, err)
	require.Zero(t, stale.Count, "what the old side took is not in the cluster")
}
