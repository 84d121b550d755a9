package activities

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/flotilla-etcd/flotilla/etcdadmin"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/node"
)

const (
	// leastPause lies between two looks however short the time is that a verdict takes,
	// and longPause where that is long; mostLooks is what fits into a heartbeat.
	leastPause = 200 * time.Millisecond
	longPause  = 10 * time.Second
	mostLooks  = 60
	// lookWithin bounds one look: a host that is dead says nothing for all of it.
	lookWithin = 20 * time.Second
	// testimonyTimeout is how long one host is waited for in it.
	testimonyTimeout = 5 * time.Second
	// dialTimeout is how long a client port may take to take a connection.
	dialTimeout = time.Second
	// unawares is how long witnesses may take to notice a death: peers have heard from it
	// within a look, and a cloud takes a while to find that a host does not answer.
	unawares = 10 * time.Second
)

// suspects are the members that a failover may be about: those that etcd lists and
// that do not answer, or the named ones of them. Whose host the operation itself has
// just bought is coming up and is not doubted.
func suspects(op fleet.Operation, obs fleet.Observation, purchases []fleet.Step) []fleet.ObservedMember {
	var all []fleet.ObservedMember
	for _, m := range obs.Members {
		named := len(op.Options.Members) == 0 || slices.Contains(op.Options.Members, m.Name)
		host := obs.Host(m.Name)
		coming := host != nil && slices.ContainsFunc(purchases, func(p fleet.Step) bool { return p.Token == host.Tags[fleet.TagToken] })
		if m.Name != "" && !m.Answers && named && !coming {
			all = append(all, m)
		}
	}
	return all
}

// gatherEvidence asks witnesses again and again for how the suspects are, until nobody
// has seen them alive for over, or somebody still does after twice that time. A
// member that answers itself is not asked about any more, and one that was dead before
// its host was released is not asked about again when all still say so.
func (r Region) gatherEvidence(ctx context.Context, op fleet.Operation, suspects []fleet.ObservedMember, known []fleet.Evidence, over time.Duration) ([]fleet.Evidence, error) {
	client, err := r.client(ctx, op, "")
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, looks, pack := carrying[map[string][]sighting](ctx)
	if looks == nil {
		looks = map[string][]sighting{}
	}
	patience := time.Now().Add(2*over + unawares)
	for asked := suspects; ; {
		sighted, _ := within(ctx, lookWithin, "asking witnesses", func(ctx context.Context) (map[string]sighting, error) {
			return r.sight(ctx, client, op, asked), nil
		})
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for name, s := range sighted {
			looks[name] = since(looks[name], s, 2*pauseFor(over)+lookWithin)
		}
		pack(looks)
		asked = slices.DeleteFunc(slices.Clone(asked), func(m fleet.ObservedMember) bool {
			return sighted[m.Name].Client == fleet.SaysAlive || enough(looks[m.Name], over) || still(known, m.Name, looks[m.Name], over) != nil
		})
		if len(asked) == 0 || time.Now().After(patience) {
			break
		}
		name := asked[0].Name
		if err := lookOn(ctx, looks[name][0].Ended, over, fmt.Sprintf("is %s dead? Nobody has seen it alive", name)); err != nil {
			return nil, err
		}
	}
	var all []fleet.Evidence
	for _, m := range suspects {
		e := testify(m.Name, looks[m.Name])
		if before := still(known, m.Name, looks[m.Name], over); before != nil && !enough(looks[m.Name], over) {
			e = *before
		}
		if e.Cloud == fleet.SaysDead && !e.DiskLost {
			r.judgeZone(ctx, op, m.Name, &e)
		}
		all = append(all, e)
	}
	return all, nil
}

// pauseFor gives the pause between two looks.
func pauseFor(over time.Duration) time.Duration {
	return max(leastPause, min(over/4, longPause), over/mostLooks)
}

// lookOn waits for the time of the next look of those that are to last so long in all since
// the first one, heart beating.
func lookOn(ctx context.Context, since time.Time, over time.Duration, words string) error {
	return pauseBetween(ctx, max(leastPause, min(pauseFor(over), over-time.Since(since))), since, over, words)
}

