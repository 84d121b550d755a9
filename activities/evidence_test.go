package activities

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/etcdadmin"
	"github.com/flotilla-etcd/flotilla/fleet"
)

var testimonies = []fleet.Testimony{fleet.SaysAlive, fleet.SaysDead, fleet.SaysUnknown}

// Every sequence of up to four testimonies: alive once is alive, dead is dead every
// time, and nothing else is either.
func TestWeighing(t *testing.T) {
	require.Equal(t, fleet.SaysUnknown, weigh(nil), "nobody was asked")
	var all func(said []fleet.Testimony)
	all = func(said []fleet.Testimony) {
		if len(said) > 0 {
			count := map[fleet.Testimony]int{}
			for _, s := range said {
				count[s]++
			}
			got := weigh(said)
			require.Equal(t, count[fleet.SaysAlive] > 0, got == fleet.SaysAlive, "%v", said)
			require.Equal(t, count[fleet.SaysDead] == len(said), got == fleet.SaysDead, "%v", said)
			require.Contains(t, testimonies, got)
		}
		if len(said) < 4 {
			for _, next := range testimonies {
				all(append(said[:len(said):len(said)], next))
			}
		}
	}
	all(nil)
}

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// looked is a look that began a number of seconds after noon and took one.
func looked(second int, change ...func(*sighting)) sighting {
	at := noon.Add(time.Duration(second) * time.Second)
	s := sighting{
		Began: at, Ended: at.Add(time.Second), Cloud: fleet.SaysDead, Host: fleet.SaysUnknown, Peers: fleet.SaysDead, Client: fleet.SaysDead,
		CloudWords: "its host is terminated", PeersWords: "2 of 2 peers have no connection to it", ClientWords: "nothing answers at https://10.0.0.1:2379",
	}
	for _, c := range change {
		c(&s)
	}
	return s
}

// Each witness is weighed by itself: whatever the others say, at every place.
func TestEvidenceKeepsWitnessesApart(t *testing.T) {
	witnesses := map[string]struct {
		set func(*sighting, fleet.Testimony)
		get func(fleet.Evidence) fleet.Testimony
	}{
		"cloud":  {func(s *sighting, said fleet.Testimony) { s.Cloud = said }, func(e fleet.Evidence) fleet.Testimony { return e.Cloud }},
		"host":   {func(s *sighting, said fleet.Testimony) { s.Host = said }, func(e fleet.Evidence) fleet.Testimony { return e.Host }},
		"peers":  {func(s *sighting, said fleet.Testimony) { s.Peers = said }, func(e fleet.Evidence) fleet.Testimony { return e.Peers }},
		"client": {func(s *sighting, said fleet.Testimony) { s.Client = said }, func(e fleet.Evidence) fleet.Testimony { return e.Client }},
	}
	before := testify("orders-1", []sighting{looked(0), looked(5), looked(10)})
	for name, w := range witnesses {
		for _, first := range testimonies {
			for _, second := range testimonies {
				looks := []sighting{looked(0), looked(5), looked(10)}
				w.set(&looks[0], first)
				w.set(&looks[1], second)
				w.set(&looks[2], fleet.SaysDead)
				got := testify("orders-1", looks)
				require.Equal(t, weigh([]fleet.Testimony{first, second, fleet.SaysDead}), w.get(got), "%s said %s, %s, dead", name, first, second)
				for other, o := range witnesses {
					if other != name {
						require.Equal(t, o.get(before), o.get(got), "what %s says changes nothing of what %s said", name, other)
					}
				}
			}
		}
	}
}

func TestEvidenceInWords(t *testing.T) {
	e := testify("orders-1", []sighting{looked(0), looked(5), looked(10), looked(16)})
	require.Equal(t, fleet.Evidence{
		Member: "orders-1", Cloud: fleet.SaysDead, Host: fleet.SaysUnknown, Peers: fleet.SaysDead, Client: fleet.SaysDead,
		Looks: 4, Over: fleet.Duration(15 * time.Second),
		Words: "its host is terminated; 2 of 2 peers have no connection to it; nothing answers at https://10.0.0.1:2379, at 4 looks over 15s",
	}, e)
	gone := func(s *sighting) { s.DiskGone = true }
	require.True(t, testify("orders-1", []sighting{looked(0, gone), looked(5, gone)}).DiskLost)
	require.False(t, testify("orders-1", []sighting{looked(0, gone), looked(5)}).DiskLost, "a list that lagged once proves nothing")
	nothing := testify("orders-1", nil)
	require.Equal(t, fleet.SaysUnknown, nothing.Client)
	require.Zero(t, nothing.Looks)
}

