package activities

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/testsuite"
	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas/local"
	"github.com/flotilla-etcd/flotilla/objectstore"
	"github.com/flotilla-etcd/flotilla/pki"
)

// beats are the heartbeats that an activity sent.
type beats struct {
	mu  sync.Mutex
	all []fleet.StepBeat
}

func (b *beats) notes() (notes []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, beat := range b.all {
		notes = append(notes, beat.Note)
	}
	return notes
}

// as runs f as an activity and gives its heartbeats and its error.
func as(t *testing.T, f func(ctx context.Context) error) (*beats, error) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	seen := &beats{}
	env.SetOnActivityHeartbeatListener(func(_ *activity.Info, details converter.EncodedValues) {
		var b fleet.StepBeat
		if details.Get(&b) == nil {
			seen.mu.Lock()
			seen.all = append(seen.all, b)
			seen.mu.Unlock()
		}
	})
	env.RegisterActivityWithOptions(f, activity.RegisterOptions{Name: "f"})
	_, err := env.ExecuteActivity("f")
	return seen, err
}

func TestPollBeatsUntilItIsDone(t *testing.T) {
	n := 0
	seen, err := as(t, func(ctx context.Context) error {
		return poll(ctx, func(context.Context) (bool, int, string, error) {
			n++
			return n == 4, 25 * n, strings.Repeat("x", n), nil
		})
	})
	require.NoError(t, err)
	require.Equal(t, 4, n)
	// The environment passes on what the SDK would: the first at once, later ones batched.
	require.NotEmpty(t, seen.notes())
	require.Equal(t, "x", seen.all[0].Note)
	require.Equal(t, 25, *seen.all[0].Percent)
}

func TestPollAtItsPace(t *testing.T) {
	var usual []time.Duration
	began := time.Now()
	_, err := as(t, func(ctx context.Context) error {
		pace := func(u time.Duration) time.Duration { usual = append(usual, u); return 0 }
		return pollAt(ctx, pace, func(context.Context) (bool, int, string, error) { return len(usual) == 20, -1, "", nil })
	})
	require.NoError(t, err)
	require.Equal(t, []time.Duration{firstPoll, firstPoll * 3 / 2}, usual[:2])
	require.Equal(t, slowPoll, usual[19], "it grows to the slowest")
	require.Less(t, time.Since(began), slowPoll*5, "what is usual would have been waited for")
}

func TestPollEnds(t *testing.T) {
	wrong := fleet.Errorf(fleet.Lost, "host orders-1", "gone")
	_, err := as(t, func(ctx context.Context) error {
		got := poll(ctx, func(context.Context) (bool, int, string, error) { return false, -1, "", wrong })
		require.Equal(t, error(wrong), got, "with the first error")
		ctx, cancel := context.WithCancel(ctx)
		got = poll(ctx, func(context.Context) (bool, int, string, error) {
			cancel()
			return false, -1, "waiting", nil
		})
		require.ErrorIs(t, got, context.Canceled, "with the context")
		return nil
	})
	require.NoError(t, err)
}

func TestBusy(t *testing.T) {
	dir := t.TempDir()
	wrong := errors.New("damaged")
	seen, err := as(t, func(ctx context.Context) error {
		written, release := make(chan struct{}), make(chan struct{})
		measured := 0
		got := busy(ctx, "restoring", func() int64 {
			if measured++; measured == 1 {
				<-written
			} else if measured == 2 {
				close(release)
			}
			return sizeBelow(dir)
		}, func() error {
			err := os.WriteFile(filepath.Join(dir, "db"), make([]byte, 2<<20), 0o600)
			close(written)
			<-release
			return errors.Join(err, wrong)
		})
		require.ErrorIs(t, got, wrong, "its own error comes through")
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, "restoring, 2 MiB written", seen.notes()[0])
}

// What a cancelled restore works on is not taken from under it.
func TestBusyWaitsForWhatItRuns(t *testing.T) {
	_, err := as(t, func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		over := false
		got := busy(ctx, "restoring", func() int64 { return 0 }, func() error {
			cancel()
			<-ctx.Done()
			over = true
			return ctx.Err()
		})
		require.ErrorIs(t, got, context.Canceled)
		require.True(t, over)
		return nil
	})
	require.NoError(t, err)
}

func TestSizeBelow(t *testing.T) {
	dir := t.TempDir()
	require.Zero(t, sizeBelow(dir))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "a", "b"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a", "b", "c"), make([]byte, 100), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "d"), make([]byte, 11), 0o600))
	require.EqualValues(t, 111, sizeBelow(dir))
	require.Zero(t, sizeBelow(filepath.Join(dir, "gone")))
}

func TestProgressReader(t *testing.T) {
	data := bytes.Repeat([]byte("etcd"), 1<<20) // 4 MiB
	var told []int64
	r := &progressReader{from: bytes.NewReader(data), sum: sha256.New(), tell: func(n int64) { told = append(told, n) }}
	read, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, data, read)
	require.EqualValues(t, len(data), r.n)
	require.Equal(t, sha256.Sum256(data), [32]byte(r.sum.Sum(nil)))
	require.Positive(t, told[0], "it tells at once")
	require.LessOrEqual(t, len(told), 6, "and then about once a MiB")
	require.GreaterOrEqual(t, len(told), 4)
}

