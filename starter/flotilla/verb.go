package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter"
	"github.com/flotilla-etcd/flotilla/starter/terminal"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// verb is one change of a cluster as people ask for it. It is made once for the
// command that does it and once for the one that forecasts it, so that both mean the
// same.
type verb struct {
	kind                      fleet.OperationKind
	use, short, long, example string
	// members says that the names of members follow the name of the cluster: none, one
	// or any number.
	members membership
	// flags defines the flags of its own.
	flags func(cmd *cobra.Command)
	// fields are the fields of a spec that its flags set, with the flag of each; not nil
	// where members are restarted or replaced.
	fields map[string]string
	// wish says what the flags and the members ask for. The error is a mistake in the
	// command line: nothing was asked of the control plane yet.
	wish func(cmd *cobra.Command, members []string) (wish, error)
	// resolve completes what is asked for by what the control plane knows, or gives what it
	// comes to on another cluster; nil where nothing is to be looked up.
	resolve func(ctx context.Context, a *app, client plane, view workflows.ClusterView, asked *wish) (*forecast, error)
	// check may say that there is nothing to do, or refuse; nil where the cluster's own
	// workflow says it as well.
	check func(view workflows.ClusterView) (nothing string, err error)
	// warning is what is said in red before a confirmation. Empty where a plan may run
	// without being confirmed.
	warning func(wish) string
}

type membership int

const (
	noMembers membership = iota
	oneMember
	manyMembers
)

// wish is what a verb asks for.
type wish struct {
	options fleet.Options
	// spec makes of the cluster's spec the one that is asked for; nil leaves it as it is.
	spec func(*fleet.Spec)
	// backup is the beginning of the ID of a backup, and to the new cluster that is to
	// begin with it.
	backup, to string
	// prefixes are those below which keys are put back, exactly or not; from and uid name
	// the cluster that the backup is of, where that is another one.
	prefixes  []string
	exact     bool
	from, uid string
	// at is the point in time that a backup is to be made of first.
	at *fleet.PointInTime
	// kind is the operation, where it is not the verb's own; preview has it say what it
	// would do as exactly as can be told, which may take a while.
	kind    fleet.OperationKind
	preview bool
	// away is why the first of two stores could not be asked for backups.
	away string
	// leave says that the present leader is to lead no more.
	leave bool
}

// verbs are all of them, as they are made anew for each command.
func (a *app) verbs() []func() *verb {
	return []func() *verb{upscale, scale, failover, migrate, switchover, upgrade, roll, moveLeader, backup, stop, start, recoverQuorum, restore, discard, decommission}
}

// command makes what the command that does it and the one that forecasts it share.
func (v *verb) command(a *app, options *fleet.Options) *cobra.Command {
	cmd := &cobra.Command{
		Use: v.use, Short: v.short, Long: v.long, Example: v.example,
		ValidArgsFunction: a.completeClusterAndMembers(v.members), Args: v.arguments,
	}
	if v.flags != nil {
		v.flags(cmd)
	}
	policyFlags(cmd, options, v.fields != nil)
	for flag, complete := range map[string]completion{"member": a.completeMember, "from": a.completeSource, "backup": a.completeBackup} {
		if cmd.Flags().Lookup(flag) != nil {
			_ = cmd.RegisterFlagCompletionFunc(flag, complete)
		}
	}
	return cmd
}

func (v *verb) arguments(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return usageError(cmd, fmt.Errorf("%s needs the name of a cluster", cmd.CommandPath()))
	case v.members == noMembers && len(args) > 1:
		return usageError(cmd, fmt.Errorf("%s needs one argument, the name of a cluster, but got %d%s", cmd.CommandPath(), len(args), unjoined(cmd, args[1])))
	case v.members == oneMember && len(args) > 2:
		return usageError(cmd, fmt.Errorf("%s takes a cluster and at most one member, but got %d arguments", cmd.CommandPath(), len(args)))
	}
	return nil
}

// unjoined says how an argument is given to a flag that has a meaning without one too: a
// space does not do it.
func unjoined(cmd *cobra.Command, argument string) (hint string) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.NoOptDefVal != "" && f.Value.Type() == "string" {
			hint = fmt.Sprintf("; if %s belongs to --%s, write --%s=%s", argument, f.Name, f.Name, argument)
		}
	})
	return hint
}

