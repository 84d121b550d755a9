package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/node"
	"github.com/flotilla-etcd/flotilla/node/service"
)

// errReplied says that the verb failed and that its reply says how.
var errReplied = errors.New("the reply has the error")

const long = `flotilla-node is the host side of Flotilla, a control plane for fleets of etcd
clusters. Its verbs read one JSON request from standard input and write one JSON
reply to standard output: {"result": …} with exit code 0, or {"error": …} with 1.
Each may be killed at any moment and sent again, and then does what is left.

To try it on a machine without root or systemd:

  mkdir -p /tmp/host/disks/disk-1 && export FLOTILLA_NODE_ROOT=/tmp/host
  flotilla-node init &
  flotilla-node install <<< '{"version": "3.7.3", "url": "https://…/etcd-v3.7.3-linux-amd64.tar.gz", "sha256": "…"}'
  flotilla-node prepare <<< '{"cluster": "demo", "uid": "u1", "member": "demo-1", "diskId": "disk-1"}'
  flotilla-node report </dev/null`

func command() *cobra.Command {
	var root string
	top := &cobra.Command{
		Use:           "flotilla-node",
		Short:         "Keep etcd members running on this host, as the control plane says",
		Long:          long,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       programVersion(),
	}
	def := os.Getenv("FLOTILLA_NODE_ROOT")
	if def == "" {
		def = "/"
	}
	top.PersistentFlags().StringVar(&root, "root", def, "directory that stands for the host's file system (env FLOTILLA_NODE_ROOT)")
	top.AddCommand(
		verb(&root, node.VerbInstall, "Fetch a release of etcd, check its hash and unpack it",
			`{"version": "3.7.3", "url": "https://… or /path/etcd-v3.7.3-linux-amd64.tar.gz", "sha256": "…"}`,
			(*node.Node).Install),
		verb(&root, node.VerbPrepare, "Make a member's directories and keys, and give requests for its certificates",
			`{"cluster": "demo", "uid": "u1", "member": "demo-1", "diskId": "disk-1"}`,
			(*node.Node).Prepare),
		verb(&root, node.VerbCertify, "Store a member's signed certificates; a running one serves them at once",
			`{"member": "demo-1", "ca": "PEM", "serverCert": "PEM", "peerCert": "PEM"}`,
			(*node.Node).Certify),
		verb(&root, node.VerbStart, "Make a member run from now on, as the request says",
			`{"member": "demo-1", "version": "3.7.3", "address": "127.0.0.1", "clientPort": 2379, "peerPort": 2380, "token": "u1",
  "initial": [{"name": "demo-1", "url": "https://127.0.0.1:2380"}], "peerCn": "flotilla-peer.demo.u1", "settings": {"quota": "2GiB"}}`,
			(*node.Node).Start),
		verb(&root, node.VerbAdopt, "Take over a member that something else runs on this host",
			`{"cluster": "demo", "uid": "u1", "diskId": "disk-1", "dataDir": "/disks/disk-1/etcd", "unit": "etcd.service",
  "start": {"member": "demo-1", "version": "3.7.3", "address": "127.0.0.1", "clientPort": 2379, "peerPort": 2380, "token": "u1",
  "initial": [{"name": "demo-1", "url": "https://127.0.0.1:2380"}], "settings": {"quota": "2GiB"}}}`,
			(*node.Node).Adopt),
		verb(&root, node.VerbStop, "Stop a member; it stays stopped over reboots", `{"member": "demo-1"}`, (*node.Node).Stop),
		verb(&root, node.VerbRestart, "Restart a member as it was started last", `{"member": "demo-1"}`, (*node.Node).Restart),
		verb(&root, node.VerbGrow, "Make the file system on a member's disk as large as the disk", `{"member": "demo-1", "size": "40GiB"}`,
			(*node.Node).Grow),
		verb(&root, node.VerbReport, "Say how the host and its members stand", `{}`,
			func(n *node.Node, ctx context.Context, _ struct{}) (*fleet.HostReport, error) { return n.Report(ctx) }),
		verb(&root, node.VerbExamine, "Say what a stopped member's data holds and whether it is whole; it changes nothing", `{"member": "demo-1"}`,
			(*node.Node).Examine),
		verb(&root, node.VerbRecover, "Make a stopped member a cluster of its own, from a copy of its data. Its peers must never run again",
			`{"token": "…", "start": {"member": "demo-1", …}}`,
			(*node.Node).Recover),
		verb(&root, node.VerbBorrow, "Say to whom the key of a backup is to be lent that a member is to be restored from", `{"member": "demo-1"}`,
			(*node.Node).Borrow),
		verb(&root, node.VerbRestore, "Make a stopped member's data from a snapshot; what was there is kept beside it",
			`{"token": "…", "start": {"member": "demo-1", …}, "from": {"name": "a snapshot", "file": "/disks/disk-1/snapshot.db"}, "bump": 1000000000}`,
			(*node.Node).Restore),
		verb(&root, node.VerbLetGo, "Delete what restores and recoveries of a member put aside. There is no way back", `{"member": "demo-1"}`,
			(*node.Node).LetGo),
		verb(&root, node.VerbWipe, "Stop a member and delete its data and keys. There is no way back", `{"member": "demo-1"}`,
			func(n *node.Node, ctx context.Context, req node.MemberRequest) (*struct{}, error) {
				return nil, n.Wipe(ctx, req)
			}),
		initCommand(&root),
		&cobra.Command{
			Use: "version", Short: "Print the version", Args: cobra.NoArgs,
			Run: func(c *cobra.Command, _ []string) {
				fmt.Fprintln(c.OutOrStdout(), "flotilla-node", programVersion(), node.Platform())
			},
		},
	)
	return top
}