// region is one without any host.
func region(t *testing.T) Region {
	t.Helper()
	dir := t.TempDir()
	provider, err := local.Open(local.Config{Root: filepath.Join(dir, "local"), Region: "local-1"})
	require.NoError(t, err)
	store, err := objectstore.Open(t.Context(), "file://"+filepath.Join(dir, "objects"), objectstore.Options{})
	require.NoError(t, err)
	key, err := pki.GenerateFleetKey()
	require.NoError(t, err)
	catalogue := filepath.Join(dir, "releases.yaml")
	require.NoError(t, os.WriteFile(catalogue, []byte(`releases:
  - version: "3.7.3"
    artifacts:
      linux/amd64:
        url: https://example.com/etcd.tar.gz
        sha256: `+strings.Repeat("0", 64)+"\n"), 0o600))
	return Region{Provider: provider, Store: store, Key: key, Catalogue: catalogue, Scratch: dir, Log: zap.NewNop()}
}

func operation() fleet.Operation {
	return fleet.Operation{ID: "op", Kind: fleet.CreateCluster, Cluster: "orders", UID: "uid", Spec: fleet.Spec{
		Name: "orders", Provider: "local", Region: "local-1", Zones: []string{"a", "b", "c"}, Voters: 3,
		Etcd:    fleet.EtcdSpec{Version: "3.7.3"},
		Machine: fleet.MachineSpec{Type: "small", Disk: fleet.DiskSpec{Size: 20 * fleet.GiB, Category: "ssd"}},
	}.WithDefaults()}
}

func TestAuthorityIsMadeOnce(t *testing.T) {
	r := region(t)
	a := &Authorities{r}
	request := fleet.StepRequest{Operation: operation()}
	_, err := as(t, func(ctx context.Context) error {
		_, err := a.CreateAuthority(ctx, request)
		require.NoError(t, err)
		first, err := a.authority(ctx, "orders", "uid")
		require.NoError(t, err)
		reply, err := a.CreateAuthority(ctx, request)
		require.NoError(t, err)
		require.Equal(t, "was there already", reply.Note)
		second, err := a.authority(ctx, "orders", "uid")
		require.NoError(t, err)
		require.Equal(t, first.CertificatePEM(), second.CertificatePEM(), "the first one that was stored stays")
		for range 2 {
			_, err = a.DestroyAuthority(ctx, request)
			require.NoError(t, err)
		}
		_, err = a.authority(ctx, "orders", "uid")
		require.True(t, fleet.Is(err, fleet.NotFound))
		return nil
	})
	require.NoError(t, err)
}

func TestCertificateLimits(t *testing.T) {
	a := &Authorities{region(t)}
	_, err := as(t, func(ctx context.Context) error {
		for _, validity := range []time.Duration{0, -time.Hour, time.Second, 91 * 24 * time.Hour} {
			_, err := a.issue(ctx, fleet.CertificateRequest{Cluster: "orders", UID: "uid", Validity: fleet.Duration(validity)})
			require.True(t, fleet.Is(err, fleet.Invalid), "%s: %v", validity, err)
		}
		_, err := a.issue(ctx, fleet.CertificateRequest{Cluster: "orders", UID: "uid", Validity: fleet.Duration(time.Hour)})
		require.True(t, fleet.Is(err, fleet.NotFound), "%v", err)
		return nil
	})
	require.NoError(t, err)
}

func TestForecast(t *testing.T) {
	p := &Planner{region(t)}
	_, err := as(t, func(ctx context.Context) error {
		reply, err := p.Forecast(ctx, fleet.PlanRequest{Operation: operation()})
		require.NoError(t, err)
		require.Equal(t, []string{"3 × small", "3 × 20 GiB ssd"}, reply.Buys)
		require.NotEmpty(t, reply.Waves)
		require.Empty(t, reply.Problems)
		require.Empty(t, reply.Members)

		wrong := operation()
		wrong.Spec.Machine.Type, wrong.Spec.Zones, wrong.Spec.Etcd.Version = "huge", []string{"a", "x"}, "3.7.99"
		wrong.Spec.Machine.Disk.Category = "tape"
		reply, err = p.Forecast(ctx, fleet.PlanRequest{Operation: wrong})
		require.NoError(t, err)
		var paths []string
		for _, problem := range reply.Problems {
			paths = append(paths, problem.Path)
		}
		require.ElementsMatch(t, []string{"etcd.version", "zones[1]", "machine.type", "machine.disk.category"}, paths)
		return nil
	})
	require.NoError(t, err)
}

func TestMembersThatThereAre(t *testing.T) {
	tagged := func(member string) fleet.ObservedHost {
		return fleet.ObservedHost{Host: fleet.Host{Tags: map[string]string{fleet.TagMember: member}}}
	}
	require.Equal(t, []string{"db-a", "orders-1", "orders-4"}, memberNames(fleet.Observation{
		Members: []fleet.ObservedMember{{Name: "orders-1"}, {Name: "db-a"}, {}}, // one was never started
		Hosts:   []fleet.ObservedHost{tagged("orders-4"), tagged("orders-1"), tagged("")},
	}))
}

// A look at what cannot be created says so, and changes nothing.
func TestLookRefuses(t *testing.T) {
	p := &Planner{region(t)}
	wrong := operation()
	wrong.Spec.Machine.Type = "huge"
	_, err := as(t, func(ctx context.Context) error {
		look, err := p.Look(ctx, fleet.LookRequest{Operation: wrong})
		require.NoError(t, err)
		require.Equal(t, fleet.VerdictBlocked, look.Decision.Verdict)
		require.Equal(t, fleet.Invalid, look.Decision.Kind)
		require.Contains(t, look.Decision.Reason, "huge")
		require.True(t, look.Empty())
		encoded, err := json.Marshal(look)
		require.NoError(t, err)
		require.NotContains(t, string(encoded), "PRIVATE")
		return nil
	})
	require.NoError(t, err)
}
