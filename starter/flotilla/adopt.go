package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/pki"
)

// adoption is what the commands around adopting have in common.
type adoption struct {
	file, ca, key string
	options       fleet.Options
}

const exampleAdoption = `The document is a spec that describes the cluster as it is, and where its members are:

  name: legacy
  provider: local
  region: local-1
  zones: [a, b, c]
  voters: 3
  etcd: { version: 3.6.16 }
  machine: { type: small, disk: { size: 20GiB, category: ssd } }
  members:
    - name: db-a                  # its name in etcd
      host: h-0a1b                # IDs of the provider
      disk: d-0a1b                # that its data is on
      endpoint: { address: 10.0.0.1, clientPort: 2379, peerPort: 2380 }
      dataDir: /var/lib/etcd      # on the host
      unit: etcd.service          # what runs it; left out for a process of its own
    - …`

func (ad *adoption) command(use, short, long, example string) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Long: long, Example: example, Args: noArguments}
	flags := cmd.Flags()
	flags.StringVarP(&ad.file, "file", "f", "", "`file` with the spec and the members; - is standard input")
	flags.StringVar(&ad.ca, "ca", "", "`file` with the certificate of its authority (PEM)")
	flags.StringVar(&ad.key, "ca-key", "", "`file` with the key of its authority (PEM)")
	policyFlags(cmd, &ad.options, true)
	return cmd
}

func (a *app) adoptCommand() *cobra.Command {
	var ad adoption
	var w waiting
	var dryRun bool
	cmd := ad.command("adopt -f FILE --ca FILE --ca-key FILE", "Take over a cluster that something else created",
		`Take over a cluster that something else created: its hosts and disks are tagged, its
authority is stored sealed, and its members are taken over one by one, the leader last,
on the data that they have. Every other operation works on it afterwards.

The key of the authority is read here and sealed to the fleet's key before it is sent:
only the workers can read it.

`+exampleAdoption, "  flotilla adopt -f legacy.yaml --ca ca.crt --ca-key ca.key")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "show the plan and change nothing")
	waitFlags(cmd, &w)
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		f, err := a.readAdoption(cmd, ad)
		if err != nil {
			return err
		}
		authority, err := a.readAuthority(cmd, ad, f.operation.Cluster)
		if err != nil {
			return err
		}
		client, err := a.reach(cmd.Context())
		if err != nil {
			return err
		}
		defer client.Close()
		if err := f.ask(cmd.Context(), client); err != nil {
			return err
		}
		if dryRun {
			return a.showPlan(*output, *f)
		}
		if err := f.refused(); err != nil {
			return err
		}
		a.say("%s", strings.TrimRight(planText(a.err, *f, a.now()), "\n"))
		if err := authority.seal(cmd.Context(), client, f, a.now()); err != nil {
			return err
		}
		return a.carryOut(cmd.Context(), client, *f, w, *output)
	}
	return cmd
}

func (a *app) planAdoptCommand() *cobra.Command {
	var ad adoption
	cmd := ad.command("adopt -f FILE", "Show what this would do: take over a cluster that something else created",
		"Show what this would do: take over a cluster that something else created. The authority is\nchecked if it is given, and stays here.",
		"  flotilla plan adopt -f legacy.yaml")
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		f, err := a.readAdoption(cmd, ad)
		if err != nil {
			return err
		}
		if ad.ca+ad.key != "" {
			if _, err := a.readAuthority(cmd, ad, f.operation.Cluster); err != nil {
				return err
			}
		}
		client, err := a.reach(cmd.Context())
		if err != nil {
			return err
		}
		defer client.Close()
		if err := f.ask(cmd.Context(), client); err != nil {
			return err
		}
		return a.showPlan(*output, *f)
	}
	return cmd
}

// readAdoption gives what a document asks for.
func (a *app) readAdoption(cmd *cobra.Command, ad adoption) (*forecast, error) {
	if err := mistaken(cmd, inFlags(ad.options.Policy.Validate("policy"), policyFields)); err != nil {
		return nil, err
	}
	if ad.file == "" {
		return nil, usageError(cmd, errors.New("it is not said what to adopt: name a file with -f, or - for standard input"))
	}
	data, source, err := a.readFile(ad.file)
	if err != nil {
		return nil, err
	}
	spec, members, err := fleet.ParseAdoption(data, source)
	if err != nil {
		return nil, err
	}
	options := ad.options
	options.Adopt = &fleet.Adoption{Members: members}
	return &forecast{
		source: source, options: options,
		operation: fleet.Operation{Kind: fleet.AdoptCluster, Cluster: spec.Name, Spec: spec, Options: options},
		changes:   []fleet.Change{{Kind: fleet.AdoptCluster, Spec: spec}},
	}, nil
}

// authority is a certificate authority with its key, as files have them.
type authority struct{ certificate, key []byte }

// readAuthority reads an authority that workers would accept.
func (a *app) readAuthority(cmd *cobra.Command, ad adoption, cluster string) (authority, error) {
	var read authority
	if ad.ca == "" || ad.key == "" {
		return read, usageError(cmd, errors.New("the authority of the cluster is missing: name its certificate with --ca and its key with --ca-key"))
	}
	var err error
	if read.certificate, err = os.ReadFile(ad.ca); err == nil {
		read.key, err = os.ReadFile(ad.key)
	}
	if err != nil {
		return read, &exitError{code: exitInput, err: fmt.Errorf("the authority cannot be read: %w", err)}
	}
	_, err = pki.ImportAuthority(read.certificate, read.key, cluster, "unborn", a.now())
	return read, err
}

// seal puts the authority into a request so that only the workers can read it.
func (au authority) seal(ctx context.Context, client plane, f *forecast, now time.Time) error {
	recipient, err := client.Recipient(ctx, f.operation.Spec.Provider, f.operation.Spec.Region)
	if err != nil {
		return err
	}
	adopt := *f.options.Adopt
	adopt.Authority, err = pki.SealAuthority(recipient, au.certificate, au.key, now)
	f.options.Adopt = &adopt
	return err
}
