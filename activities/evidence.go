package activities

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// sighting is what four witnesses said of one member at one look, and what they
// said it by. It is plain data, so that an attempt that dies leaves it to the next.
type sighting struct {
	Began time.Time `json:"began"` // the look, and when it had ended
	Ended time.Time `json:"ended"`

	Cloud fleet.Testimony `json:"cloud"`
	Host  fleet.Testimony `json:"host"`
	Peers fleet.Testimony `json:"peers"`
	// Client is alive when the member's own status was answered.
	Client fleet.Testimony `json:"client"`
	// Restarts is how often its host had restarted it, and Ready whether it served.
	Restarts int  `json:"restarts,omitempty"`
	Ready    bool `json:"ready,omitempty"`
	// DiskGone says that its disk was in no list, or was being deleted.
	DiskGone bool `json:"diskGone,omitempty"`
	// The same in words, each a clause of a sentence; empty where there is nothing to say.
	CloudWords, HostWords, PeersWords, ClientWords string
}

// alive says that some witness saw the member live. A process that does not serve is
// no witness: it may be one that crashes again and again.
func (s sighting) alive() bool {
	return s.Peers == fleet.SaysAlive || s.Client == fleet.SaysAlive || s.Host == fleet.SaysAlive && s.Ready
}

// weigh gives what a witness said in all: alive if it said so once, dead if it said
// so every time, and unknown otherwise.
func weigh(said []fleet.Testimony) fleet.Testimony {
	switch {
	case slices.Contains(said, fleet.SaysAlive):
		return fleet.SaysAlive
	case len(said) == 0 || slices.ContainsFunc(said, func(t fleet.Testimony) bool { return t != fleet.SaysDead }):
		return fleet.SaysUnknown
	}
	return fleet.SaysDead
}

// testify puts all looks at a member together. They last from the end of the first
// one to the beginning of the last one: in between, nobody saw it alive.
func testify(member string, looks []sighting) fleet.Evidence {
	e := fleet.Evidence{Member: member, Looks: len(looks)}
	if len(looks) == 0 {
		e.Cloud, e.Host, e.Peers, e.Client = fleet.SaysUnknown, fleet.SaysUnknown, fleet.SaysUnknown, fleet.SaysUnknown
		return e
	}
	last := looks[len(looks)-1]
	e.Over = fleet.Duration(max(0, last.Began.Sub(looks[0].Ended)))
	e.Cloud = weigh(each(looks, func(s sighting) fleet.Testimony { return s.Cloud }))
	e.Host = weigh(each(looks, func(s sighting) fleet.Testimony { return s.Host }))
	e.Peers = weigh(each(looks, func(s sighting) fleet.Testimony { return s.Peers }))
	e.Client = weigh(each(looks, func(s sighting) fleet.Testimony { return s.Client }))
	e.DiskLost = !slices.ContainsFunc(looks, func(s sighting) bool { return !s.DiskGone })
	if crashes(looks) {
		e.Host, last.HostWords = fleet.SaysDead, "its host starts it again and again, and it ends: "+last.HostWords
	}
	e.Words = sentenceOf(e, last)
	return e
}

func each(looks []sighting, which func(sighting) fleet.Testimony) []fleet.Testimony {
	all := make([]fleet.Testimony, len(looks))
	for i, s := range looks {
		all[i] = which(s)
	}
	return all
}

// crashes says that a member crashes in a loop: its host answered every time, it was
// restarted meanwhile, and it never served.
func crashes(looks []sighting) bool {
	for _, s := range looks {
		if s.Host == fleet.SaysUnknown || s.Ready {
			return false
		}
	}
	return looks[len(looks)-1].Restarts > looks[0].Restarts
}

// sentenceOf says it for a person: "its host is terminated; 2 of 2 peers have had no
// connection for 15 s; nothing answers at https://10.0.0.1:2379".
func sentenceOf(e fleet.Evidence, last sighting) string {
	var words []string
	for _, clause := range []string{last.CloudWords, last.HostWords, last.PeersWords, last.ClientWords} {
		if clause != "" {
			words = append(words, clause)
		}
	}
	if e.DiskLost {
		words = append(words, "its disk is gone")
	}
	return fmt.Sprintf("%s, at %d looks over %s", strings.Join(words, "; "), e.Looks, time.Duration(e.Over).Round(time.Second/10))
}

// since adds a look, and leaves out those that do not count any more: at which the
// member was seen alive, all before that, and all from before a gap in which nobody
// looked. A witness that has just not noticed yet is asked again, for a while.
func since(looks []sighting, next sighting, gap time.Duration) []sighting {
	if n := len(looks); n > 0 && (next.alive() || looks[n-1].alive() || next.Began.Sub(looks[n-1].Ended) > gap) {
		looks = nil
	}
	return append(looks, next)
}

// enough says that looks are as many, and last as long, as a verdict of dead takes.
func enough(looks []sighting, over time.Duration) bool {
	return len(looks) >= fleet.MinLooks && looks[len(looks)-1].Began.Sub(looks[0].Ended) >= over
}

// still gives the evidence by which a member was dead when its host was released, with
// the looks since then, at all of which there was nothing left of it; else nil. What ran
// on a host that is gone cannot have lived in between, so that time counts as well.
func still(known []fleet.Evidence, member string, looks []sighting, over time.Duration) *fleet.Evidence {
	at := slices.IndexFunc(known, func(e fleet.Evidence) bool { return e.Member == member })
	now := testify(member, looks)
	if at < 0 || now.Cloud != fleet.SaysDead || now.Peers != fleet.SaysDead || now.Client != fleet.SaysDead || now.Host == fleet.SaysAlive {
		return nil
	}
	e := known[at]
	if !e.Dead(fleet.Duration(over)) {
		return nil
	}
	e.Looks += now.Looks
	e.Over += now.Over
	e.Cloud, e.DiskLost = now.Cloud, e.DiskLost || now.DiskLost
	e.Words = sentenceOf(e, looks[len(looks)-1]) + ", before its host was released and since"
	return &e
}
