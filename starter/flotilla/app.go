package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/flotilla-etcd/flotilla/starter"
	"github.com/flotilla-etcd/flotilla/starter/terminal"
)

// app is what all commands share: where to read and write, and how to reach the
// control plane.
type app struct {
	in  io.Reader
	out terminal.Output // results
	err terminal.Output // progress, questions and errors
	// person says that somebody can answer a question.
	person  bool
	options starter.Options
	// connect gives the control plane that options name.
	connect func(context.Context, starter.Options) (plane, error)
	utc     bool
	now     func() time.Time
}

func newApp() *app {
	return &app{
		connect: dial,
		in:      os.Stdin, out: terminal.For(os.Stdout), err: terminal.For(os.Stderr),
		person: terminal.IsTerminal(os.Stdin) && terminal.IsTerminal(os.Stderr),
		now:    time.Now,
	}
}

// run does what the arguments ask for and gives the exit code.
func (a *app) run(ctx context.Context, args []string) (code int) {
	defer func() {
		// A mistake of ours is reported as one, not thrown at the user.
		if r := recover(); r != nil {
			fmt.Fprintf(a.err, "flotilla made a mistake of its own: %v\nNothing more was asked of the control plane. Please report it with these lines:\n%s", r, debug.Stack())
			code = exitFailed
		}
	}()
	root := a.root() //nolint:contextcheck // commands get theirs from ExecuteContext
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	err := root.ExecuteContext(ctx)
	a.report(err)
	return exitCode(err)
}

const about = `Flotilla runs fleets of etcd clusters. Each operation is a durable workflow on
Temporal: it survives the death of any controller in the middle of it, and of
this program too.

Flotilla finds the control plane through Temporal's own client configuration
(TEMPORAL_ADDRESS and the other TEMPORAL_* variables, profiles in its TOML file),
then in a development environment (flotilla dev) of this directory or above.`

const exitHelp = `Exit codes:
  0    done
  1    failed
  2    bad input: what was asked for can never succeed as it is
  3    the control plane is not reachable
  4    refused for safety
  5    waiting for approval: flotilla approve NAME, or flotilla reject NAME
  130  interrupted: what was started goes on`

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "flotilla",
		Short:         "Run fleets of etcd clusters on Temporal",
		Long:          about + "\n\n" + exitHelp,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArguments,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Example: `  flotilla dev --detach                  # a control plane on this machine
  flotilla plan -f orders.yaml           # what would happen
  flotilla create -f orders.yaml         # make it happen
  flotilla get clusters
  eval "$(flotilla env orders)" && etcdctl endpoint health`,
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.options.Address, "address", "", "Temporal's `host:port` (TEMPORAL_ADDRESS)")
	flags.StringVar(&a.options.Namespace, "namespace", "", "Temporal's `namespace` (TEMPORAL_NAMESPACE)")
	flags.StringVar(&a.options.Profile, "profile", "", "`profile` of Temporal's TOML configuration (TEMPORAL_PROFILE)")
	flags.BoolVar(&a.utc, "utc", false, "give times in UTC (RFC 3339)")
	a.options.UI = os.Getenv("FLOTILLA_TEMPORAL_UI")
	root.SetFlagErrorFunc(usageError)
	root.CompletionOptions.HiddenDefaultCmd = false
	root.AddGroup(&cobra.Group{ID: "change", Title: "Change clusters:"}, &cobra.Group{ID: "steer", Title: "Steer what is being done:"}, &cobra.Group{ID: "look", Title: "Look at clusters:"},
		&cobra.Group{ID: "self", Title: "Flotilla itself:"})
	group(root, "change", a.planCommand(), a.applyCommand(), a.createCommand(), a.adoptCommand(), a.protectCommand())
	for _, v := range a.verbs() {
		group(root, "change", a.changeCommand(v()))
	}
	group(root, "steer", a.approveCommand(), a.rejectCommand(), a.pauseCommand(), a.resumeCommand(), a.cancelCommand())
	group(root, "look", a.getCommand(), a.describeCommand(), a.backupsCommand(), a.verifyCommand(), a.rehearseCommand(), a.operationsCommand(), a.watchCommand(), a.endpointsCommand(), a.envCommand())
	group(root, "self", a.doctorCommand(), a.sweepCommand(), a.devCommand(), a.versionCommand())
	root.SetHelpCommandGroupID("self")
	root.SetCompletionCommandGroupID("self")
	return root
}

func group(root *cobra.Command, id string, commands ...*cobra.Command) {
	for _, c := range commands {
		c.GroupID = id
		root.AddCommand(c)
	}
}

func (a *app) clock() terminal.Clock { return terminal.Clock{UTC: a.utc, Now: a.now()} }

// say prints a line for a person that is no result.
func (a *app) say(format string, args ...any) {
	_, _ = fmt.Fprintf(a.err, format+"\n", args...)
}

// usageError marks a mistake in the command line itself.
func usageError(cmd *cobra.Command, err error) error {
	return &exitError{code: exitInput, err: fmt.Errorf("%w\nSee: %s --help", err, cmd.CommandPath())}
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if cmd.HasSubCommands() {
		return usageError(cmd, fmt.Errorf("there is no command %q%s", cmd.CommandPath()+" "+args[0], suggestions(cmd, args[0])))
	}
	return usageError(cmd, fmt.Errorf("%s takes no argument, but got %q", cmd.CommandPath(), args[0]))
}

func suggestions(cmd *cobra.Command, arg string) string {
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(arg); len(near) > 0 {
		return "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return ""
}

// oneArgument wants exactly one argument and says what it is when it is missing.
func oneArgument(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			return nil
		}
		return usageError(cmd, fmt.Errorf("%s needs one argument, %s, but got %d", cmd.CommandPath(), what, len(args)))
	}
}

func atMostOne(cmd *cobra.Command, args []string) error {
	if len(args) <= 1 {
		return nil
	}
	return usageError(cmd, fmt.Errorf("%s takes at most one argument, but got %d", cmd.CommandPath(), len(args)))
}
