package local

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// A state file that cannot be understood is a sentence for a person, never a
// panic, and never "there is none", which would buy the resource again.
func TestDamagedState(t *testing.T) {
	p := newProvider(t)
	h := running(t, p, "one")
	d, err := p.CreateDisk(t.Context(), createRequest("one"))
	require.NoError(t, err)

	files := map[string]struct {
		path  string
		calls map[string]func() error
	}{
		"host": {p.hostRecordPath(h.ID), map[string]func() error{
			"Host":          func() error { _, err := p.Host(t.Context(), h.ID); return err },
			"ListHosts":     func() error { _, err := p.ListHosts(t.Context(), nil); return err },
			"LaunchHost":    func() error { _, err := p.LaunchHost(t.Context(), launchRequest("one")); return err },
			"launch other":  func() error { _, err := p.LaunchHost(t.Context(), launchRequest("two")); return err },
			"StopHost":      func() error { return p.StopHost(t.Context(), h.ID) },
			"TerminateHost": func() error { return p.TerminateHost(t.Context(), h.ID) },
			"RunCommand":    func() error { _, err := p.RunCommand(t.Context(), command(h.ID, "x", "true")); return err },
			"AttachDisk":    func() error { return p.AttachDisk(t.Context(), d.ID, h.ID) },
		}},
		"disk": {p.diskRecordPath(d.ID), map[string]func() error{
			"Disk":       func() error { _, err := p.Disk(t.Context(), d.ID); return err },
			"ListDisks":  func() error { _, err := p.ListDisks(t.Context(), nil); return err },
			"CreateDisk": func() error { _, err := p.CreateDisk(t.Context(), createRequest("one")); return err },
			"GrowDisk":   func() error { return p.GrowDisk(t.Context(), d.ID, fleet.TiB) },
			"DeleteDisk": func() error { return p.DeleteDisk(t.Context(), d.ID) },
		}},
		"faults": {p.faultsPath(), map[string]func() error{
			"Zones":      func() error { _, err := p.Zones(t.Context()); return err },
			"ListFaults": func() error { _, err := p.ListFaults(t.Context()); return err },
		}},
	}
	for name, f := range files {
		whole, err := os.ReadFile(f.path)
		if name == "faults" {
			whole = []byte("{}")
		} else {
			require.NoError(t, err)
		}
		damages := map[string]string{
			"empty":   "",
			"cut":     string(whole[:len(whole)/2]),
			"garbage": "\x00\x01\x02",
			"a list":  "[]",
		}
		if name != "faults" {
			damages["nothing in it"] = "{}"
			damages["another format"] = strings.Replace(string(whole), `"format": 1`, `"format": 2`, 1)
			damages["another one's"] = strings.Replace(string(whole), `-`, `-f`, 1)
		}
		for damage, text := range damages {
			require.NoError(t, os.WriteFile(f.path, []byte(text), 0o600))
			for call, do := range f.calls {
				what := fmt.Sprintf("%s with its file %s: %s", name, damage, call)
				err := do()
				require.Equal(t, fleet.Denied, fleet.KindOf(err), "%s: %v", what, err)
				require.ErrorContains(t, err, f.path, what)
				require.NotContains(t, err.Error(), "\n", what)
			}
		}
		require.NoError(t, os.WriteFile(f.path, whole, 0o600))
		for call, do := range f.calls {
			if strings.HasPrefix(call, "List") {
				require.NoError(t, do(), "%s: whole again", name)
			}
		}
	}
}

// A root that went away, unmounted perhaps, does not say that hosts are gone.
func TestAbsentRootSaysNothing(t *testing.T) {
	p := newProvider(t)
	h := running(t, p, "one")
	hidden := p.root + "-hidden"
	require.NoError(t, os.Rename(p.root, hidden))
	_, err := p.Host(t.Context(), h.ID)
	require.Equal(t, fleet.Unavailable, fleet.KindOf(err), "%v", err)
	_, err = p.ListHosts(t.Context(), nil)
	require.Equal(t, fleet.Unavailable, fleet.KindOf(err), "%v", err)
	require.Equal(t, fleet.Unavailable, fleet.KindOf(p.TerminateHost(t.Context(), h.ID)))
	require.NoError(t, os.Rename(hidden, p.root))
	await(t, p, h.ID, fleet.HostRunning)
}

func TestOpenRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for name, c := range map[string]struct {
		cfg  Config
		kind fleet.Kind
	}{
		"no root":                {Config{}, fleet.Invalid},
		"a root that is a file":  {Config{Root: file}, fleet.Denied},
		"no such node":           {Config{Root: t.TempDir(), NodeBinary: "/no/such/file"}, fleet.Invalid},
		"a node of no execution": {Config{Root: t.TempDir(), NodeBinary: file}, fleet.Invalid},
	} {
		_, err := Open(c.cfg)
		require.Equal(t, c.kind, fleet.KindOf(err), "%s: %v", name, err)
	}
}

// Without a flotilla-node one can look and tell faults, and the host says why it
// does not boot.
func TestNoNodeBinary(t *testing.T) {
	p := newProvider(t, func(c *Config) { c.NodeBinary = "" })
	h, err := p.LaunchHost(t.Context(), launchRequest("one"))
	require.NoError(t, err)
	require.Equal(t, fleet.HostPending, h.State)
	require.Contains(t, h.Reason, "flotilla-node")
	other := opened(t, p.root)
	await(t, other, h.ID, fleet.HostRunning)
}

// Several providers on one root sell from one stock: addresses are unique and
// limits hold.
func TestSeveralProvidersOnOneRoot(t *testing.T) {
	t.Parallel()
	const providers, wanted, sold = 4, 6, 5
	first := newProvider(t, func(c *Config) { c.OneAddress = true })
	require.NoError(t, first.SetCapacity(t.Context(), "a", AnyType, sold))
	var (
		mu     sync.Mutex
		places = map[string]string{}
		wg     sync.WaitGroup
	)
	for range providers {
		p := opened(t, first.root, func(c *Config) { c.OneAddress = true })
		wg.Go(func() {
			for i := range wanted {
				h, err := p.LaunchHost(t.Context(), launchRequest(fmt.Sprintf("m%d", i)))
				if fleet.Is(err, fleet.OutOfCapacity) {
					continue
				}
				if err != nil {
					t.Error(err)
					continue
				}
				mu.Lock()
				places[fmt.Sprintf("%s:%d", h.Address, h.Ports.First)] = h.ID
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	require.Len(t, places, sold, "each host has a place of its own")
	hosts, err := first.ListHosts(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, hosts, sold)
	for _, h := range hosts {
		await(t, first, h.ID, fleet.HostRunning)
	}
}

func TestPlaces(t *testing.T) {
	for range 1000 {
		a := randomAddress()
		var parts [4]int
		_, err := fmt.Sscanf(a, "%d.%d.%d.%d", &parts[0], &parts[1], &parts[2], &parts[3])
		require.NoError(t, err)
		require.Equal(t, 127, parts[0], a)
		require.GreaterOrEqual(t, parts[1], 16, a)
		require.LessOrEqual(t, parts[1], 254, a)
	}
	ports := func(first int) fleet.PortRange { return fleet.PortRange{First: first, Count: 100} }
	others := []hostRecord{
		{Host: fleet.Host{Address: "127.0.0.1", Ports: ports(20000), State: fleet.HostStopped}},
		{Host: fleet.Host{Address: "127.0.0.1", Ports: ports(20200), State: fleet.HostTerminated}},
	}
	require.True(t, taken(others, "127.0.0.1", ports(20000)))
	require.True(t, taken(others, "127.0.0.1", ports(20099)))
	require.False(t, taken(others, "127.0.0.1", ports(20100)))
	require.False(t, taken(others, "127.0.0.1", ports(20200)), "what has ended has given its place back")
	require.False(t, taken(others, "127.0.0.2", ports(20000)))
}
