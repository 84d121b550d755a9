package judge

import (
	"fmt"
	"slices"
	"time"
)

// leaseLife is what clients know of one lease.
type leaseLife struct {
	id int64
	// renewed are the grant and the renewals that were acknowledged.
	renewed []renewal
	// lastTry is the end of the last call that may have renewed it.
	lastTry time.Duration
	ttl     time.Duration
	// revoking is when a revoke was first asked for, revoked when one was
	// acknowledged. Negative: never.
	revoking, revoked time.Duration
	excused           bool
}

// renewal keeps a lease alive for its TTL, from the time on at which it was done.
// When that was the client does not know, but not before it asked.
type renewal struct{ asked, ttl time.Duration }

// mustLive says whether a lease cannot have ended before a time.
func (l *leaseLife) mustLive(at time.Duration) (renewal, bool) {
	if l.revoking >= 0 && l.revoking <= at {
		return renewal{}, false
	}
	for _, r := range slices.Backward(l.renewed) {
		if r.asked+r.ttl > at {
			return r, true
		}
	}
	return renewal{}, false
}

// checkLeases checks that the keys of a lease are there while it lives, and gone
// when it was revoked or, some time after, when it was left to expire.
func (c *checker) checkLeases() {
	leases, ofKey := c.gatherLeases()
	c.back = c.h.comebacks()
	c.verdict.Checked["lease"] = len(leases)
	for _, e := range c.ledger.all {
		if l := ofKey[e.key]; l != nil && e.gone {
			known, _ := c.moments.known(e.revision)
			c.checkGone(l, known, e.key+" was deleted at revision "+itoa(e.revision))
		}
	}
	for i := range c.calls {
		call := &c.calls[i]
		if call.Outcome == OK {
			c.checkLeaseSights(call, ofKey)
		}
		l := leases[call.Lease]
		if l == nil || call.Kind == Grant {
			continue
		}
		switch {
		case call.LeaseGone && call.Kind != Revoke:
			c.checkGone(l, call.End, call.String()+" did not find its lease")
		case call.Outcome == OK && l.revoked >= 0 && l.revoked < call.Start:
			c.violated(ruleLease, "%s found lease %x alive, which was revoked at %s", call, l.id, since(l.revoked))
		}
	}
}

// gatherLeases gives the leases by their IDs and by their keys.
func (c *checker) gatherLeases() (leases map[int64]*leaseLife, ofKey map[string]*leaseLife) {
	leases, ofKey = map[int64]*leaseLife{}, map[string]*leaseLife{}
	for i := range c.calls {
		call := &c.calls[i]
		if call.Kind == Grant && call.Outcome == OK {
			leases[call.Lease] = &leaseLife{id: call.Lease, ttl: call.TTL, revoking: -1, revoked: -1}
		}
	}
	for i := range c.calls {
		call := &c.calls[i]
		l := leases[call.Lease]
		if l == nil {
			continue
		}
		switch call.Kind {
		case Grant, KeepAlive:
			l.lastTry = max(l.lastTry, call.End)
			if call.Outcome == OK {
				l.renewed = append(l.renewed, renewal{call.Start, call.TTL})
			}
		case Revoke:
			if l.revoking < 0 || call.Start < l.revoking {
				l.revoking = call.Start
			}
			if call.Outcome == OK {
				l.revoked = call.End
			}
		}
		for _, w := range call.Writes {
			ofKey[w.Key] = l
		}
	}
	return leases, ofKey
}

// pauseGrace is how long after a pause its member may still end leases.
const pauseGrace = 5 * time.Second

// checkGone takes the news that a lease or a key of it is gone.
func (c *checker) checkGone(l *leaseLife, at time.Duration, news string) {
	r, alive := l.mustLive(at)
	if !alive || l.excused {
		return
	}
	text := fmt.Sprintf("%s before %s, though lease %x was granted or renewed for %s at %s or later and not revoked",
		news, since(at), l.id, r.ttl, since(r.asked))
	for _, p := range c.h.Pauses {
		if at >= p.To && at-p.To <= pauseGrace {
			l.excused = true
			c.verdict.Excused = append(c.verdict.Excused, fmt.Sprintf("%s; a member had been paused until %s", text, since(p.To)))
			return
		}
	}
	c.violated(ruleLease, "%s", text)
}

func (c *checker) checkLeaseSights(call *Call, ofKey map[string]*leaseLife) {
	for _, s := range call.Saw {
		l := ofKey[s.Key]
		switch {
		case l == nil || call.effective():
		case s.Mod == 0:
			// Absent before it was first put is nothing new.
			if first := c.ledger.keys[s.Key]; len(first) > 0 && first[0].revision <= call.Revision {
				c.checkGone(l, call.End, call.String()+" found no "+s.Key)
			}
		case call.Kind == Serializable:
		case l.revoked >= 0 && l.revoked < call.Start:
			c.violated(ruleLease, "%s found %s, whose lease %x was revoked at %s", call, s.Key, l.id, since(l.revoked))
		case call.Start > max(l.lastTry, c.lastComeback(call.End))+l.ttl+leaseGrace:
			c.violated(ruleLease, "%s found %s, whose lease %x was renewed for the last time before %s, for %s", call, s.Key, l.id, since(l.lastTry), l.ttl)
		}
	}
}

// outage is from when on a silence is taken for a change of leaders or a stop of all
// members, after which leases begin anew.
const outage = 500 * time.Millisecond

// comebacks are the times at which a quorum answered again after an outage.
func (h *History) comebacks() (times []time.Duration) {
	var ends []time.Duration
	for i := range h.Calls {
		if call := &h.Calls[i]; call.Outcome == OK && call.Kind.linearizable() {
			ends = append(ends, call.End)
		}
	}
	slices.Sort(ends)
	for i := 1; i < len(ends); i++ {
		if ends[i]-ends[i-1] > outage {
			times = append(times, ends[i])
		}
	}
	return times
}

func (c *checker) lastComeback(until time.Duration) time.Duration {
	n, _ := slices.BinarySearch(c.back, until+1)
	if n == 0 {
		return 0
	}
	return c.back[n-1]
}