// pauseBetween waits between two looks of those that began at a time, heart beating.
func pauseBetween(ctx context.Context, wait time.Duration, since time.Time, over time.Duration, words string) error {
	for until := time.Now().Add(wait); time.Now().Before(until); {
		seen := time.Since(since)
		beat(ctx, int(min(99, 100*seen/max(over, 1))), fmt.Sprintf("%s for %s of %s", words, seen.Round(time.Second), over))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(min(beatEvery, time.Until(until))):
		}
	}
	return nil
}

// sight asks all witnesses once, side by side. A witness that cannot be asked says
// unknown.
func (r Region) sight(ctx context.Context, client *etcdadmin.Client, op fleet.Operation, members []fleet.ObservedMember) map[string]sighting {
	var (
		obs      fleet.Observation
		cloudErr error
		etcd     etcdadmin.Observation
		peers    []etcdadmin.Hearsay
		group    errgroup.Group
		all      = make([]sighting, len(members))
	)
	for i := range all {
		all[i].Began = time.Now()
	}
	group.Go(func() error {
		if obs, cloudErr = r.resources(ctx, op); cloudErr == nil {
			r.askSuspects(ctx, op, &obs, members)
		}
		return nil
	})
	group.Go(func() error { etcd = client.Observe(ctx); return nil })
	group.Go(func() error { peers, _ = client.Peers(ctx); return nil }) // silence is in the answer
	for i, m := range members {
		group.Go(func() error { all[i].Client, all[i].ClientWords = atClientPort(ctx, m); return nil })
	}
	_ = group.Wait()
	sighted := map[string]sighting{}
	for i, m := range members {
		s := all[i]
		s.Peers, s.PeersWords = fleet.SaysUnknown, "its peers could not be asked"
		byCloud(&s, op, obs, cloudErr, m.Name)
		for _, h := range peers {
			if h.ID == m.ID {
				byPeers(&s, h)
			}
		}
		if now := slices.IndexFunc(etcd.Members, func(now fleet.ObservedMember) bool { return now.ID == m.ID && now.Answers }); now >= 0 {
			s.Client, s.ClientWords = fleet.SaysAlive, "it answers"
		}
		s.Ended = time.Now()
		sighted[m.Name] = s
	}
	return sighted
}

// askSuspects asks the hosts of suspects that run for their reports.
func (r Region) askSuspects(ctx context.Context, op fleet.Operation, obs *fleet.Observation, members []fleet.ObservedMember) {
	var group errgroup.Group
	for i := range obs.Hosts {
		h := &obs.Hosts[i]
		ours := h.Tags[fleet.TagUID] == op.UID && slices.ContainsFunc(members, func(m fleet.ObservedMember) bool { return m.Name == h.Member() })
		if !ours || h.State != fleet.HostRunning {
			continue
		}
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, testimonyTimeout)
			defer cancel()
			report, err := call[fleet.HostReport](ctx, r.Provider, h.Host, node.VerbReport, nil)
			if h.Report = report; err != nil {
				h.Silent = err.Error()
			}
			return nil
		})
	}
	_ = group.Wait()
}

// byCloud takes the word of the cloud and of the member's host.
func byCloud(s *sighting, op fleet.Operation, obs fleet.Observation, err error, name string) {
	s.Cloud, s.Host = fleet.SaysUnknown, fleet.SaysUnknown
	if err != nil {
		s.CloudWords = "the cloud does not say how its host is"
		return
	}
	disk := slices.IndexFunc(obs.Disks, func(d fleet.Disk) bool { return d.Member() == name && d.Tags[fleet.TagUID] == op.UID })
	s.DiskGone = disk < 0 || obs.Disks[disk].State == fleet.DiskDeleting || obs.Disks[disk].State == fleet.DiskDeleted
	s.Cloud, s.CloudWords = fleet.SaysDead, "its host is in no list of the cloud's any more"
	if len(obs.Unreached) > 0 { // it may be there
		s.DiskGone = false
		s.Cloud, s.CloudWords = fleet.SaysUnknown, fmt.Sprintf("no host of it is seen, and %s does not say what it has", obs.Unreached[0].Place)
	}
	for _, h := range obs.Hosts {
		if h.Member() != name || h.Tags[fleet.TagUID] != op.UID {
			continue
		}
		switch h.State {
		case fleet.HostRunning:
			s.Cloud, s.CloudWords = fleet.SaysAlive, ""
		case fleet.HostStopped, fleet.HostTerminating, fleet.HostTerminated:
			s.Cloud, s.CloudWords = fleet.SaysDead, "its host is "+string(h.State)
		default:
			s.Cloud, s.CloudWords = fleet.SaysUnknown, "its host is "+string(h.State)
		}
		if h.Reason != "" && s.CloudWords != "" {
			s.CloudWords += " (" + h.Reason + ")"
		}
		byHost(s, h, name)
		if s.Cloud != fleet.SaysDead {
			return // of two hosts, the one that lives counts
		}
	}
}

