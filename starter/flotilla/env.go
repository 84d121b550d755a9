package main

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/pki"
)

// defaultValidity of a client's certificate: a working day with its evening, since
// a new one costs one command.
const defaultValidity = 24 * time.Hour

var shells = []string{"sh", "fish"}

func (a *app) envCommand() *cobra.Command {
	var dir, shell, as string
	var validity time.Duration
	cmd := &cobra.Command{
		Use:   "env NAME",
		Short: "Print what etcdctl needs to connect to a cluster",
		Long: `Print what etcdctl needs to connect to a cluster, for the shell to evaluate.

A key is made on this machine and stays here, readable by you only; its
certificate comes from the cluster's own authority. One that is still valid is
used again.`,
		Example: `  eval "$(flotilla env orders)" && etcdctl put hello world
  flotilla env orders --shell fish | source`,
		Args: oneArgument("the name of a cluster"), ValidArgsFunction: a.completeCluster,
	}
	flags := cmd.Flags()
	flags.StringVar(&dir, "dir", "", "keep key and certificate in this `directory` (default: per user and cluster, in the XDG state directory)")
	flags.StringVar(&shell, "shell", "sh", "print for this shell: sh or fish")
	flags.StringVar(&as, "as", "", "common `name` in the certificate (default: your user name)")
	flags.DurationVar(&validity, "validity", defaultValidity, "how long a new certificate is good for")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !slices.Contains(shells, shell) {
			return usageError(cmd, fmt.Errorf("--shell %q is not one of %s", shell, strings.Join(shells, ", ")))
		}
		if dir == "" {
			state, err := stateDir()
			if err != nil {
				return err
			}
			dir = filepath.Join(state, "clusters", args[0])
		}
		if as == "" {
			as = commonName()
		}
		client, err := a.reach(cmd.Context())
		if err != nil {
			return err
		}
		defer client.Close()
		keyring, err := credentials(cmd.Context(), client, args[0], dir, as, validity, a.now())
		if err != nil {
			return err
		}
		_, err = fmt.Fprint(a.out, envText(shell, keyring))
		return err
	}
	return cmd
}

// credentials gives the client's files for a cluster; new ones only where the old
// ones are missing, of another incarnation or nearly over.
func credentials(ctx context.Context, client plane, cluster, dir, as string, validity time.Duration, now time.Time) (keyring, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return keyring{}, err
	}
	view, err := client.Describe(ctx, cluster)
	if err != nil {
		return keyring{}, err
	}
	if view.Summary.Phase == fleet.PhaseGone {
		return keyring{}, fleet.Errorf(fleet.NotFound, cluster, "is decommissioned: there is nothing left to connect to")
	}
	if kept, ok := readKeyring(dir); ok && kept.UID == view.Summary.UID && kept.Name == as && kept.usable(now) && len(view.Endpoints) > 0 {
		kept.Endpoints = endpointURLs(view.Endpoints)
		return kept, nil
	}
	key, request, err := pki.NewKeyAndRequest(as)
	if err != nil {
		return keyring{}, err
	}
	reply, err := client.Credentials(ctx, cluster, as, request, validity)
	if err != nil {
		return keyring{}, err
	}
	if len(reply.Endpoints) == 0 {
		return keyring{}, fleet.Errorf(fleet.Conflict, cluster, "has no member to connect to yet (it is %s)", view.Summary.Phase).
			WithRemedy("try again once flotilla get clusters shows it running")
	}
	k := keyring{Dir: dir, Cluster: cluster, UID: view.Summary.UID, Name: as, Issued: now, Expires: reply.Expires,
		Endpoints: endpointURLs(reply.Endpoints)}
	return k, k.write([]byte(reply.CA), []byte(reply.Certificate), key)
}

// envText prints the variables that etcdctl reads.
func envText(shell string, k keyring) string {
	var b strings.Builder
	for _, v := range [][2]string{
		{"ETCDCTL_ENDPOINTS", strings.Join(k.Endpoints, ",")},
		{"ETCDCTL_CACERT", k.path(caFile)},
		{"ETCDCTL_CERT", k.path(certFile)},
		{"ETCDCTL_KEY", k.path(keyFile)},
	} {
		if shell == "fish" {
			fmt.Fprintf(&b, "set -gx %s %s;\n", v[0], fishQuote(v[1]))
		} else {
			fmt.Fprintf(&b, "export %s=%s\n", v[0], shQuote(v[1]))
		}
	}
	use := fmt.Sprintf(`eval "$(flotilla env %s)"`, k.Cluster)
	if shell == "fish" {
		use = fmt.Sprintf("flotilla env %s --shell fish | source", k.Cluster)
	}
	fmt.Fprintf(&b, "# the certificate is good until %s; to use it: %s\n", k.Expires.UTC().Format(time.RFC3339), use)
	return b.String()
}

// shQuote writes a word that any POSIX shell reads as it is.
func shQuote(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:,=@") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func fishQuote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// stateDir is where a user's own files belong that are neither configuration nor
// cache (XDG Base Directory Specification).
func stateDir() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "flotilla"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fleet.Errorf(fleet.Invalid, "credentials", "there is no home directory to keep them in: %w", err).
			WithRemedy("name a directory with --dir")
	}
	return filepath.Join(home, ".local", "state", "flotilla"), nil
}

// commonName is the user's name, as far as a certificate's name may have it.
func commonName() string {
	u, err := user.Current()
	if err != nil {
		return "flotilla-user"
	}
	name := strings.Map(func(r rune) rune {
		if r < 0x80 && (r == '-' || r == '_' || r == '.' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z') {
			return r
		}
		return '-'
	}, u.Username)
	return "flotilla-" + name
}
