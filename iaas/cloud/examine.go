package cloud

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// Examination gathers what one look at a region finds (iaas.Examiner).
type Examination struct{ Checks []fleet.Check }

// Add adds a check.
func (e *Examination) Add(what string, state fleet.CheckState, found, remedy string) {
	e.Checks = append(e.Checks, fleet.Check{What: what, State: state, Found: found, Remedy: remedy})
}

// Judge adds a check that an error decides, which is a *fleet.Error or nil, and says
// whether there was none.
func (e *Examination) Judge(what, found string, err error) bool {
	if err == nil {
		e.Add(what, fleet.CheckOK, found, "")
		return true
	}
	state, said, remedy := fleet.CheckMissing, err.Error(), ""
	if kind := fleet.KindOf(err); kind == fleet.Unavailable || kind == fleet.Throttled {
		state = fleet.CheckUnknown
	}
	var ours *fleet.Error
	if errors.As(err, &ours) {
		said, remedy = ours.Message, ours.Remedy
	}
	e.Add(what, state, said, remedy)
	return false
}

// Rule is one rule of a security group, for one direction: it lets traffic of TCP on
// some ports through, from or to somebody, or keeps it out.
type Rule struct {
	From, To int // ports
	// Who is on the other side: addresses, or whoever is in a security group. Other names
	// what is not looked into, as a prefix list.
	Addresses netip.Prefix
	Group     string
	Other     string
	// Priority decides between rules, the least first; Deny goes before among equals.
	Priority int
	Deny     bool
}

func (r Rule) who() string {
	if r.Addresses.IsValid() {
		return r.Addresses.String()
	}
	return cmp.Or(r.Group, r.Other)
}

// Firewall is what the security groups of all hosts let through, all of them together.
type Firewall struct {
	Groups []string
	// In and Out are the rules. What no rule of In lets in stays out; DefaultOut says
	// whether what no rule of Out speaks of gets out.
	In, Out    []Rule
	DefaultOut bool
	// Inner says that hosts of one group reach each other where no rule speaks of it.
	Inner bool
	// Subnets are the addresses that hosts get.
	Subnets []netip.Prefix
}

// decides gives the rule that decides about traffic on a port with all of some addresses,
// or whoever is in one of the groups; sure is false if a rule that was not looked into, or
// is about a part of it, may decide as well.
func decides(rules []Rule, port int, with netip.Prefix, groups []string) (deciding *Rule, sure bool) {
	rules = slices.Clone(rules)
	slices.SortStableFunc(rules, func(a, b Rule) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), -cmp.Compare(truth(a.Deny), truth(b.Deny)))
	})
	sure = true
	for _, r := range rules {
		switch {
		case port < r.From || port > r.To:
		case r.Group != "" && slices.Contains(groups, r.Group),
			r.Addresses.IsValid() && r.Addresses.Bits() <= with.Bits() && r.Addresses.Contains(with.Addr()):
			return &r, sure
		case r.Other != "", r.Addresses.IsValid() && r.Addresses.Overlaps(with):
			sure = false
		}
	}
	return nil, sure
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// anywhere is all of IPv4.
var anywhere = netip.MustParsePrefix("0.0.0.0/0")

// storePort is that of object stores and of clouds' own services.
const storePort = 443

// Examine says whether members reach each other, whether anybody else is let in to where
// clients are served, and whether hosts get out to the object store and the run-command
// service. It knows rules alone: routes and network ACLs are other things.
func (f Firewall) Examine(e *Examination, clientPort, peerPort int) {
	f.peers(e, peerPort)
	f.clients(e, clientPort)
	f.store(e)
}

func (f Firewall) peers(e *Examination, port int) {
	what := fmt.Sprintf("members to members, port %d", port)
	var shut, unsure []string
	for _, subnet := range f.Subnets {
		in, surely := decides(f.In, port, subnet, f.Groups)
		out, surelyOut := decides(f.Out, port, subnet, f.Groups)
		lets := (in == nil && f.Inner || in != nil && !in.Deny) && (out == nil && f.DefaultOut || out != nil && !out.Deny)
		switch {
		case lets && surely && surelyOut:
		case surely && surelyOut:
			shut = append(shut, subnet.String())
		default:
			unsure = append(unsure, subnet.String())
		}
	}
	groups := strings.Join(f.Groups, ", ")
	switch {
	case len(shut) > 0:
		e.Add(what, fleet.CheckMissing, fmt.Sprintf("%s does not let hosts in %s speak to each other", groups, strings.Join(shut, ", ")),
			fmt.Sprintf("let TCP port %d of the security group in from the group itself, and out to it", port))
	case len(unsure) > 0 || len(f.Subnets) == 0:
		e.Add(what, fleet.CheckUnknown, fmt.Sprintf("the rules of %s for it name lists, or a part of %s", groups, strings.Join(unsure, ", ")), "")
	default:
		e.Add(what, fleet.CheckOK, "open in "+groups, "")
	}
}

func (f Firewall) clients(e *Examination, port int) {
	what := fmt.Sprintf("clients and workers to members, port %d", port)
	var from []string
	for _, r := range f.In {
		if !r.Deny && r.From <= port && port <= r.To && !slices.Contains(from, r.who()) {
			from = append(from, r.who())
		}
	}
	if len(from) == 0 {
		e.Add(what, fleet.CheckMissing, "no rule of "+strings.Join(f.Groups, ", ")+" lets anybody in",
			fmt.Sprintf("let TCP port %d of the security group in from where clients and workers are", port))
		return
	}
	e.Add(what, fleet.CheckOK, "open to "+strings.Join(from, ", ")+"; whether clients and workers are there is for you to know", "")
}

func (f Firewall) store(e *Examination) {
	const what = "hosts to the object store and the run-command service, port 443"
	groups := strings.Join(f.Groups, ", ")
	rule, sure := decides(f.Out, storePort, anywhere, nil)
	some := slices.ContainsFunc(f.Out, func(r Rule) bool { return !r.Deny && r.From <= storePort && storePort <= r.To })
	switch {
	case sure && (rule == nil && f.DefaultOut || rule != nil && !rule.Deny):
		e.Add(what, fleet.CheckOK, groups+" lets it out; whether there is a route is found out on a host that runs", "")
	case some || f.DefaultOut && rule == nil:
		e.Add(what, fleet.CheckUnknown, groups+" lets a part of it out; whether that is enough is found out on a host that runs", "")
	default:
		e.Add(what, fleet.CheckMissing, groups+" does not let it out", "let TCP port 443 of the security group out")
	}
}

// Room says whether a quota leaves room for one cluster more: three hosts and the one that
// a change takes beside them, or their disks. Figures are in a unit, as in vCPUs.
func (e *Examination) Room(what, unit string, quota, used, need float64) {
	found := fmt.Sprintf("%g %s, of which %g are used", quota, unit, used)
	if quota-used < need {
		e.Add(what, fleet.CheckMissing, fmt.Sprintf("%s; a cluster of three and a change of it take %g", found, need), "ask for a higher quota")
		return
	}
	e.Add(what, fleet.CheckOK, found, "")
}

// HostsOfCluster is how many hosts a cluster of three has while it is changed.
const HostsOfCluster = 4
