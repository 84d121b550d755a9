// Package plan decides. Given an operation, one observation of its cluster and
// the steps that failed for good, Next gives the wave of steps that may run
// together now, or says that the operation is done, blocked, or has to wait for a
// better look. Forecast plays the same function forward on a model of the world
// (plan/model), which is what a dry run shows.
//
// It is pure: no clock, no randomness, no I/O. The rules that no operation may
// break live here, as the preconditions of each step, and the property tests hold
// them against random clusters, faults and crashes. Ambiguity means: do nothing
// that destroys.
package plan

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// Input is everything that a decision is made from.
type Input struct {
	Operation   fleet.Operation
	Observation fleet.Observation
	// Memory is what the operation remembers of its own steps.
	fleet.Memory
	// Policy is the one in force.
	Policy fleet.Policy
}

// Next decides what may be done now.
func Next(in Input) fleet.Decision {
	switch in.Operation.Kind {
	case fleet.CreateCluster:
		return create(in)
	case fleet.DecommissionCluster:
		return decommission(in)
	case fleet.AdoptCluster:
		return adopt(in)
	case fleet.StopCluster:
		return stop(in)
	case fleet.StartCluster:
		return start(in)
	case fleet.ChangeLeader:
		return changeLeader(in)
	case fleet.UpscaleCluster:
		return upscale(in)
	case fleet.ScaleCluster:
		return scale(in)
	case fleet.MigrateByLearner:
		return migrate(in)
	case fleet.FailoverMember:
		return failover(in)
	case fleet.UpgradeCluster:
		return upgrade(in)
	case fleet.RollCluster:
		return roll(in)
	case fleet.BackupCluster:
		return backup(in)
	case fleet.RecoverQuorum:
		return copied(in, recoverQuorum)
	case fleet.RestoreCluster:
		return copied(in, restoreInPlace)
	case fleet.RestorePrefixes:
		return restorePrefixes(in)
	case fleet.DiscardSetAside:
		return discard(in)
	}
	return blocked(fleet.Invalid, "there is no operation %q", in.Operation.Kind)
}

// MemberNames are the names of a new cluster's members, voters first. A name is
// never reused within a cluster; a cluster that is created again has another UID.
func MemberNames(spec fleet.Spec) []string {
	names := make([]string, spec.Voters+spec.Learners)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%d", spec.Name, i+1)
	}
	return names
}

// EndpointOf is where a member on a host is. Members have a host of their own, so
// they take the first two ports that the host offers.
func EndpointOf(host fleet.Host) fleet.Endpoint {
	return fleet.Endpoint{
		Member: host.Member(), Address: host.Address,
		ClientPort: host.Ports.First, PeerPort: host.Ports.First + 1,
	}
}

// Endpoints are where clients should connect while a wave runs: at the voters that
// answer, without those that the wave takes away. Where none answers, at all hosts.
func Endpoints(in Input, wave []fleet.Step) []fleet.Endpoint {
	var all, serving []fleet.Endpoint
	for _, s := range newRoster(in).seats {
		if s.host == nil || s.host.Address == "" {
			continue
		}
		endpoint := EndpointOf(s.host.Host)
		all = append(all, endpoint)
		leaves := slices.ContainsFunc(wave, func(step fleet.Step) bool { return step.Member == s.name && step.DisturbsMember() })
		if s.voter() && s.etcd.Answers && !leaves {
			serving = append(serving, endpoint)
		}
	}
	if len(serving) == 0 {
		return all
	}
	return serving
}

// step makes a step of an operation with its token. The token follows from the
// operation, the member and the step, and from how often that step has failed for
// good: another try is another command and needs another token.
func (in Input) step(kind fleet.StepKind, member string) fleet.Step {
	return fleet.Step{Kind: kind, Member: member, Token: in.token(in.Operation.ID, kind, member, in.failed(kind, member))}
}

