package plan

import (
	"slices"

	"github.com/flotilla-etcd/flotilla/fleet"
)

func contains(names []string, name string) bool { return slices.Contains(names, name) }

// recertify renews certificates, or replaces the authority that they come from: first
// everybody trusts the next one too, then it signs, then nobody trusts the last one.
// Clients learn of the new one in between, which is why these are three requests.
func recertify(in Input) fleet.Decision {
	op := in.Operation
	trust := in.Observation.Trust
	g := goal{voters: op.Spec.Voters, learners: op.Spec.Learners}
	before := func(d fleet.Decision) { g.first = &d } // what the authority itself needs
	// all blocks a move that not every member is ready for; one whose host does not
	// answer now may be.
	all := func(ready func(*fleet.MemberReport) bool, move fleet.StepKind, not string) {
		switch name, known := straggler(in, ready); {
		case name == "":
			before(act(in.step(move, "")))
		case !known:
			before(wait("the certificates of %s are not known: its host does not answer", name))
		default:
			before(blocked(fleet.Blocked, not, name, op.Cluster))
		}
	}
	both := []string{trust.Signer, trust.Other}
	switch op.Options.Certificates {
	case fleet.RenewLeaves:
		g.inPlace = func(r roster, s seat) (fleet.Decision, bool) {
			return r.renew(s, func(m *fleet.MemberReport) bool { return m.Certified == op.Generation })
		}
		g.done = "all members have new certificates"
	case fleet.TrustNewCA:
		if trust.Other == "" {
			before(act(in.step(fleet.ExtendAuthority, "")))
		}
		g.inPlace = func(r roster, s seat) (fleet.Decision, bool) { return r.trusting(s, both) }
		g.done = "members trust the new authority beside the old one; have clients fetch certificates again (flotilla env), then go on with flotilla roll --use-new-ca"
	case fleet.UseNewCA:
		switch {
		case trust.Other == "":
			before(blocked(fleet.Blocked, "%s has no second authority; begin with flotilla roll %s --trust-new-ca", op.Cluster, op.Cluster))
		case !trust.Switched:
			all(func(m *fleet.MemberReport) bool { return !m.TrustIsOld && sameSet(m.Trusts, both) }, fleet.SwitchAuthority,
				"%s does not trust the new authority yet; finish flotilla roll %s --trust-new-ca first")
		}
		g.inPlace = func(r roster, s seat) (fleet.Decision, bool) {
			return r.renew(s, func(m *fleet.MemberReport) bool { return m.Issuer == trust.Signer })
		}
		g.done = "members have certificates of the new authority; when clients have too, end with flotilla roll --drop-old-ca"
	case fleet.DropOldCA:
		switch {
		case trust.Other != "" && !trust.Switched:
			before(blocked(fleet.Blocked, "the new authority of %s does not sign yet; flotilla roll %s --use-new-ca first", op.Cluster, op.Cluster))
		case trust.Other != "":
			// Once one member trusts the new authority only, who has a certificate of the
			// old one is no peer of it any more.
			all(func(m *fleet.MemberReport) bool { return m.Issuer == trust.Signer }, fleet.RetireAuthority,
				"%s has no certificate of the new authority yet; finish flotilla roll %s --use-new-ca first")
		}
		g.inPlace = func(r roster, s seat) (fleet.Decision, bool) { return r.trusting(s, []string{trust.Signer}) }
		g.done = "members trust the new authority only"
	default:
		return blocked(fleet.Invalid, "there is no change of certificates called %q", op.Options.Certificates)
	}
	return change(in, g)
}

// straggler gives a member that is not as it should be, and whether that is known; an
// empty name when all are.
func straggler(in Input, asItShould func(*fleet.MemberReport) bool) (name string, known bool) {
	for _, s := range newRoster(in).members() {
		switch m := s.report(); {
		case m == nil:
			name = s.name
		case !asItShould(m):
			return s.name, true
		}
	}
	return name, false
}

// renew signs a member's certificates anew unless they are as they should be.
func (r roster) renew(s seat, renewed func(*fleet.MemberReport) bool) (fleet.Decision, bool) {
	m := s.report()
	switch {
	case m == nil:
		return wait("the certificates of %s are not known: its host does not answer", s.name), true
	case !renewed(m):
		return act(r.step(fleet.RenewCertificates, s)), true
	}
	return fleet.Decision{}, false
}

// trusting has a member trust just these authorities: their bundle is brought to it,
// and it is restarted, because etcd reads it only then.
func (r roster) trusting(s seat, authorities []string) (fleet.Decision, bool) {
	m := s.report()
	if d, pending := r.renew(s, func(m *fleet.MemberReport) bool { return sameSet(m.Trusts, authorities) }); pending {
		return d, true
	}
	run, known := s.configured()
	switch {
	case !m.TrustIsOld:
		return fleet.Decision{}, false
	case !known:
		return wait("it is not known how %s is configured", s.name), true
	}
	run.Generation = r.in.Operation.Generation
	return r.restart(s, run), true
}

func sameSet(a, b []string) bool {
	x, y := slices.Clone(a), slices.Clone(b)
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(x, y)
}
