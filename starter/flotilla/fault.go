package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas/local"
	"github.com/flotilla-etcd/flotilla/starter/dev"
	"github.com/flotilla-etcd/flotilla/starter/devenv"
	"github.com/flotilla-etcd/flotilla/starter/terminal"
)

// faultCommand injects what goes wrong in clouds, into the hosts of this machine.
func (a *app) faultCommand(f *devFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fault",
		Short: "Make hosts, zones or the cloud's API fail on purpose",
		Example: `  flotilla dev fault fail-host orders-2
  flotilla dev fault fail-zone a
  flotilla dev fault capacity b small 0     # sold out
  flotilla dev fault latency 300ms
  flotilla dev fault list
  flotilla dev fault clear`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	add := func(use, short string, args int, do func(context.Context, *local.Provider, []string) error) {
		cmd.AddCommand(&cobra.Command{
			Use: use, Short: short, Args: exactly(args, use), Example: "  flotilla dev fault " + example(use),
			RunE: func(cmd *cobra.Command, args []string) error {
				p, err := f.provider()
				if err != nil {
					return err
				}
				if err := do(cmd.Context(), p, args); err != nil {
					return err
				}
				return a.printFaults(cmd.Context(), p, asTable)
			},
		})
	}
	add("fail-host HOST|MEMBER", "Fail a host at once: all its processes are killed", 1, onHost((*local.Provider).FailHost))
	add("silence-host HOST|MEMBER", "Keep a host's agent from answering; its members go on", 1, onHost((*local.Provider).SilenceHost))
	add("heal-host HOST|MEMBER", "End the failure or the silence of a host: it boots again", 1, onHost((*local.Provider).HealHost))
	add("fail-zone ZONE", "Fail a zone with every host in it", 1, func(ctx context.Context, p *local.Provider, args []string) error {
		return p.FailZone(ctx, args[0])
	})
	add("heal-zone ZONE", "End the failure of a zone", 1, func(ctx context.Context, p *local.Provider, args []string) error {
		return p.HealZone(ctx, args[0])
	})
	add("fail-disk DISK|MEMBER", "Lose a disk for good, with all that is on it", 1, failDisk)
	add("capacity ZONE TYPE|* HOSTS", "Limit how many hosts a zone sells; -1 ends the limit", 3, setCapacity)
	add("latency DURATION", "Make each call of the cloud take longer; 0 ends that", 1, setLatency)
	add("throttle N", "Throttle each N-th call of the cloud; 0 ends that", 1, setThrottle)
	add("clear", "End all faults: failed hosts boot again", 0, func(ctx context.Context, p *local.Provider, _ []string) error {
		return p.ClearFaults(ctx)
	})
	list := &cobra.Command{Use: "list", Short: "Show the faults in force", Args: noArguments, Example: "  flotilla dev fault list -o json"}
	output := outputFlag(list)
	list.RunE = func(cmd *cobra.Command, _ []string) error {
		p, err := f.provider()
		if err != nil {
			return err
		}
		return a.printFaults(cmd.Context(), p, *output)
	}
	cmd.AddCommand(list)
	return cmd
}

func (f *devFlags) provider() (*local.Provider, error) {
	dir, err := f.dir()
	if err != nil {
		return nil, err
	}
	record, err := devenv.Read(dir)
	if err != nil {
		return nil, err
	}
	return dev.OpenProvider(record)
}

// onHost finds a host by its ID, or by the member that it was bought for.
func onHost(do func(*local.Provider, context.Context, string) error) func(context.Context, *local.Provider, []string) error {
	return func(ctx context.Context, p *local.Provider, args []string) error {
		hosts, err := p.ListHosts(ctx, nil)
		if err != nil {
			return err
		}
		for _, h := range hosts {
			if h.ID == args[0] || h.Member() == args[0] {
				return do(p, ctx, h.ID)
			}
		}
		return fleet.Errorf(fleet.NotFound, "host "+args[0], "there is none of this ID or member").
			WithRemedy("flotilla dev status shows what there is")
	}
}

// failDisk finds a disk by its ID, or by the member that it was bought for.
func failDisk(ctx context.Context, p *local.Provider, args []string) error {
	disks, err := p.ListDisks(ctx, nil)
	if err != nil {
		return err
	}
	for _, d := range disks {
		if d.ID == args[0] || d.Member() == args[0] {
			return p.FailDisk(ctx, d.ID)
		}
	}
	return fleet.Errorf(fleet.NotFound, "disk "+args[0], "there is none of this ID or member").
		WithRemedy("flotilla dev status shows what there is")
}

func setCapacity(ctx context.Context, p *local.Provider, args []string) error {
	n, err := strconv.Atoi(args[2])
	if err != nil {
		return fleet.Errorf(fleet.Invalid, "capacity", "%q is not a number of hosts", args[2])
	}
	return p.SetCapacity(ctx, args[0], args[1], n)
}

func setLatency(ctx context.Context, p *local.Provider, args []string) error {
	d, err := time.ParseDuration(args[0])
	if err != nil {
		return fleet.Errorf(fleet.Invalid, "latency", "%q is not a duration such as 300ms", args[0])
	}
	return p.SetLatency(ctx, d)
}

func setThrottle(ctx context.Context, p *local.Provider, args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return fleet.Errorf(fleet.Invalid, "throttle", "%q is not a number of calls", args[0])
	}
	return p.SetThrottle(ctx, n)
}

func (a *app) printFaults(ctx context.Context, p *local.Provider, output format) error {
	faults, err := p.ListFaults(ctx)
	if err != nil {
		return err
	}
	return a.print(output, faults, func() string { return faultsText(faults) })
}

func faultsText(f local.Faults) string {
	var rows [][]string
	add := func(name, value string) { rows = append(rows, []string{name, value}) }
	if len(f.Hosts) > 0 {
		add("failed hosts", strings.Join(f.Hosts, ", "))
	}
	if len(f.Silent) > 0 {
		add("silent hosts", strings.Join(f.Silent, ", "))
	}
	if len(f.Zones) > 0 {
		add("failed zones", strings.Join(f.Zones, ", "))
	}
	for _, limit := range f.Capacity {
		add("capacity", fmt.Sprintf("zone %s sells %d hosts of type %s in all", limit.Zone, limit.Hosts, limit.Type))
	}
	if f.Latency > 0 {
		add("latency", f.Latency.String()+" more for each call")
	}
	if f.ThrottleEvery > 0 {
		add("throttle", fmt.Sprintf("each %d-th call", f.ThrottleEvery))
	}
	if f.ErrorRate > 0 {
		add("errors", fmt.Sprintf("%.0f %% of the calls", 100*f.ErrorRate))
	}
	if len(rows) == 0 {
		return "no faults\n"
	}
	return terminal.Table([]string{"FAULT", "WHAT"}, rows)
}

func exactly(n int, use string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		return usageError(cmd, fmt.Errorf("it is used as: flotilla dev fault %s", use))
	}
}

func example(use string) string {
	return strings.NewReplacer("HOST|MEMBER", "orders-2", "DISK|MEMBER", "orders-2", "ZONE", "a", "TYPE|*", "small", "HOSTS", "0", "DURATION", "300ms", " N", " 10").Replace(use)
}

func refusedWithout(flag, resource, why string) error {
	return fleet.Errorf(fleet.Blocked, resource, "%s, and there is no terminal to ask at", why).WithRemedy("say %s", flag)
}
