package judge

import (
	"fmt"
	"slices"
)

// checkSights checks that every answer shows the store as it was at the answer's own
// revision: a key has what was last written to it up to there. For the read after
// the end this says that no acknowledged write was lost.
func (c *checker) checkSights() {
	maybe := map[string][]*Call{}
	for i := range c.calls {
		if call := &c.calls[i]; call.Kind == Delete && call.Outcome == Unknown {
			maybe[call.Writes[0].Key] = append(maybe[call.Writes[0].Key], call)
		}
	}
	for i := range c.calls {
		call := &c.calls[i]
		revision := call.sightRevision()
		for _, s := range call.Saw {
			c.verdict.Checked["sight"]++
			last := c.ledger.last(s.Key, revision)
			switch {
			case s.Mod > revision:
				c.violated(ruleRead, "%s shows %s of revision %d, which is later than the answer", c.reader(call), s.Key, s.Mod)
			case s.Mod > 0 && last.revision != s.Mod:
				c.violated(ruleRead, "%s shows %s of revision %d (%s), and revision %d (%s) is later: %s",
					c.reader(call), s.Key, s.Mod, s.Value, last.revision, last, last.witness)
			case s.Mod == 0 && last != nil && !last.gone:
				// A deletion that no watch could see may have come between.
				unseen := c.ledger.leased[s.Key] || slices.ContainsFunc(maybe[s.Key], func(d *Call) bool { return d.Start <= call.End })
				if !unseen || c.covered.cover(last.revision, revision) {
					c.violated(ruleRead, "%s shows no %s, which was written at revision %d (%s, %s) and not deleted",
						c.reader(call), s.Key, last.revision, last, last.witness)
				} else {
					c.unexplained[s.Key] = true
				}
			}
		}
	}
}

func (c *checker) reader(call *Call) string {
	if call.Final {
		return fmt.Sprintf("the last read, at revision %d,", call.Revision)
	}
	return call.String()
}

// checkOrder checks that what a quorum answers is never older than what anybody had
// been told before it was asked, and that one member never answers an older state
// than before, not even where reads may be stale.
func (c *checker) checkOrder() {
	members := map[uint64][]moment{}
	for i := range c.calls {
		call := &c.calls[i]
		if call.Outcome == OK && call.Member != 0 {
			members[call.Member] = append(members[call.Member], moment{call.End, call.Revision})
		}
	}
	told := map[uint64]moments{}
	for member, all := range members {
		told[member] = newest(all)
	}
	for i := range c.calls {
		call := &c.calls[i]
		revision, changed := call.Revision, call.effective()
		if happened, ok := c.ledger.happened[i]; ok {
			revision, changed = happened, true
		} else if call.Outcome != OK {
			continue
		}
		if call.Kind.linearizable() {
			before := c.moments.before(call.Start)
			switch {
			case changed && before >= revision:
				c.violated(ruleOrder, "%s took effect at revision %d, and revision %d was known before it was asked for", call, revision, before)
			case !changed && before > revision:
				c.violated(ruleOrder, "%s is stale: revision %d was known before it was asked for", call, before)
			}
		}
		if before := told[call.Member].before(call.Start); call.Outcome == OK && before > revision {
			c.violated(ruleOrder, "%s went back in time: member %x had answered with revision %d before", call, call.Member, before)
		}
	}
}