// A process that is found running between two crashes does not live.
func TestCrashLoopIsDeath(t *testing.T) {
	runs := func(restarts int) func(*sighting) {
		return func(s *sighting) { s.Host, s.Restarts, s.HostWords = fleet.SaysAlive, restarts, "its process runs" }
	}
	restarting := func(restarts int) func(*sighting) {
		return func(s *sighting) { s.Host, s.Restarts = fleet.SaysDead, restarts }
	}
	silent := func(s *sighting) { s.Host = fleet.SaysUnknown }
	serves := func(s *sighting) { s.Host, s.Restarts, s.Ready = fleet.SaysAlive, 7, true }
	for _, c := range []struct {
		name  string
		looks []sighting
		want  fleet.Testimony
	}{
		{"found running each time", []sighting{looked(0, runs(3)), looked(5, runs(5)), looked(10, runs(7))}, fleet.SaysDead},
		{"found running at times", []sighting{looked(0, restarting(3)), looked(5, runs(5)), looked(10, restarting(7))}, fleet.SaysDead},
		{"paused", []sighting{looked(0, runs(3)), looked(5, runs(3)), looked(10, runs(3))}, fleet.SaysAlive},
		{"its host was silent once", []sighting{looked(0, runs(3)), looked(5, silent), looked(10, runs(7))}, fleet.SaysAlive},
		{"it served once", []sighting{looked(0, runs(3)), looked(5, serves), looked(10, restarting(8))}, fleet.SaysAlive},
		{"it waits for its next start", []sighting{looked(0, restarting(3)), looked(5, restarting(3)), looked(10, restarting(3))}, fleet.SaysDead},
	} {
		require.Equal(t, c.want, testify("orders-1", c.looks).Host, c.name)
	}
}

// Who does not notice a death at once does not keep it from being noticed.
func TestLooksBeginAnewAfterASignOfLife(t *testing.T) {
	connected := func(s *sighting) { s.Peers = fleet.SaysAlive }
	var looks []sighting
	for _, next := range []sighting{looked(0), looked(4, connected), looked(8, connected)} {
		looks = since(looks, next, time.Minute)
		require.Len(t, looks, 1)
	}
	require.Equal(t, fleet.SaysAlive, testify("orders-1", looks).Peers, "the last word, if patience ends here")
	for i, next := range []sighting{looked(12), looked(16), looked(20), looked(24), looked(28)} {
		looks = since(looks, next, time.Minute)
		require.Len(t, looks, i+1)
		require.Equal(t, next.Began.Equal(looked(28).Began), enough(looks, 15*time.Second), "15 s without a sign of life")
	}
	require.Equal(t, fleet.SaysDead, testify("orders-1", looks).Peers)
	require.Len(t, since(looks, looked(100), time.Minute), 1, "nobody looked for longer than that")
	require.False(t, enough([]sighting{looked(0), looked(60)}, 15*time.Second), "two looks are too few")
}

