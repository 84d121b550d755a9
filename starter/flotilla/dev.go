package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/flotilla-etcd/flotilla/starter/dev"
	"github.com/flotilla-etcd/flotilla/starter/terminal"
)

// devFlags are shared by the commands below dev.
type devFlags struct {
	data string
}

func (f *devFlags) dir() (string, error) { return dev.FindDataDir(f.data, ".") }

func (a *app) devCommand() *cobra.Command {
	var f devFlags
	var config dev.Config
	var detach bool
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a control plane on this machine, for development",
		Long: `Run a control plane on this machine, for development: Temporal, an object store and
a worker whose hosts are processes of this machine. What crashes is started again.

Everything is in one data directory (.flotilla); started again, it continues with
what is there. Hosts are machines: they keep running when this ends, until
flotilla dev down. In the directory of a running one, and below, flotilla needs no
flags to find it.`,
		Example: `  flotilla dev                 # until Ctrl-C
  flotilla dev --detach        # in the background
  flotilla dev status
  flotilla dev kill-worker     # kill -9: operations go on
  flotilla dev fault fail-zone a
  flotilla dev down`,
		Args: noArguments,
	}
	cmd.PersistentFlags().StringVar(&f.data, "data", "", "data `directory` (default: the nearest .flotilla, or a new one here)")
	startFlags(cmd, &config)
	cmd.Flags().BoolVar(&detach, "detach", false, "run in the background, and return when it is ready")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return a.dev(cmd, f, config, detach) }
	cmd.AddCommand(a.devUpCommand(&f), a.devStatusCommand(&f), a.devLogsCommand(&f), a.devKillCommand(&f),
		a.devDownCommand(&f), a.devResetCommand(&f), a.devToolCommand(), a.faultCommand(&f))
	return cmd
}

func startFlags(cmd *cobra.Command, c *dev.Config) {
	flags := cmd.Flags()
	flags.BoolVar(&c.S3, "s3", false, "keep objects in an S3 server, not in a directory")
	flags.StringVar(&c.SecondStore, "second-store", "", "copy backups into another store too: a `location` as of the worker's --second-store")
	flags.StringVar(&c.Region, "region", dev.DefaultRegion, "name of the local region")
	flags.StringSliceVar(&c.Zones, "zones", dev.DefaultZones, "names of its zones")
	flags.IntVar(&c.Port, "port", 0, "Temporal's port (default: 7233, or any free one)")
	flags.IntVar(&c.UIPort, "ui-port", 0, "port of Temporal's UI (default: 8233, or any free one)")
	flags.StringVar(&c.LogLevel, "log-level", "error", "Temporal's log level")
	flags.BoolVar(&c.StopHosts, "stop-hosts", false, "stop the hosts too at the end")
}

func (a *app) dev(cmd *cobra.Command, f devFlags, config dev.Config, detach bool) error {
	dir, err := f.dir()
	if err != nil {
		return err
	}
	if !detach {
		config.DataDir, config.Say = dir, a.say
		return dev.Run(cmd.Context(), config)
	}
	if err := dev.Detach(cmd.Context(), dir, []string{
		"dev", "--data", dir, "--s3=" + strconv.FormatBool(config.S3), "--region", config.Region,
		"--zones", strings.Join(config.Zones, ","), "--port", strconv.Itoa(config.Port), "--ui-port", strconv.Itoa(config.UIPort),
		"--second-store", config.SecondStore, "--log-level", config.LogLevel, "--stop-hosts=" + strconv.FormatBool(config.StopHosts),
	}); err != nil {
		return err
	}
	status, err := dev.Look(cmd.Context(), dir)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(a.out, statusText(a.out, status, a.clock()))
	return err
}

func (a *app) devUpCommand(f *devFlags) *cobra.Command {
	var config dev.Config
	cmd := &cobra.Command{
		Use: "up", Short: "The same as flotilla dev --detach", Args: noArguments, Example: "  flotilla dev up",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.dev(cmd, *f, config, true) },
	}
	startFlags(cmd, &config)
	return cmd
}

func (a *app) devStatusCommand(f *devFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use: "status", Short: "Show what runs", Args: noArguments, Example: "  flotilla dev status -o json",
	}
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		dir, err := f.dir()
		if err != nil {
			return err
		}
		status, err := dev.Look(cmd.Context(), dir)
		if err != nil {
			return err
		}
		return a.print(*output, status, func() string { return statusText(a.out, status, a.clock()) })
	}
	return cmd
}