// read gives what is asked for, or the mistake in the command line.
func (v *verb) read(cmd *cobra.Command, args []string, options fleet.Options) (wish, error) {
	w, err := v.wish(cmd, args[1:])
	if err != nil {
		return wish{}, err
	}
	for i, member := range w.options.Members {
		if slices.Contains(w.options.Members[:i], member) {
			return wish{}, usageError(cmd, fmt.Errorf("member %s is named twice", member))
		}
	}
	w.options.AnyTime, w.options.Policy, w.options.AllowDowntime = options.AnyTime, options.Policy, options.AllowDowntime
	problems := inFlags(w.options.Policy.Validate("policy"), policyFields)
	if w.spec != nil {
		problems = append(problems, v.mistakes(cmd, w)...)
	}
	return w, mistaken(cmd, problems)
}

// mistakes gives what is wrong with the values of flags, whatever the cluster is.
func (v *verb) mistakes(cmd *cobra.Command, w wish) fleet.Problems {
	var spec fleet.Spec
	w.spec(&spec)
	var found fleet.Problems
	for _, p := range inFlags(spec.Validate(), v.fields) {
		if name, isFlag := strings.CutPrefix(p.Path, "--"); isFlag && cmd.Flags().Changed(name) {
			found = append(found, p)
		}
	}
	return found
}

// changeCommand is the command that does it.
func (a *app) changeCommand(v *verb) *cobra.Command {
	var options fleet.Options
	var w waiting
	var dryRun, yes bool
	cmd := v.command(a, &options)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "show the plan and change nothing")
	if v.warning != nil {
		cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	}
	waitFlags(cmd, &w)
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		asked, err := v.read(cmd, args, options)
		if err != nil {
			return err
		}
		ctx, name := cmd.Context(), args[0]
		if v.warning != nil && !yes && !dryRun && !a.person {
			return fleet.Errorf(fleet.Blocked, name, "%s, and there is no terminal to ask at", v.warning(asked)).
				WithRemedy("say --yes; with --dry-run instead it shows what would happen")
		}
		client, err := a.reach(ctx)
		if err != nil {
			return err
		}
		defer client.Close()
		asked.preview = dryRun || !yes
		f, err := a.prepare(ctx, client, v, name, asked)
		unseen := f != nil && err != nil && yes && !dryRun && ctx.Err() == nil
		if unseen {
			err = nil // only the preview is missing; the operation looks for itself
		}
		if err != nil || f == nil {
			return err
		}
		if dryRun {
			return a.showPlan(*output, *f)
		}
		if err := f.refused(); err != nil {
			return err
		}
		if !unseen && f.nothing() {
			return a.print(*output, f.shown(a.now()), func() string { return planText(a.out, *f, a.now()) })
		}
		if v.warning == nil || !yes {
			a.say("%s", strings.TrimRight(planText(a.err, *f, a.now()), "\n"))
		}
		if v.warning != nil && !yes {
			a.say("%s", a.err.Paint(terminal.Red, upperFirst(v.warning(asked))+"."))
			if err := a.confirm(ctx, name, name); err != nil {
				return err
			}
		}
		if err := a.makeBackup(ctx, client, f, w); err != nil {
			return err
		}
		return a.carryOut(ctx, client, *f, w, *output)
	}
	return cmd
}

// planVerbCommand is the command that forecasts it.
func (a *app) planVerbCommand(v *verb) *cobra.Command {
	var options fleet.Options
	cmd := v.command(a, &options)
	cmd.Short = "Show what this would do: " + lowerFirst(v.short)
	cmd.Long = cmd.Short + "."
	cmd.Example = strings.ReplaceAll(v.example, "flotilla "+cmd.Name(), "flotilla plan "+cmd.Name())
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		asked, err := v.read(cmd, args, options)
		if err != nil {
			return err
		}
		client, err := a.reach(cmd.Context())
		if err != nil {
			return err
		}
		defer client.Close()
		asked.preview = true
		f, err := a.prepare(cmd.Context(), client, v, args[0], asked)
		if err != nil || f == nil {
			return err
		}
		return a.showPlan(*output, *f)
	}
	return cmd
}