// byHost takes the word of a member's host.
func byHost(s *sighting, h fleet.ObservedHost, name string) {
	m := h.Report.Find(name)
	switch {
	case h.Report == nil && h.State == fleet.HostRunning:
		s.HostWords = "its host does not answer"
		return
	case h.Report == nil:
		return
	case m == nil:
		s.Host, s.HostWords = fleet.SaysDead, "its host does not know it"
		return
	}
	s.Restarts, s.Ready = m.Restarts, m.Ready
	if m.State == fleet.MemberRunning {
		s.Host, s.HostWords = fleet.SaysAlive, "its process runs"
	} else {
		s.Host, s.HostWords = fleet.SaysDead, "its process is "+string(m.State)
	}
	if m.LastExit != "" && !m.Ready {
		s.HostWords += ", and ended before with " + m.LastExit
	}
}

// byPeers takes the word of the other voters.
func byPeers(s *sighting, h etcdadmin.Hearsay) {
	s.Peers = h.Says()
	switch {
	case s.Peers == fleet.SaysAlive:
		s.PeersWords = fmt.Sprintf("%d of %d peers hear from it", h.Heard, h.Voters)
	case s.Peers == fleet.SaysDead && h.Connected == 0:
		s.PeersWords = fmt.Sprintf("%d of %d peers have no connection to it", h.Answered, h.Voters)
	case s.Peers == fleet.SaysDead:
		s.PeersWords = "the leader hears nothing from it"
	default:
		s.PeersWords = fmt.Sprintf("only %d of %d peers say whether they hear from it, and the leader does not", h.Answered, h.Voters)
		if h.ByLeader || h.Answered == h.Voters {
			s.PeersWords = "peers are still connected to it, and do not hear from it"
		}
	}
}

// atClientPort sees whether anything takes connections where the member's clients
// connect. What does so and says nothing more proves nothing: a process that is
// paused, or another one at its address.
func atClientPort(ctx context.Context, m fleet.ObservedMember) (fleet.Testimony, string) {
	if len(m.ClientURLs) == 0 {
		return fleet.SaysUnknown, "nobody knows its client port"
	}
	for _, at := range m.ClientURLs {
		u, err := url.Parse(at)
		if err != nil {
			return fleet.SaysUnknown, "its client port is not understood: " + at
		}
		conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", u.Host)
		if err == nil {
			_ = conn.Close()
			return fleet.SaysUnknown, "something takes connections at " + at + " and is not heard of as a member"
		}
		if ctx.Err() != nil {
			return fleet.SaysUnknown, "its client port was not tried"
		}
	}
	return fleet.SaysDead, "nothing answers at " + m.ClientURLs[0]
}

// judgeZone says that a disk cannot be used any more when its zone is not there: it is
// not on offer, or sells no host that the disk could be attached to.
func (r Region) judgeZone(ctx context.Context, op fleet.Operation, member string, e *fleet.Evidence) {
	obs, err := r.resources(ctx, op)
	if err != nil {
		return
	}
	disks := slices.DeleteFunc(obs.Disks, func(d fleet.Disk) bool { return d.Tags[fleet.TagUID] != op.UID || d.Member() != member })
	if len(disks) != 1 {
		return
	}
	zone := disks[0].Zone
	region, err := r.regionOf(zone)
	if err != nil {
		return
	}
	zones, err := region.Zones(ctx)
	if err != nil {
		return
	}
	sells := false
	if slices.Contains(zones, zone) {
		sells, err = region.Available(ctx, zone, op.Spec.MachineIn(zone).Type)
	}
	if err == nil && !sells {
		e.DiskLost = true
		e.Words += "; zone " + zone + " of its disk has no host to offer"
	}
}
