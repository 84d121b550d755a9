package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// completeTimeout keeps the Tab key from hanging.
const completeTimeout = 1500 * time.Millisecond

type completion = func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective)

// completeCluster completes the name of a cluster.
func (a *app) completeCluster(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completeSource(cmd, nil, prefix)
}

// completeSource completes a flag that names a cluster.
func (a *app) completeSource(cmd *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return a.suggest(cmd, prefix, func(ctx context.Context, client plane) ([]string, error) {
		list, err := client.Clusters(ctx, starter.Filter{NoLive: true})
		if err != nil {
			return nil, err
		}
		var names []string
		for _, s := range list.Clusters {
			names = append(names, s.Name+"\t"+string(s.Phase))
		}
		return names, nil
	})
}

// completeClusterAndMembers completes the name of a cluster, and then those of its members.
func (a *app) completeClusterAndMembers(members membership) completion {
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 || members == noMembers || members == oneMember && len(args) > 1 {
			return a.completeCluster(cmd, args, prefix)
		}
		return a.suggestMembers(cmd, args[0], args[1:], prefix)
	}
}

// completeMember completes a flag that names a member.
func (a *app) completeMember(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.suggestMembers(cmd, args[0], nil, prefix)
}

// completeBackup completes a flag that names a backup of the cluster, or of the one that
// --from names.
func (a *app) completeBackup(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.suggest(cmd, prefix, func(ctx context.Context, client plane) ([]string, error) {
		view, err := client.Describe(ctx, args[0])
		if err != nil {
			return nil, err
		}
		of := fleet.BackupsOf{Cluster: args[0], UID: view.Summary.UID}
		if from := cmd.Flags().Lookup("from"); from != nil && from.Value.String() != "" {
			if of, err = sourceOf(ctx, client, from.Value.String(), ""); err != nil {
				return nil, err
			}
		}
		found, err := client.Backups(ctx, workflows.BackupsRequest{Provider: view.Spec.Provider, Region: view.Spec.Region, Clusters: []fleet.BackupsOf{of}})
		var ids []string
		for _, b := range found.Backups {
			if b.Damaged == "" {
				ids = append(ids, fmt.Sprintf("%s\trevision %d, taken %s", b.ID, b.Revision, stamp(b.Taken)))
			}
		}
		return ids, err
	})
}

func (a *app) suggestMembers(cmd *cobra.Command, cluster string, taken []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return a.suggest(cmd, prefix, func(ctx context.Context, client plane) ([]string, error) {
		view, err := client.Describe(ctx, cluster)
		if err != nil {
			return nil, err
		}
		return slices.DeleteFunc(membersWithRole(view), func(text string) bool {
			name, _, _ := strings.Cut(text, "\t")
			return slices.Contains(taken, name)
		}), nil
	})
}

func membersWithRole(view workflows.ClusterView) []string {
	var all []string
	for _, name := range memberNames(view) {
		if name == view.Summary.Leader {
			name += "\tleader"
		}
		all = append(all, name)
	}
	return all
}

// suggest asks the control plane for what begins with a prefix. What cannot be asked
// in time is not suggested.
func (a *app) suggest(cmd *cobra.Command, prefix string, list func(context.Context, plane) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completeTimeout)
	defer cancel()
	client, err := a.reach(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer client.Close()
	all, err := list(ctx, client)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return slices.DeleteFunc(all, func(s string) bool { return !strings.HasPrefix(s, prefix) }), cobra.ShellCompDirectiveNoFileComp
}
