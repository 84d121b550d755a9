package node

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
)

func TestExamineOnAHost(t *testing.T) {
	t.Parallel()
	h, c := newTestHost(t), newTestCluster(t, "3.7")
	c.ready(h, "orders-1")
	request := MemberRequest{Member: "orders-1"}
	_, err := do[fleet.DataReport](h, VerbExamine, request)
	require.Equal(t, fleet.NotFound, fleet.KindOf(err), "%v", err)
	must[fleet.MemberReport](h, VerbStart, c.startRequest(h, "orders-1"))
	h.awaitReady("orders-1")
	out, err := c.etcdctl(h, "put", "a", "1")
	require.NoError(t, err, out)
	_, err = do[fleet.DataReport](h, VerbExamine, request)
	require.Equal(t, fleet.Conflict, fleet.KindOf(err), "%v", err)

	must[fleet.MemberReport](h, VerbStop, request)
	r := must[fleet.DataReport](h, VerbExamine, request)
	require.Equal(t, "orders-1", r.Member)
	require.Equal(t, c.rel.Version, r.Version)
	require.Equal(t, int64(2), r.Revision)
	require.Equal(t, 1, r.Keys)
	require.Empty(t, r.Damage)
	require.Len(t, r.Voters(), 1)

	// A recovery takes its word as long as nobody has touched the data.
	n := &Node{Root: h.root}
	m, err := n.member("orders-1")
	require.NoError(t, err)
	require.Equal(t, r, n.examinedBefore(m))
	db := filepath.Join(h.root, "disks/disk-1/orders-1/data/member/snap/db")
	was, err := os.Stat(db)
	require.NoError(t, err)
	content, err := os.ReadFile(db)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(db, content, 0o600))
	require.NoError(t, os.Chtimes(db, was.ModTime(), was.ModTime()))
	require.Nil(t, n.examinedBefore(m), "it was written, and its time put back")
	require.Equal(t, r, must[fleet.DataReport](h, VerbExamine, request))
	require.NotNil(t, n.examinedBefore(m))

	require.NoError(t, os.Remove(db))
	require.Nil(t, n.examinedBefore(m))
	r = must[fleet.DataReport](h, VerbExamine, request)
	require.Equal(t, []string{"its store is damaged: there is none"}, r.Damage)
	_, err = do[fleet.DataReport](h, VerbExamine, MemberRequest{Member: "orders-9"})
	require.Equal(t, fleet.NotFound, fleet.KindOf(err), "%v", err)
}