// prepare finds out what a wish means for a cluster as it is, and what would happen.
// It gives nil when there is nothing to do, which it has said then, and the forecast
// with an error when only what would happen is not known.
func (a *app) prepare(ctx context.Context, client plane, v *verb, name string, asked wish) (*forecast, error) {
	view, err := client.Describe(ctx, name)
	if err != nil {
		return nil, err
	}
	if v.resolve != nil {
		if f, err := v.resolve(ctx, a, client, view, &asked); f != nil || err != nil {
			return f, err
		}
	}
	if v.check != nil {
		nothing, err := v.check(view)
		if err != nil {
			return nil, err
		}
		if nothing != "" {
			a.say("%s", nothing)
			return nil, nil
		}
	}
	if view.Summary.Phase == fleet.PhaseGone {
		return nil, fleet.Errorf(fleet.NotFound, name, "is decommissioned: there is nothing left to change")
	}
	o := asked.options
	if err := known(view, slices.Concat(o.Members, o.Without, []string{o.Survivor})); err != nil {
		return nil, err
	}
	if asked.leave {
		if asked.options.Leave, err = leaderNow(ctx, client, view); err != nil {
			return nil, err
		}
	}
	f, err := v.order(view, asked)
	if err != nil {
		return nil, err
	}
	if err := f.ask(ctx, client); err != nil {
		return f, err
	}
	if asked.preview && f.operation.Kind == fleet.RestorePrefixes && f.at == nil && len(f.reply.Waves) > 0 {
		if err := f.compareKeys(ctx, client, a.teller()); err != nil {
			return nil, err
		}
	}
	return f, f.listed()
}

// order gives the operations that a wish comes to.
func (v *verb) order(view workflows.ClusterView, asked wish) (*forecast, error) {
	before := view.Spec.Clone()
	after := before.Clone()
	if asked.spec != nil {
		asked.spec(&after)
		if err := inFlags(after.Validate(), v.fields).Err("what is asked of " + view.Summary.Name); err != nil {
			return nil, err
		}
	}
	f := &forecast{view: view, options: asked.options, fields: v.fields, at: asked.at}
	if amended := before.Amended(after); !amended.Equal(before) {
		f.amend = &amended
		before = amended
	}
	if v.kind == fleet.ScaleCluster { // more learners may need settings that allow them
		changes, problems := fleet.Changes(before, after)
		if len(problems) > 0 {
			return nil, problems.Err(view.Summary.Name)
		}
		f.changes = changes
	}
	if len(f.changes) == 0 {
		f.changes = []fleet.Change{{Kind: cmp.Or(asked.kind, v.kind), Spec: after}}
	}
	f.operation = fleet.Operation{
		Kind: f.changes[0].Kind, Cluster: view.Summary.Name, Spec: f.changes[0].Spec, Before: &view.Spec, Options: asked.options,
	}
	return f, nil
}

// known refuses members that never were. Whether one that was can be meant, the
// planner says.
func known(view workflows.ClusterView, members []string) error {
	for _, member := range members {
		if view.NextMember > 0 && fleet.MemberNumber(view.Summary.Name, member) >= view.NextMember {
			return noMember(view.Summary.Name, member, memberNames(view))
		}
	}
	return nil
}

// listed refuses members of names that no list has and that Flotilla does not give: a
// mistake would otherwise be done at once, since nothing of that name is there.
func (f *forecast) listed() error {
	name, all := f.operation.Cluster, f.reply.Members
	for _, member := range f.options.Members {
		if len(all) > 0 && !slices.Contains(all, member) && fleet.MemberNumber(name, member) == 0 {
			return noMember(name, member, all)
		}
	}
	return nil
}

func noMember(cluster, member string, all []string) error {
	return fleet.Errorf(fleet.Invalid, cluster, "has no member %s", member).WithRemedy("its members are %s", strings.Join(all, ", "))
}

func memberNames(view workflows.ClusterView) []string {
	var names []string
	for _, e := range view.Endpoints {
		names = append(names, e.Member)
	}
	return names
}

// leaderNow gives the member that leads now, which is looked up: the last operation's
// word may be old.
func leaderNow(ctx context.Context, client plane, view workflows.ClusterView) (string, error) {
	name := view.Summary.Name
	list, err := client.Clusters(ctx, starter.Filter{Names: []string{name}})
	if err != nil {
		return "", err
	}
	for _, s := range list.Clusters {
		if s.Name == name && s.Leader != "" {
			return s.Leader, nil
		}
	}
	why := "no member leads it now"
	if len(list.Notes) > 0 {
		why = "it cannot be seen who leads it: " + strings.Join(list.Notes, "; ")
	}
	return "", fleet.Errorf(fleet.Unavailable, name, "%s", why).
		WithRemedy("name the member that is to lead: flotilla move-leader %s MEMBER", name)
}

// given refuses a command line that asks for nothing.
func given(cmd *cobra.Command, names ...string) error {
	if anyOf(cmd, names...) {
		return nil
	}
	flags := make([]string, len(names))
	for i, name := range names {
		flags[i] = "--" + name
	}
	return usageError(cmd, errors.New("it is not said what is to change: give "+strings.Join(flags, ", ")))
}