func statusText(o terminal.Output, s dev.Status, clock terminal.Clock) string {
	var b strings.Builder
	if s.Running {
		fmt.Fprintf(&b, "flotilla dev %s (process %d) in %s\n", o.Paint(terminal.Green, "runs"), s.Supervisor, s.DataDir)
		fmt.Fprintf(&b, "  Temporal %s, namespace %s, UI %s\n\n", s.Address, s.Namespace, s.UI)
	} else {
		fmt.Fprintf(&b, "flotilla dev does %s in %s; start it with flotilla dev\n\n", o.Paint(terminal.Yellow, "not run"), s.DataDir)
	}
	var rows [][]string
	for _, name := range []string{"temporal", "s3", "worker"} {
		if p, ok := s.Processes[name]; ok && s.Running {
			rows = append(rows, []string{name, strconv.Itoa(p.PID), clock.Age(p.Started), strconv.Itoa(p.Restarts), p.Log})
		}
	}
	if len(rows) > 0 {
		b.WriteString(terminal.Table([]string{"PROGRAM", "PROCESS", "AGE", "RESTARTS", "LOG"}, rows) + "\n")
	}
	rows = nil
	for _, h := range s.Hosts {
		rows = append(rows, []string{h.ID, h.Member(), h.Zone, h.Type, string(h.State), h.Address, clock.Age(h.Launched), h.Reason})
	}
	if len(rows) > 0 {
		b.WriteString(terminal.Table([]string{"HOST", "MEMBER", "ZONE", "TYPE", "STATE", "ADDRESS", "AGE", "NOTE"}, rows))
	} else {
		b.WriteString("no hosts\n")
	}
	return b.String()
}

func (a *app) devLogsCommand(f *devFlags) *cobra.Command {
	var following bool
	var lines int
	cmd := &cobra.Command{
		Use: "logs [worker|temporal|s3|dev]", Short: "Show a log; the worker's by default", Args: atMostOne,
		Example: "  flotilla dev logs -f worker", ValidArgs: []string{"worker", "temporal", "s3", "dev"},
	}
	cmd.Flags().BoolVarP(&following, "follow", "f", false, "go on with what is added, until Ctrl-C")
	cmd.Flags().IntVarP(&lines, "lines", "n", 50, "begin with this many of the last lines")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		dir, err := f.dir()
		if err != nil {
			return err
		}
		return dev.CopyLog(cmd.Context(), a.out, dir, slices.Concat(args, []string{"worker"})[0], max(lines, 0), following)
	}
	return cmd
}

func (a *app) devKillCommand(f *devFlags) *cobra.Command {
	return &cobra.Command{
		Use: "kill-worker", Short: "Kill the worker with kill -9, as a crash would", Args: noArguments,
		Example: "  flotilla dev kill-worker",
		RunE: func(*cobra.Command, []string) error {
			dir, err := f.dir()
			if err != nil {
				return err
			}
			pid, err := dev.KillWorker(dir)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "killed the worker (kill -9 %d); it is started again\n", pid)
			return err
		},
	}
}

func (a *app) devToolCommand() *cobra.Command {
	return &cobra.Command{
		Use: "tool NAME", Short: "Print the path of a program that was built beside Flotilla",
		Args: oneArgument("the name of a program, as in etcdctl"), Example: `  "$(flotilla dev tool etcdctl)" version`,
		RunE: func(_ *cobra.Command, args []string) error {
			programs, err := dev.FindPrograms("")
			if err != nil {
				return err
			}
			path, err := programs.Tool(args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.out, path)
			return err
		},
	}
}

func (a *app) devDownCommand(f *devFlags) *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "Stop everything, the hosts too; the next start continues", Args: noArguments,
		Example: "  flotilla dev down",
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := f.dir()
			if err != nil {
				return err
			}
			return dev.Down(cmd.Context(), dir, a.say)
		},
	}
}

func (a *app) devResetCommand(f *devFlags) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "reset", Short: "Stop everything and remove it, with all clusters and snapshots", Args: noArguments,
		Example: "  flotilla dev reset --yes",
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		dir, err := f.dir()
		if err != nil {
			return err
		}
		status, err := dev.Look(cmd.Context(), dir)
		if err != nil {
			return err
		}
		switch {
		case yes:
		case !a.person:
			return refusedWithout("--yes", dir, "resetting removes all clusters and snapshots in it")
		default:
			a.say("This removes %s: %s with their disks, and all snapshots.", dir, terminal.Count(len(status.Hosts), "host"))
			if err := a.confirm(cmd.Context(), dir, "reset"); err != nil {
				return err
			}
		}
		return dev.Reset(cmd.Context(), dir, a.say)
	}
	return cmd
}
