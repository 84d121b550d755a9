package endpoints_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/endpoints"
	"github.com/flotilla-etcd/flotilla/fleet"
)

func at(members ...int) []fleet.Endpoint {
	var all []fleet.Endpoint
	for _, n := range members {
		all = append(all, fleet.Endpoint{Member: fmt.Sprintf("orders-%d", n), Address: fmt.Sprintf("10.0.0.%d", n), ClientPort: 2379, PeerPort: 2380})
	}
	return all
}

func record(members ...int) fleet.Record {
	return fleet.Spec{Name: "orders", Clients: fleet.ClientsSpec{Record: "orders.example.com"}}.Record(at(members...))
}

func open(t *testing.T, location string) endpoints.Publisher {
	t.Helper()
	p, known, err := endpoints.Open(location)
	require.NoError(t, err)
	require.True(t, known)
	return p
}

// A file says who serves and no others, whoever reads it meanwhile, and is gone at last.
func TestDirectory(t *testing.T) {
	dir := t.TempDir()
	p, path := open(t, "file://"+dir), filepath.Join(dir, "orders.example.com.json")
	require.NoError(t, p.Publish(t.Context(), record(2, 10, 1)))
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.JSONEq(t, `{"cluster": "orders", "urls": ["https://10.0.0.1:2379", "https://10.0.0.2:2379", "https://10.0.0.10:2379"]}`, string(data))

	var readers sync.WaitGroup
	ctx, end := context.WithCancel(t.Context())
	for range 2 {
		readers.Go(func() {
			for ctx.Err() == nil {
				if data, err := os.ReadFile(path); err != nil || len(data) == 0 || data[len(data)-1] != '\n' {
					t.Errorf("read %q, %v while it was replaced", data, err)
					return
				}
			}
		})
	}
	for i := range 50 {
		require.NoError(t, p.Publish(t.Context(), record(1+i%3)))
	}
	end()
	readers.Wait()

	other := record(1)
	other.Cluster = "users"
	require.Equal(t, fleet.Conflict, fleet.KindOf(p.Publish(t.Context(), other)))
	require.NoError(t, p.Publish(t.Context(), record()))
	require.NoError(t, p.Publish(t.Context(), record()), "removing it again")
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

// A program is told the record, and what it says when it fails is said.
func TestCommand(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "publish")
	write := func(script string) {
		t.Helper()
		require.NoError(t, os.WriteFile(program, []byte("#!/bin/sh\n"+script), 0o755))
	}
	p := open(t, "exec://"+program)
	require.Equal(t, fleet.Invalid, fleet.KindOf(p.Publish(t.Context(), record(1))), "it is not there")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	write(`cat >"$0.told"; echo "$AWS_SECRET_ACCESS_KEY" >"$0.env"`)
	require.NoError(t, p.Publish(t.Context(), record(1)))
	told, err := os.ReadFile(program + ".told")
	require.NoError(t, err)
	require.JSONEq(t, `{"cluster": "orders", "name": "orders.example.com", "ttl": "30s",
		"endpoints": [{"member": "orders-1", "address": "10.0.0.1", "clientPort": 2379, "peerPort": 2380}]}`, string(told))
	env, err := os.ReadFile(program + ".env")
	require.NoError(t, err)
	require.Equal(t, "\n", string(env), "the worker's credentials are not the program's")
	write("cat >/dev/null; echo the zone is locked; exit 3")
	err = p.Publish(t.Context(), record(1))
	require.Equal(t, fleet.Unavailable, fleet.KindOf(err))
	require.ErrorContains(t, err, "the zone is locked")
}

func TestOpen(t *testing.T) {
	_, known, _ := endpoints.Open("route53://Z1")
	require.False(t, known)
	for _, location := range []string{"file://host/dir", "exec://relative", "file:///dir?x=1"} {
		_, known, err := endpoints.Open(location)
		require.True(t, known)
		require.Equal(t, fleet.Invalid, fleet.KindOf(err), "%s: %v", location, err)
	}
}
