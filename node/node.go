// Package node is the host side of Flotilla: what flotilla-node does on a host.
// It installs releases of etcd, makes keys, writes configuration, keeps members
// running and reports on them. It is called through the cloud's run-command
// service, JSON in and JSON out, and keeps no connection to anybody.
//
// It does not decide anything: what to do, and in which order over several
// hosts, is the planner's.
package node