// verb makes the command of one verb of the protocol.
func verb[Q, R any](root *string, name, short, example string, do func(*node.Node, context.Context, Q) (*R, error)) *cobra.Command {
	return &cobra.Command{
		Use:     name,
		Short:   short,
		Long:    short + ". The request is JSON on standard input, the reply JSON on standard output.",
		Example: "  flotilla-node " + name + " <<< '" + example + "'",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			result, err := run(c, *root, do)
			if writeErr := node.WriteReply(c.OutOrStdout(), result, err); writeErr != nil {
				return writeErr
			}
			if err != nil {
				return errReplied
			}
			return nil
		},
	}
}

func run[Q, R any](c *cobra.Command, root string, do func(*node.Node, context.Context, Q) (*R, error)) (*R, error) {
	var req Q
	if err := readRequest(c.InOrStdin(), &req); err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "request", "%w", err).
			WithRemedy("see flotilla-node %s --help; the control plane and flotilla-node must fit together", c.Name())
	}
	n, err := node.New(root, programVersion(), newLog(zap.WarnLevel))
	if err != nil {
		return nil, err
	}
	return do(n, c.Context(), req)
}

// readRequest reads one JSON document. A field that is not known is refused:
// it was meant to do something.
func readRequest(r io.Reader, req any) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(text)) == 0 {
		text = []byte("{}")
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(req); err != nil {
		return err
	}
	if decoder.More() {
		return errors.New("there is more than one JSON document")
	}
	return nil
}

func initCommand(root *string) *cobra.Command {
	return &cobra.Command{
		Use:   "init",
		Short: "Keep members running, on hosts without systemd",
		Long: `init is the supervisor of hosts without systemd: it starts the members that are
to run, starts them again when they end, and stops them when it is ended with
SIGTERM. It stays in the foreground. A second one for the same root ends at once
with exit code 0. Members outlive one that is killed; the next takes them over.`,
		Example: "  flotilla-node --root /tmp/host init &",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			n, err := node.New(*root, programVersion(), zap.NewNop())
			if err != nil {
				return err
			}
			log := newLog(zap.InfoLevel)
			err = service.NewSupervisor(n.Root, log).Run(c.Context())
			if errors.Is(err, service.ErrAlreadyRuns) {
				log.Info("nothing to do: " + err.Error())
				return nil
			}
			return err
		},
	}
}
