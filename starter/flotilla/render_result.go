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
	if ref.Kind == fleet.DecommissionCluster {
		fmt.Fprintf(&b, "%s is gone%s\n", name, took)
		if s := r.FinalSnapshot; s != nil {
			fmt.Fprintf(&b, "  final snapshot  %s\n", snapshotText(*s))
		}
		if r.Lost != "" {
			fmt.Fprintf(&b, "  %s  %s\n", o.Paint(terminal.Yellow, "lost"), r.Lost)
		}
		return b.String()
	}
	s := r.Summary
	fmt.Fprintf(&b, "%s runs: %s members", name, healthText(s))
	if s.Leader != "" {
		fmt.Fprintf(&b, ", leader %s", s.Leader)
	}
	fmt.Fprintf(&b, ", etcd %s%s\n", s.Etcd, took)
	if len(r.Endpoints) > 0 {
		fmt.Fprintf(&b, "  endpoints  %s\n", strings.Join(endpointURLs(r.Endpoints), " "))
	}
	fmt.Fprintf(&b, "  connect    eval \"$(flotilla env %s)\" && etcdctl endpoint health\n", ref.Cluster)
	return b.String()
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
	return fmt.Sprintf("%d/%d", s.Healthy, max(s.Members, s.Voters))
}