// What was found before a host was released holds when nothing speaks against it.
func TestDeathIsRemembered(t *testing.T) {
	const over = 15 * time.Second
	before := testify("orders-1", []sighting{looked(0), looked(5), looked(10), looked(16)})
	known := []fleet.Evidence{{Member: "orders-2"}, before}
	e := still(known, "orders-1", []sighting{looked(60)}, over)
	require.NotNil(t, e)
	require.True(t, e.Dead(fleet.Duration(over)))
	require.Equal(t, 5, e.Looks)
	require.Contains(t, e.Words, "at 5 looks over 15s, before its host was released and since")

	require.Nil(t, still(nil, "orders-1", []sighting{looked(60)}, over), "nothing was known")
	require.Nil(t, still(known, "orders-2", []sighting{looked(60)}, over), "it was not known to be dead")
	require.Nil(t, still(known, "orders-1", nil, over), "nobody looked since")
	require.Nil(t, still(known, "orders-1", []sighting{looked(60)}, 2*over), "not for as long as that")
	gone := func(s *sighting) { s.DiskGone = true }
	require.True(t, still(known, "orders-1", []sighting{looked(60, gone)}, over).DiskLost)
	for name, set := range map[string]func(*sighting, fleet.Testimony){
		"cloud":  func(s *sighting, said fleet.Testimony) { s.Cloud = said },
		"host":   func(s *sighting, said fleet.Testimony) { s.Host = said },
		"peers":  func(s *sighting, said fleet.Testimony) { s.Peers = said },
		"client": func(s *sighting, said fleet.Testimony) { s.Client = said },
	} {
		for _, said := range testimonies {
			now := looked(60, func(s *sighting) { set(s, said) })
			speaks := said == fleet.SaysAlive || said == fleet.SaysUnknown && name != "host"
			require.Equal(t, speaks, still(known, "orders-1", []sighting{now}, over) == nil, "%s says %s", name, said)
		}
	}
}

func TestPeersTestify(t *testing.T) {
	for says, c := range map[string]struct {
		hearsay etcdadmin.Hearsay
		want    fleet.Testimony
	}{
		"1 of 2 peers hear from it":                                                {etcdadmin.Hearsay{Voters: 2, Answered: 2, Connected: 2, Heard: 1, ByLeader: true}, fleet.SaysAlive},
		"2 of 2 peers have no connection to it":                                    {etcdadmin.Hearsay{Voters: 2, Answered: 2}, fleet.SaysDead},
		"the leader hears nothing from it":                                         {etcdadmin.Hearsay{Voters: 2, Answered: 2, Connected: 2, ByLeader: true}, fleet.SaysDead},
		"peers are still connected to it, and do not hear from it":                 {etcdadmin.Hearsay{Voters: 2, Answered: 2, Connected: 1}, fleet.SaysUnknown},
		"only 1 of 2 peers say whether they hear from it, and the leader does not": {etcdadmin.Hearsay{Voters: 2, Answered: 1}, fleet.SaysUnknown},
	} {
		var s sighting
		byPeers(&s, c.hearsay)
		require.Equal(t, c.want, s.Peers, "%+v", c)
		require.Equal(t, says, s.PeersWords)
	}
}

