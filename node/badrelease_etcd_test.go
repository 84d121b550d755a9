package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// badRelease is a release whose etcd says its version and is good for nothing else.
func badRelease(t *testing.T, version, script string) InstallRequest {
	t.Helper()
	const top = "etcd-v3.7.99-linux-amd64"
	archive := pack(t, []entry{
		{name: top + "/etcd", body: "#!/bin/sh\n[ \"$1\" = --version ] && echo etcd Version: " + version + " && exit 0\n" + script},
		{name: top + "/etcdctl", body: "ctl"},
		{name: top + "/etcdutl", body: "utl"},
	})
	return InstallRequest{Version: version, URL: saved(t, archive), SHA256: hashOf(archive)}
}

// TestBadReleases upgrades a member that serves to releases that do not, and back.
func TestBadReleases(t *testing.T) {
	t.Parallel()
	h, c := newTestHost(t), newTestCluster(t, "3.7")
	good := c.running(h, "orders-1")
	req := c.startRequest(h, "orders-1")
	run := func(version, script string) error {
		t.Helper()
		must[InstallResult](h, VerbInstall, badRelease(t, version, script))
		bad := req
		bad.Version, bad.Generation = version, "op-"+version
		_, err := do[fleet.MemberReport](h, VerbStart, bad)
		return err
	}
	reported := func(what string, is func(r *fleet.MemberReport) bool) *fleet.MemberReport {
		t.Helper()
		var r *fleet.MemberReport
		require.Eventually(t, func() bool { r = h.report("orders-1"); return is(r) }, time.Minute, 20*time.Millisecond, what)
		require.False(t, r.Ready)
		return r
	}
	const words = `echo '{"level":"info","msg":"starting"}' >&2; echo '{"level":"fatal","msg":"cannot read","error":"a comet"}' >&2; `

	err := run("3.7.97", words+"exit 1")
	require.ErrorContains(t, err, "etcd ended right after its start: exit status 1: cannot read: a comet")
	r := reported("it crashes again and again", func(r *fleet.MemberReport) bool { return r.State == fleet.MemberRestarting })
	require.Equal(t, "exit status 1: cannot read: a comet", r.LastExit)
	require.Equal(t, "3.7.97", r.Configured.Version)
	require.Equal(t, good.MinorSince, r.MinorSince)

	// It lives for long enough to count as started.
	require.NoError(t, run("3.7.98", "sleep 2; "+words+"exit 3"))
	// For a moment it has ended, and the supervisor has not yet said how.
	r = reported("it crashed", func(r *fleet.MemberReport) bool { return r.State == fleet.MemberRestarting && r.LastExit != "" })
	require.Equal(t, "exit status 3: cannot read: a comet", r.LastExit)
	r = reported("it was started again", func(r *fleet.MemberReport) bool { return r.State == fleet.MemberRunning })
	require.Contains(t, r.NotReady, "does not listen on")
	require.Contains(t, r.NotReady, "started again after it ended: exit status 3: cannot read: a comet")

	require.NoError(t, run("3.7.99", "exec sleep 1000"))
	r = reported("it hangs", func(r *fleet.MemberReport) bool { return r.State == fleet.MemberRunning })
	require.Equal(t, "etcd runs, but does not listen on "+h.address+":2379 yet", r.NotReady)
	require.Equal(t, "op-3.7.99", r.Configured.Generation)

	must[fleet.MemberReport](h, VerbStart, req)
	r = h.awaitReady("orders-1")
	require.Empty(t, r.LastExit)
	require.Equal(t, c.rel.Version, r.Version)
}
