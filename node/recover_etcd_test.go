package node

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// Two of three members end in the middle of writes, with their disks. The third, which
// led, becomes a cluster of one with all that it had acknowledged.
func TestRecover(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("three members on the same ports need three loopback addresses")
	}
	for _, minor := range []string{"3.5", "3.6", "3.7"} {
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			c := newTestCluster(t, minor)
			hosts := []*testHost{newTestHost(t), newTestHost(t), newTestHost(t)}
			var initial []Peer
			for i, h := range hosts {
				c.ready(h, nameOf(i))
				initial = append(initial, peerOf(h, nameOf(i)))
			}
			for i, h := range hosts {
				must[fleet.MemberReport](h, VerbStart, c.startRequest(h, nameOf(i), initial...))
			}
			for i, h := range hosts {
				h.awaitReady(nameOf(i))
			}
			client, endpoint := c.client(hosts...), func(h *testHost) string { return "https://" + net.JoinHostPort(h.address, "2379") }
			leader := -1
			for i, h := range hosts {
				s, err := client.Status(t.Context(), endpoint(h))
				require.NoError(t, err)
				if s.Leader == s.Header.MemberId {
					leader = i
				}
			}
			require.NotEqual(t, -1, leader)
			survivor, name := hosts[leader], nameOf(leader)
			request := MemberRequest{Member: name}

			acknowledged := writeUntilKilled(t, c.client(survivor), func() {
				for i, h := range hosts {
					if i != leader {
						pid := h.report(nameOf(i)).PID
						h.end(syscall.SIGKILL) // or it starts them again
						require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
						require.NoError(t, os.RemoveAll(filepath.Join(h.root, "disks/disk-1")))
					}
				}
			})
			recover := RecoverRequest{Token: "op-1/recover", Start: c.startRequest(survivor, name)}
			_, err := do[RecoverResult](survivor, VerbRecover, recover)
			require.Equal(t, fleet.Conflict, fleet.KindOf(err), "it runs: %v", err)
			must[fleet.MemberReport](survivor, VerbStop, request)
			before := must[fleet.DataReport](survivor, VerbExamine, request)
			require.Empty(t, before.Damage)
			require.Len(t, before.Voters(), 3)

			// Killed at some moment, and asked again.
			killed := survivor.shell(VerbRecover, recover)
			require.NoError(t, killed.Start())
			time.Sleep(time.Duration(150+250*leader) * time.Millisecond)
			_ = killed.Process.Kill() // it may have ended
			_ = killed.Wait()
			r := must[RecoverResult](survivor, VerbRecover, recover)
			require.Equal(t, before.Last, r.Before.Last)
			require.Len(t, r.After.Voters(), 1)
			require.GreaterOrEqual(t, r.After.Applied.Index, before.Last.Index)
			require.DirExists(t, r.Kept)
			require.Equal(t, recover.Token, survivor.report(name).Recovered)
			require.Equal(t, r, must[RecoverResult](survivor, VerbRecover, recover), "the same token is the same recovery")

			must[fleet.MemberReport](survivor, VerbStart, c.startRequest(survivor, name, initial...))
			survivor.awaitReady(name)
			members, err := client.MemberList(t.Context())
			require.NoError(t, err)
			require.Len(t, members.Members, 1)
			all, err := client.Get(t.Context(), "k/", clientv3.WithPrefix())
			require.NoError(t, err)
			there := map[string]bool{}
			for _, kv := range all.Kvs {
				there[string(kv.Key)] = true
			}
			require.NotEmpty(t, acknowledged)
			for _, key := range acknowledged {
				require.True(t, there[key], "%s was acknowledged and is gone", key)
			}
			_, err = client.Put(t.Context(), "after", "1")
			require.NoError(t, err)
		})
	}
}

func nameOf(i int) string { return fmt.Sprintf("orders-%d", i+1) }

// client gives a client of the members on some hosts.
func (c *testCluster) client(hosts ...*testHost) *clientv3.Client {
	c.t.Helper()
	config, err := c.ca.ClientTLS("tester", time.Now())
	require.NoError(c.t, err)
	var endpoints []string
	for _, h := range hosts {
		endpoints = append(endpoints, "https://"+net.JoinHostPort(h.address, "2379"))
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints, TLS: config, Logger: zap.NewNop()})
	require.NoError(c.t, err)
	c.t.Cleanup(func() { _ = client.Close() })
	return client
}

// writeUntilKilled writes from several clients at once until kill has done its work, and
// gives the keys whose writes were acknowledged.
func writeUntilKilled(t *testing.T, client *clientv3.Client, kill func()) []string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var writers sync.WaitGroup
	var mu sync.Mutex
	var acknowledged []string
	enough := make(chan struct{})
	for w := range 8 {
		writers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				key := fmt.Sprintf("k/%d/%d", w, i)
				if _, err := client.Put(ctx, key, "v"); err != nil {
					return
				}
				mu.Lock()
				acknowledged = append(acknowledged, key)
				if len(acknowledged) == 300 {
					close(enough)
				}
				mu.Unlock()
			}
		})
	}
	<-enough
	kill()
	cancel()
	writers.Wait()
	return acknowledged
}