func TestCloudAndHostTestify(t *testing.T) {
	op := operation()
	tags := map[string]string{fleet.TagUID: "uid", fleet.TagMember: "orders-1"}
	report := func(m fleet.MemberReport) *fleet.HostReport {
		return &fleet.HostReport{Members: []fleet.MemberReport{m}}
	}
	host := func(state fleet.HostState, r *fleet.HostReport) fleet.ObservedHost {
		return fleet.ObservedHost{Host: fleet.Host{ID: "h", State: state, Tags: tags}, Report: r}
	}
	runs := report(fleet.MemberReport{Name: "orders-1", State: fleet.MemberRunning})
	for name, c := range map[string]struct {
		hosts []fleet.ObservedHost
		cloud fleet.Testimony
		host  fleet.Testimony
	}{
		"absent":            {nil, fleet.SaysDead, fleet.SaysUnknown},
		"another's":         {[]fleet.ObservedHost{{Host: fleet.Host{State: fleet.HostRunning, Tags: map[string]string{fleet.TagUID: "old", fleet.TagMember: "orders-1"}}}}, fleet.SaysDead, fleet.SaysUnknown},
		"stopped":           {[]fleet.ObservedHost{host(fleet.HostStopped, nil)}, fleet.SaysDead, fleet.SaysUnknown},
		"terminating":       {[]fleet.ObservedHost{host(fleet.HostTerminating, nil)}, fleet.SaysDead, fleet.SaysUnknown},
		"unknown":           {[]fleet.ObservedHost{host(fleet.HostUnknown, nil)}, fleet.SaysUnknown, fleet.SaysUnknown},
		"pending":           {[]fleet.ObservedHost{host(fleet.HostPending, nil)}, fleet.SaysUnknown, fleet.SaysUnknown},
		"silent":            {[]fleet.ObservedHost{host(fleet.HostRunning, nil)}, fleet.SaysAlive, fleet.SaysUnknown},
		"runs":              {[]fleet.ObservedHost{host(fleet.HostRunning, runs)}, fleet.SaysAlive, fleet.SaysAlive},
		"does not know it":  {[]fleet.ObservedHost{host(fleet.HostRunning, &fleet.HostReport{})}, fleet.SaysAlive, fleet.SaysDead},
		"process stopped":   {[]fleet.ObservedHost{host(fleet.HostRunning, report(fleet.MemberReport{Name: "orders-1", State: fleet.MemberStopped}))}, fleet.SaysAlive, fleet.SaysDead},
		"crashed":           {[]fleet.ObservedHost{host(fleet.HostRunning, report(fleet.MemberReport{Name: "orders-1", State: fleet.MemberRestarting}))}, fleet.SaysAlive, fleet.SaysDead},
		"two, one lives":    {[]fleet.ObservedHost{host(fleet.HostTerminating, nil), host(fleet.HostRunning, runs)}, fleet.SaysAlive, fleet.SaysAlive},
		"two, lives first":  {[]fleet.ObservedHost{host(fleet.HostRunning, runs), host(fleet.HostTerminating, nil)}, fleet.SaysAlive, fleet.SaysAlive},
		"two, one is vague": {[]fleet.ObservedHost{host(fleet.HostStopped, nil), host(fleet.HostUnknown, nil)}, fleet.SaysUnknown, fleet.SaysUnknown},
	} {
		var s sighting
		byCloud(&s, op, fleet.Observation{Hosts: c.hosts}, nil, "orders-1")
		require.Equal(t, c.cloud, s.Cloud, "%s: %s", name, s.CloudWords)
		require.Equal(t, c.host, s.Host, "%s: %s", name, s.HostWords)
		require.True(t, s.DiskGone, "there is none")
	}
	var s sighting
	byCloud(&s, op, fleet.Observation{}, fleet.Errorf(fleet.Unavailable, "cloud", "no answer"), "orders-1")
	require.Equal(t, fleet.SaysUnknown, s.Cloud, "no answer is never a death")
	require.False(t, s.DiskGone)
}

func TestClientPortTestifies(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	at := fmt.Sprintf("https://%s", listener.Addr())
	said, words := atClientPort(t.Context(), fleet.ObservedMember{ClientURLs: []string{at}})
	require.Equal(t, fleet.SaysUnknown, said, "what takes connections may be a process that is paused")
	require.Contains(t, words, at)
	require.NoError(t, listener.Close())
	said, words = atClientPort(t.Context(), fleet.ObservedMember{ClientURLs: []string{at}})
	require.Equal(t, fleet.SaysDead, said)
	require.Equal(t, "nothing answers at "+at, words)
	said, _ = atClientPort(t.Context(), fleet.ObservedMember{})
	require.Equal(t, fleet.SaysUnknown, said)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	said, _ = atClientPort(ended, fleet.ObservedMember{ClientURLs: []string{at}})
	require.Equal(t, fleet.SaysUnknown, said, "a look that ended early saw nothing")
}

func TestSuspects(t *testing.T) {
	obs := fleet.Observation{
		Members: []fleet.ObservedMember{{Name: "orders-1", Answers: true}, {Name: "orders-2"}, {Name: "orders-3"}, {Name: "orders-4"}, {}},
		Hosts:   []fleet.ObservedHost{{Host: fleet.Host{Tags: map[string]string{fleet.TagMember: "orders-4", fleet.TagToken: "bought"}}}},
	}
	names := func(op fleet.Operation) (all []string) {
		for _, m := range suspects(op, obs, []fleet.Step{{Token: "bought"}}) {
			all = append(all, m.Name)
		}
		return all
	}
	op := operation()
	require.Equal(t, []string{"orders-2", "orders-3"}, names(op), "all that do not answer, but who was just bought for")
	op.Options.Members = []string{"orders-1", "orders-3", "orders-9"}
	require.Equal(t, []string{"orders-3"}, names(op))
}
