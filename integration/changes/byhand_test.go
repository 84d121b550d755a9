package changes

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/integration/harness"
)

// secondWay gives the commands of docs/recovery.md that put a copy of a disk back by hand, and
// the recovery behind them, as they stand there.
func secondWay(t *testing.T) (shell []string, recovery []string) {
	t.Helper()
	page, err := os.ReadFile("../../docs/recovery.md")
	require.NoError(t, err)
	found := regexp.MustCompile("(?s)\n  ```\n(  mv /disks/.*?)  ```\n").FindStringSubmatch(string(page))
	require.NotNil(t, found, "recovery.md has no commands that begin with mv /disks/")
	for line := range strings.Lines(found[1]) {
		line = strings.TrimSpace(line)
		if command, is := strings.CutPrefix(line, "flotilla "); is {
			recovery = strings.Fields(command)
			continue
		}
		shell = append(shell, line)
	}
	require.Len(t, shell, 2)
	require.NotEmpty(t, recovery)
	return shell, recovery
}

// TestCopyIsPutBackByHand has a cluster whose members' data is spoiled, one after the other,
// come back by the second way of docs/recovery.md, in the commands of the page: a copy of the
// disk of one of them, that a recovery asked for before it was rejected, takes the place of
// what was spoiled.
func TestCopyIsPutBackByHand(t *testing.T) {
	abreast(t)
	shell, recovery := secondWay(t)
	e := harness.Start(t)
	e.StartWorker("flotilla-worker")
	spec := small("orders", 3, newer)
	e.Create(spec)
	hosts, err := e.HostsOf(t.Context(), spec.Name)
	require.NoError(t, err)
	first := slices.IndexFunc(hosts, func(h fleet.Host) bool { return h.Member() == "orders-1" })
	acknowledged := writeWhile(t, e, spec.Name, "orders-1", func() {})
	for _, h := range hosts {
		if h.Member() != "orders-1" {
			require.NoError(t, e.StopMember(t.Context(), h))
			spoilStore(t, storeOf(t, e, spec.Name, h.Member()))
		}
	}
	answer := e.CLI("recover", spec.Name, "--yes")
	require.Equal(t, 5, answer.Code, "it waits for approval: %s %s", answer.Out, answer.Err)
	answer = e.CLI("reject", spec.Name, "--why", "we look at the disks first")
	require.Zero(t, answer.Code, answer.Err)
	_, err = e.Settled(spec.Name)
	require.NoError(t, err)
	spoilStore(t, storeOf(t, e, spec.Name, "orders-1"))

	// The disk that is made of the copy, where the page has aws ec2 create-volume.
	copies, err := e.Provider.ListDiskSnapshots(t.Context(), iaas.Tags{fleet.TagCluster: spec.Name, fleet.TagMember: "orders-1"})
	require.NoError(t, err)
	require.Len(t, copies, 1)
	disk, err := e.Provider.CreateDisk(t.Context(), iaas.CreateDiskRequest{
		Token: "copy", Name: "copy", Zone: hosts[first].Zone, Size: copies[0].Size, Category: "ssd", SnapshotID: copies[0].ID,
	})
	require.NoError(t, err)
	own, err := e.Provider.ListDisks(t.Context(), iaas.Tags{fleet.TagCluster: spec.Name, fleet.TagMember: "orders-1"})
	require.NoError(t, err)
	require.Len(t, own, 1)
	for _, line := range shell {
		line = strings.NewReplacer( // the root of that host, and its disks
			"/disks/vol-…", filepath.Join(e.Dir, "local/hosts", hosts[first].ID, "fs/disks", own[0].ID),
			"/mnt/", filepath.Join(e.Dir, "local/disks", disk.ID, "data")+"/",
		).Replace(line)
		out, err := exec.CommandContext(t.Context(), "sh", "-c", line).CombinedOutput()
		require.NoError(t, err, "%s: %s", line, out)
	}
	require.NoError(t, e.Provider.DeleteDisk(t.Context(), disk.ID))

	answer = e.CLI(append(recovery, "--yes")...)
	require.Equal(t, 5, answer.Code, "it asks as always: %s %s", answer.Out, answer.Err)
	require.Contains(t, answer.Out+answer.Err, "orders-1 becomes a cluster of one")
	answer = e.CLI("approve", spec.Name)
	require.Zero(t, answer.Code, answer.Err)
	answer = e.CLI("watch", spec.Name)
	require.Zero(t, answer.Code, "%s %s", answer.Out, answer.Err)

	require.NoError(t, e.Stands(t.Context(), spec.Name))
	hasAll(t, e, spec.Name, acknowledged)
	e.Decommission(spec.Name, fleet.Options{})
	e.ExpectNothingLeft()
}

// spoilStore overwrites what a member has its keys in, so that no etcd starts from it.
func spoilStore(t *testing.T, store string) {
	t.Helper()
	info, err := os.Stat(store)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(store, make([]byte, info.Size()), info.Mode()))
}
