package main

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter"
	"github.com/flotilla-etcd/flotilla/starter/terminal"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// resultText says what came of an operation, and what to do next.
func resultText(o terminal.Output, ref starter.Ref, r workflows.OperationResult) string {
	took := ""
	if p := r.Progress; !p.Ended.IsZero() {
		took = " · took " + terminal.Elapsed(p.Ended.Sub(p.Started))
	}
	var b strings.Builder
	name := o.Paint(terminal.Bold, ref.Cluster)
	switch ref.Kind {
	case fleet.DecommissionCluster:
		fmt.Fprintf(&b, "%s is gone%s\n", name, took)
	case fleet.StopCluster:
		fmt.Fprintf(&b, "%s is stopped; its disks are kept%s\n", name, took)
	case fleet.BackupCluster:
		fmt.Fprintf(&b, "%s is backed up%s\n", name, took)
	default:
		b.WriteString(runsText(name, r.Summary) + took + "\n")
	}
	row := func(title, text string) { fmt.Fprintf(&b, "  %s  %s\n", title, text) }
	if s := r.FinalSnapshot; s != nil && (ref.Kind == fleet.DecommissionCluster || ref.Kind == fleet.StopCluster) {
		row("final snapshot", snapshotText(*s))
	}
	if r.Lost != "" {
		row(o.Paint(terminal.Yellow, "lost"), r.Lost)
	}
	for _, left := range r.Left {
		row(o.Paint(terminal.Yellow, "left half done"), left)
	}
	switch ref.Kind {
	case fleet.DecommissionCluster:
	case fleet.BackupCluster:
		if r.Backup != nil {
			row("backup", takenText(*r.Backup))
			if r.Backup.Base != "" {
				row("restore", "flotilla restore "+ref.Cluster+" --backup "+r.Backup.ID+" --to NEW")
			}
		}
	case fleet.StopCluster:
		row("start it", "flotilla start "+ref.Cluster)
	default:
		if len(r.Endpoints) > 0 {
			row("endpoints", strings.Join(endpointURLs(r.Endpoints), " "))
		}
	}
	switch ref.Kind {
	case fleet.CreateCluster, fleet.StartCluster, fleet.AdoptCluster:
		row("connect  ", `eval "$(flotilla env `+ref.Cluster+`)" && etcdctl endpoint health`)
	}
	return b.String()
}

// runsText says how a cluster that runs stands.
func runsText(name string, s fleet.Summary) string {
	text := fmt.Sprintf("%s runs: %s members", name, healthText(s))
	if s.Leader != "" {
		text += ", leader " + s.Leader
	}
	return text + ", etcd " + s.Etcd
}

func snapshotText(s fleet.Snapshot) string {
	verified := "NOT verified"
	if !s.Verified.IsZero() {
		verified = "verified by restoring it"
	}
	return fmt.Sprintf("%s (revision %d, %s, %s, %s)", s.Key, s.Revision, terminal.Count(s.Keys, "key"), s.Size.Human(), verified)
}

func endpointURLs(endpoints []fleet.Endpoint) []string {
	urls := make([]string, len(endpoints))
	for i, e := range endpoints {
		urls[i] = "https://" + net.JoinHostPort(e.Address, strconv.Itoa(e.ClientPort))
	}
	return urls
}

func healthText(s fleet.Summary) string {
	text := fmt.Sprintf("%d/%d", s.Healthy, max(s.Members, s.Voters))
	if s.StandbyIsBehind() {
		text += ", standby is behind"
	}
	return text
}
