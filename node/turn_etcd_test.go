package node

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// Three members that had stopped are asked to start at once, each in its turn. None waits
// for another's comparison, and the one whose data was damaged meanwhile does not serve; or
// the others do not beside it, until it is stopped.
// A member of 3.5 knows none of its peers that early, as long as it has no raft snapshot.
func TestMembersStartInTurn(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("three members on the same ports need three loopback addresses")
	}
	for minor, damaged := range map[string]int{"3.6": 2, "3.7": 0} {
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			c := newTestCluster(t, minor)
			hosts := []*testHost{newTestHost(t), newTestHost(t), newTestHost(t)}
			var places []Peer
			for i, h := range hosts {
				c.ready(h, nameOf(i))
				places = append(places, peerOf(h, nameOf(i)))
			}
			start := func() error {
				var all sync.WaitGroup
				failures := make([]error, len(hosts))
				for i, h := range hosts {
					all.Go(func() {
						req := c.startRequest(h, nameOf(i), places...)
						req.After = places[:i]
						_, err := do[fleet.MemberReport](h, VerbStart, req)
						failures[i] = err
					})
				}
				all.Wait()
				return errors.Join(failures...)
			}
			stop := func() {
				for i, h := range hosts {
					must[fleet.MemberReport](h, VerbStop, MemberRequest{Member: nameOf(i)})
				}
			}
			require.NoError(t, start())
			for i, h := range hosts {
				h.awaitReady(nameOf(i))
			}
			_, err := c.client(hosts...).Put(t.Context(), "key", "value")
			require.NoError(t, err)
			stop()

			logs := func(i int) string {
				text, err := os.ReadFile(filepath.Join(hosts[i].root, "var/log/flotilla", nameOf(i)+".log"))
				require.NoError(t, err)
				return string(text)
			}
			require.NoError(t, start())
			for i, h := range hosts {
				h.awaitReady(nameOf(i))
				require.Contains(t, logs(i), "initial corruption checking passed")
				require.NotContains(t, logs(i), "context deadline exceeded", "it waited for a peer that was starting")
			}
			stop()

			damage(t, filepath.Join(hosts[damaged].root, "disks/disk-1"))
			_ = start() // whoever ends may do so at once
			refused := func(i int) {
				require.Eventually(t, func() bool { return hosts[i].report(nameOf(i)).Restarts > 0 }, time.Minute, 50*time.Millisecond, "%s ends", nameOf(i))
				require.Contains(t, logs(i), "found data inconsistency with peers")
				require.False(t, hosts[i].report(nameOf(i)).Ready)
			}
			if damaged == 0 { // it serves its peers first, and they differ from it
				refused(1)
				refused(2)
				must[fleet.MemberReport](hosts[0], VerbStop, MemberRequest{Member: nameOf(0)})
			} else {
				refused(damaged)
			}
			for i, h := range hosts {
				if i != damaged {
					h.awaitReady(nameOf(i))
				}
			}
		})
	}
}

// damage changes a value in a store below a directory, as no checksum notices.
func damage(t *testing.T, dir string) {
	t.Helper()
	var stores []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Name() == "db" {
			stores = append(stores, path)
		}
		return err
	}))
	require.Len(t, stores, 1)
	db, err := bolt.Open(stores[0], 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(func(tx *bolt.Tx) error {
		keys := tx.Bucket([]byte("key"))
		name, value := keys.Cursor().Last()
		value = append([]byte{}, value...)
		for i := range value {
			if string(value[i:min(i+5, len(value))]) == "value" {
				value[i] = 'w'
			}
		}
		return keys.Put(append([]byte{}, name...), value)
	}))
	require.NoError(t, db.Close())
}