// purchase makes a step that buys. Its token follows from the cluster's
// incarnation, not from the operation: a list that lags behind may not yet show
// what an earlier attempt bought, and the token then gives the same again. It
// changes only when that very token has failed. request is what else the purchase
// is made of.
func (in Input) purchase(kind fleet.StepKind, member, request string) fleet.Step {
	step := fleet.Step{Kind: kind, Member: member}
	for n := 0; ; n++ {
		step.Token = in.purchaseToken(kind, member, request, n)
		if !slices.ContainsFunc(in.Failures, func(f fleet.Failure) bool { return f.Step.Token == step.Token }) {
			return step
		}
	}
}

func (in Input) purchaseToken(kind fleet.StepKind, member, request string, failed int) string {
	return in.token(in.Operation.UID, kind, member+"/"+request, failed)
}

func (in Input) token(scope string, kind fleet.StepKind, what string, failed int) string {
	token := scope + "/" + what + "/" + string(kind)
	if failed > 0 {
		token = fmt.Sprintf("%s/%d", token, failed)
	}
	if len(token) > fleet.MaxToken {
		token = fmt.Sprintf("%x", sha256.Sum256([]byte(token))) // 64 characters
	}
	return token
}

// failed counts how often a step failed for good in this operation.
func (in Input) failed(kind fleet.StepKind, member string) int {
	n := 0
	for _, f := range in.Failures {
		if f.Step.Kind == kind && f.Step.Member == member {
			n++
		}
	}
	return n
}

// fatal gives the first failure that another try cannot mend. A zone without
// capacity is mended by another zone; what was lost under a step is no longer in
// the next observation, and that says what follows.
func (in Input) fatal() *fleet.Failure {
	for i, f := range in.Failures {
		mended := f.Kind == fleet.Lost || f.Kind == fleet.OutOfCapacity && f.Step.Kind == fleet.LaunchHost
		if !mended || in.failed(f.Step.Kind, f.Step.Member) > maxLaunches {
			return &in.Failures[i]
		}
	}
	return nil
}

// failedFor blocks because of a fatal failure. Failures belong to one operation: the
// next one starts without any.
func failedFor(f *fleet.Failure) fleet.Decision {
	return blocked(f.Kind, "%s failed: %s; mend that and submit the operation again, which goes on from here", f.Step, f.Message)
}

// stuckAt is failedFor in a cluster that runs: what cannot be mended is replaced.
func stuckAt(f *fleet.Failure) fleet.Decision {
	switch f.Step.Kind {
	case fleet.StartHost, fleet.AttachDisk, fleet.PrepareHost, fleet.UpdateMember, fleet.StartMember, fleet.AwaitInSync,
		fleet.RestartMember, fleet.RollBackMember:
		return blocked(f.Kind, "%s failed: %s; mend that, or have it replaced (flotilla failover), and submit the operation again, which goes on from here",
			f.Step, f.Message)
	}
	return failedFor(f)
}

// maxLaunches bounds how many hosts are tried for one member of one operation:
// every zone of a region (the largest have six) and a spare.
const maxLaunches = 7

func act(wave ...fleet.Step) fleet.Decision {
	return fleet.Decision{Verdict: fleet.VerdictAct, Wave: wave}
}

// inTurn starts members together, each after those before it.
func inTurn(wave ...fleet.Step) fleet.Decision {
	var before []fleet.Endpoint
	for i := range wave {
		wave[i].After = slices.Clone(before)
		if place := wave[i].Endpoint; place != nil {
			before = append(before, *place)
		}
	}
	return act(wave...)
}

func done(format string, args ...any) fleet.Decision {
	return fleet.Decision{Verdict: fleet.VerdictDone, Reason: fmt.Sprintf(format, args...)}
}

func wait(format string, args ...any) fleet.Decision {
	return fleet.Decision{Verdict: fleet.VerdictWait, Reason: fmt.Sprintf(format, args...)}
}

func blocked(kind fleet.Kind, format string, args ...any) fleet.Decision {
	return fleet.Decision{Verdict: fleet.VerdictBlocked, Kind: kind, Reason: fmt.Sprintf(format, args...)}
}

func sentence(items []string) string { return strings.Join(items, ", ") }
