package node

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/node/service"
)

// Report says how the host and every member on it stands. It changes nothing,
// needs no lock, and answers within seconds whatever the members do.
func (n *Node) Report(ctx context.Context) (*fleet.HostReport, error) {
	entries, err := os.ReadDir(n.membersDir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, onHost("host", err)
	}
	var members []member
	for _, e := range entries {
		m, err := n.member(e.Name())
		if fleet.Is(err, fleet.NotFound) || fleet.Is(err, fleet.Invalid) {
			continue // being made or wiped, or not ours
		}
		if err != nil {
			return nil, err // rather none than a list that lacks one
		}
		members = append(members, m)
	}
	report := &fleet.HostReport{
		NodeVersion: n.Version,
		Platform:    Platform(),
		Releases:    n.releases(),
		Members:     make([]fleet.MemberReport, len(members)),
	}
	var all sync.WaitGroup
	for i, m := range members {
		all.Go(func() { report.Members[i] = *n.reportOn(ctx, m) })
	}
	all.Wait()
	slices.SortFunc(report.Members, func(a, b fleet.MemberReport) int { return strings.Compare(a.Name, b.Name) })
	return report, nil
}

// reportOn says how one member stands. What cannot be found out is left out, and
// NotReady says so where it matters.
func (n *Node) reportOn(ctx context.Context, m member) *fleet.MemberReport {
	r := &fleet.MemberReport{
		Name: m.Member, Cluster: m.Cluster, UID: m.UID, DiskID: m.DiskID,
		State: fleet.MemberPrepared,
	}
	n.data(m, r)
	s, err := n.Services.Status(ctx, m.Member)
	if err != nil {
		r.NotReady = "its process cannot be looked at: " + err.Error()
		return r
	}
	n.trust(m, s, r)
	r.PID, r.Restarts = s.PID, s.Restarts
	if s.LastExit != "" {
		r.LastExit = exitInWords(s)
	}
	switch {
	case !s.Installed || m.Start == nil:
		r.NotReady = "it was never started"
		switch {
		case m.Adopting != "" && !n.begun(m):
			r.NotReady = "its data is in " + m.Adopting + " and not taken over yet"
		case r.Configured != nil:
			r.NotReady += " on this host"
		}
	case !s.Wanted && !s.Running:
		r.State = fleet.MemberStopped
		r.NotReady = "it is stopped"
	case !s.Running:
		r.State = fleet.MemberRestarting
		r.NotReady = "etcd does not run and is about to be started again"
		if r.LastExit != "" {
			r.NotReady += "; it ended: " + r.LastExit
		}
	default:
		r.State = fleet.MemberRunning
		r.Up = fleet.Duration(s.Began.Until(service.Now()))
		if version := n.releaseOf(s.PID); version != "" {
			r.Version = version
		}
		n.probe(ctx, m, r)
		if !r.Ready && r.LastExit != "" {
			r.NotReady += "; it was started again after it ended: " + r.LastExit
		}
	}
	return r
}

// data fills in what a report says of a member's disk and what is on it.
func (n *Node) data(m member, r *fleet.MemberReport) {
	if m.Start != nil {
		config := m.Start.config()
		r.Configured = &config
		r.ClientPort, r.PeerPort = m.Start.ClientPort, m.Start.PeerPort
	}
	last, err := n.lastRun(m)
	if err == nil && last != nil {
		r.Configured, r.MinorSince = &last.MemberConfig, last.MinorSince
		for _, s := range n.raftSnapshots(m) {
			r.RaftSnapshot = s.index
			if r.MinorSnapshot == 0 && last.since(s) {
				r.MinorSnapshot = s.index
			}
		}
	}
	if r.Configured != nil {
		r.Version = r.Configured.Version
	}
	if s, err := n.diskSpace(m.DiskID); err == nil {
		r.DiskSize, r.DiskUsed, r.DiskFree = s.size, s.used, s.free
	}
	if info, err := os.Stat(filepath.Join(m.dataDir(n), "member/snap/db")); err == nil {
		r.DBSize = fleet.Bytes(info.Size())
	}
	if done, err := n.recoveredBy(m); err == nil {
		r.Recovered = done.Token
	}
	if done, err := n.restoredBy(m); err == nil && done != nil {
		r.Restored = &done.Restored
	}
	for _, dir := range n.setAside(m) {
		r.SetAside += allocated(dir)
	}
}

// releaseOf gives the release that a process runs, where the platform shows its
// program; it may be another than the member is to run, until that is started.
func (n *Node) releaseOf(pid int) string {
	program, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "exe"))
	if err != nil {
		return ""
	}
	if version := filepath.Base(filepath.Dir(program)); releaseVersion.MatchString(version) {
		return version
	}
	return ""
}
