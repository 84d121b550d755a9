package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// number is a flag that takes a whole number and says so.
type number struct{ value *int }

func (n number) String() string {
	if n.value == nil || *n.value == 0 {
		return ""
	}
	return strconv.Itoa(*n.value)
}

// Type gives the name of the value in help texts.
func (n number) Type() string { return "n" }

// Set reads the number.
func (n number) Set(text string) error {
	v, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		return errors.New("it is not a whole number")
	}
	*n.value = v
	return nil
}

// amount is a flag that takes an amount of bytes with its unit.
type amount struct{ value *fleet.Bytes }

func (a amount) String() string {
	if a.value == nil || *a.value == 0 {
		return ""
	}
	return a.value.String()
}

// Type gives the name of the value in help texts.
func (a amount) Type() string { return "size" }

// Set reads the amount.
func (a amount) Set(text string) error { return a.value.UnmarshalText([]byte(text)) }

// period is a flag that takes a duration with its unit.
type period struct{ value *fleet.Duration }

func (p period) String() string {
	if p.value == nil || *p.value == 0 {
		return ""
	}
	return p.value.String()
}

// Type gives the name of the value in help texts.
func (p period) Type() string { return "duration" }

// Set reads the duration. Zero would be the cluster's own, so it is refused.
func (p period) Set(text string) error {
	if err := p.value.UnmarshalText([]byte(text)); err != nil {
		return err
	}
	if *p.value == 0 {
		return errors.New("it has to be more than nothing; leave it out for the cluster's own")
	}
	return nil
}

// policyFields are the flags of one call's policy, by the fields that they stand for.
var policyFields = map[string]string{
	"policy.approval": "approval", "policy.soak": "soak", "policy.onFailure": "on-failure",
}

// policyFlags are what a call may choose over its cluster's policy. The last of them is
// for operations that restart members.
func policyFlags(cmd *cobra.Command, o *fleet.Options, restarts bool) {
	flags := cmd.Flags()
	flags.BoolVar(&o.AnyTime, "any-time", false, "do not wait for a maintenance window")
	flags.Var(period{&o.Policy.Soak}, "soak", "how long all members must be healthy and in sync before the next is touched")
	flags.StringVar((*string)(&o.Policy.Approval), "approval", "", "`when` a person has to approve it first: never, always, or destructive (where hosts or disks are given up)")
	flags.StringVar((*string)(&o.Policy.OnFailure), "on-failure", "", "`what` follows a failed step: stop, or ask a person")
	if restarts {
		flags.BoolVar(&o.AllowDowntime, "allow-downtime", false, "let the only voter be restarted: its clients wait meanwhile")
	}
	complete(cmd, "approval", string(fleet.ApprovalNever), string(fleet.ApprovalAlways), string(fleet.ApprovalDestructive))
	complete(cmd, "on-failure", string(fleet.FailureStops), string(fleet.FailureAsks))
}

// complete gives the shell the values of a flag.
func complete(cmd *cobra.Command, flag string, values ...string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

// inFlags names problems after the flags that the fields were set with, where there is
// one: a person who typed --voters looks for that.
func inFlags(ps fleet.Problems, flags map[string]string) fleet.Problems {
	named := make(fleet.Problems, len(ps))
	for i, p := range ps {
		path, _, _ := strings.Cut(p.Path, "[")
		if flag, ok := flags[path]; ok {
			p.Path = "--" + flag
		}
		named[i] = p
	}
	return named
}

// mistaken gives the mistake in the command line that problems are, or nil.
func mistaken(cmd *cobra.Command, ps fleet.Problems) error {
	if len(ps) == 0 {
		return nil
	}
	return usageError(cmd, errors.New(ps.Error()))
}

// atMostOneOf refuses flags that exclude each other.
func atMostOneOf(cmd *cobra.Command, names ...string) error {
	var given []string
	cmd.Flags().Visit(func(f *pflag.Flag) {
		for _, name := range names {
			if f.Name == name {
				given = append(given, "--"+name)
			}
		}
	})
	if len(given) > 1 {
		return usageError(cmd, fmt.Errorf("%s exclude each other: give one of them", strings.Join(given, " and ")))
	}
	return nil
}

// anyOf says whether one of the flags was given.
func anyOf(cmd *cobra.Command, names ...string) bool {
	for _, name := range names {
		if cmd.Flags().Changed(name) {
			return true
		}
	}
	return false
}
