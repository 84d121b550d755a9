package judge

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
)

// Filler is a load of keys that nobody changes, so that a member has something to
// copy. It is no part of the history.
type Filler struct {
	// Bytes of values in all, of ValueBytes each (16 KiB).
	Bytes, ValueBytes int64
	// Parallel is how many puts are under way at once (8).
	Parallel int
	// Prefix of the keys ("filler/").
	Prefix string
	// Seed of the values.
	Seed uint64
	// Objects has values like those of Kubernetes, pods with names and identifiers of their
	// own, which a compressor makes several times smaller. It makes the others no smaller.
	// What is longer than ValueBytes is cut off.
	Objects bool
}

// fillTimeout ends a put of filler that gets no answer.
const fillTimeout = 10 * time.Second

// sampled is how many values Verify reads; it counts the keys of all.
const sampled = 64

func (f Filler) withDefaults() Filler {
	f.ValueBytes = cmp.Or(f.ValueBytes, 16<<10)
	f.Parallel = cmp.Or(f.Parallel, 8)
	f.Prefix = cmp.Or(f.Prefix, "filler/")
	return f
}

// Keys is how many there are.
func (f Filler) Keys() int64 {
	f = f.withDefaults()
	return (f.Bytes + f.ValueBytes - 1) / f.ValueBytes
}

func (f Filler) key(n int64) string { return fmt.Sprintf("%s%08d", f.Prefix, n) }

// value is what belongs to a key: noise, or objects made of it.
func (f Filler) value(n int64) []byte {
	var seed [32]byte
	copy(seed[:], fmt.Sprintf("%x/%x", f.Seed, n))
	value := make([]byte, f.ValueBytes)
	noise := rand.NewChaCha8(seed)
	if !f.Objects {
		_, _ = noise.Read(value) // it cannot fail
		return value
	}
	draw := rand.New(noise)
	for value = value[:0]; len(value) < int(f.ValueBytes); {
		value = append(value, object(draw)...)
	}
	return value[:f.ValueBytes]
}

// Fill writes a filler. A put without an answer is tried again: what it writes is
// the same.
func Fill(ctx context.Context, client *clientv3.Client, f Filler) error {
	f = f.withDefaults()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(f.Parallel)
	for n := range f.Keys() {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			value := string(f.value(n))
			for tries := 1; ; tries++ {
				timed, cancel := context.WithTimeout(ctx, fillTimeout)
				_, err := client.Put(timed, f.key(n), value)
				cancel()
				if err == nil {
					return nil
				}
				if tries == 5 || ctx.Err() != nil {
					return fmt.Errorf("filling the cluster, %s of %d: %w", f.key(n), f.Keys(), err)
				}
			}
		})
	}
	return group.Wait()
}

// Verify fails unless a filler is there: the number of its keys, and some values.
func (f Filler) Verify(ctx context.Context, client *clientv3.Client) error {
	f = f.withDefaults()
	reply, err := client.Get(ctx, f.Prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return fmt.Errorf("counting the filler: %w", err)
	}
	if reply.Count != f.Keys() {
		return fmt.Errorf("of the filler's %d keys %d are there", f.Keys(), reply.Count)
	}
	draw := rand.New(rand.NewPCG(f.Seed, 0))
	for range min(sampled, f.Keys()) {
		n := draw.Int64N(f.Keys())
		reply, err := client.Get(ctx, f.key(n))
		if err != nil {
			return fmt.Errorf("reading the filler: %w", err)
		}
		if len(reply.Kvs) != 1 || !bytes.Equal(reply.Kvs[0].Value, f.value(n)) {
			return fmt.Errorf("the filler's %s is not as it was written", f.key(n))
		}
	}
	return nil
}
