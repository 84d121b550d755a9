package main

import (
	"fmt"
	"slices"
	"strings"
)

// program is one binary of a target.
type program struct {
	pkg  string // import path, or "." for the target's own main package
	made string // the file name that go build gives it
	name string // the file name that it has in the cache
	key  string // its name in tools.json; empty when only releases.yaml knows it
}

// target is one folder under tools/ with a go.mod of its own, because no two of them
// agree on the versions of what they share.
type target struct {
	name     string
	title    string
	dir      string
	pin      string // the module in go.mod whose version is the target's
	minutes  int    // first build on two cores, with nothing in Go's build cache
	programs []program
	release  bool // an etcd release: also packed as the tarball that hosts install
}

func etcdTarget(minor string, minutes int) target {
	return target{
		name: "etcd-" + minor, title: "etcd", dir: "etcd-" + minor, minutes: minutes, release: true,
		pin: "go.etcd.io/etcd/server/v3",
		programs: []program{
			{pkg: "go.etcd.io/etcd/server/v3", made: "server", name: "etcd"},
			{pkg: "go.etcd.io/etcd/etcdctl/v3", made: "etcdctl", name: "etcdctl"},
			{pkg: "go.etcd.io/etcd/etcdutl/v3", made: "etcdutl", name: "etcdutl"},
		},
	}
}

// targets stand in the order in which a group builds them: the newest etcd first, so
// that whoever waits can start with it.
var targets = []target{
	etcdTarget("3.7", 2),
	{
		name: "temporal-server", title: "Temporal server", dir: "temporal", minutes: 6,
		pin:      "go.temporal.io/server",
		programs: []program{{pkg: ".", made: "temporal", name: "flotilla-temporal", key: "temporal-server"}},
	},
	etcdTarget("3.6", 1),
	etcdTarget("3.5", 1),
	{
		name: "s3", title: "versitygw", dir: "s3", minutes: 2,
		pin: "github.com/versity/versitygw",
		programs: []program{
			{pkg: "github.com/versity/versitygw/cmd/versitygw", made: "versitygw", name: "versitygw", key: "versitygw"},
		},
	},
	{
		name: "temporal-cli", title: "temporal CLI", dir: "temporal-cli", minutes: 6,
		pin: "github.com/temporalio/cli",
		programs: []program{
			{pkg: "github.com/temporalio/cli/cmd/temporal", made: "temporal", name: "temporal", key: "temporal"},
		},
	},
	{
		name: "lint", title: "golangci-lint", dir: "lint", minutes: 3,
		pin: "github.com/golangci/golangci-lint/v2",
		programs: []program{
			{pkg: "github.com/golangci/golangci-lint/v2/cmd/golangci-lint", made: "golangci-lint", name: "golangci-lint", key: "golangci-lint"},
			{pkg: "go.temporal.io/sdk/contrib/tools/workflowcheck", made: "workflowcheck", name: "workflowcheck", key: "workflowcheck"},
			{pkg: "golang.org/x/vuln/cmd/govulncheck", made: "govulncheck", name: "govulncheck", key: "govulncheck"},
		},
	},
}

var groups = map[string][]string{
	"run":  {"etcd-3.7", "temporal-server", "etcd-3.6", "etcd-3.5"},
	"test": {"run", "s3", "temporal-cli"},
	"all":  {"test", "lint"},
}

// resolve expands groups and drops repetitions, in the order of the targets table.
func resolve(names []string) ([]target, error) {
	wanted := map[string]bool{}
	for len(names) > 0 {
		name := names[0]
		names = names[1:]
		if members, ok := groups[name]; ok {
			names = append(slices.Clone(members), names...)
			continue
		}
		if _, err := lookup(name); err != nil {
			return nil, err
		}
		wanted[name] = true
	}
	var list []target
	for _, t := range targets {
		if wanted[t.name] {
			list = append(list, t)
		}
	}
	return list, nil
}

func lookup(name string) (target, error) {
	var known []string
	for _, t := range targets {
		if t.name == name {
			return t, nil
		}
		known = append(known, t.name)
	}
	return target{}, fmt.Errorf("no target %q: there are %s, and the groups run, test and all", name, strings.Join(known, ", "))
}
