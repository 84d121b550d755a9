package judge

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Stalls is how long clients waited within a span of a run.
type Stalls struct {
	From, To time.Time
	// Overall is the longest time in which no client at all had a write
	// acknowledged.
	Overall Gap
	// Worst is the longest time between two acknowledged writes of one client.
	Worst Gap
	// Pace is how often a client begins a write: no gap of one client can be much
	// shorter.
	Pace    time.Duration
	Clients []ClientStalls
	// Kinds are the latencies of each kind of call of all clients.
	Kinds []KindLatency
	// WatchDelay is the longest time between two messages to a watch of everything,
	// and WatchClient whose watch that was.
	WatchDelay  time.Duration
	WatchClient int
}

// Gap is a time between two acknowledged writes.
type Gap struct {
	Client int // whose writes; -1 for all clients'
	From   time.Time
	Length time.Duration
}

// ClientStalls is what one client saw.
type ClientStalls struct {
	Client int
	// Gap is the longest between two of its acknowledged writes.
	Gap Gap
	// Writes and Reads are its latencies.
	Writes, Reads Latency
}

// KindLatency is the latencies of one kind of call.
type KindLatency struct {
	Kind Kind
	Latency
}

// Latency sums up calls. The times are of those that were answered.
type Latency struct {
	Count         int
	P50, P99, Max time.Duration
	// Errors are what callers got, after whatever clientv3 tried again by itself,
	// and how often. Refusals that are an answer (a lease that has expired) are not
	// among them.
	Errors map[string]int
}

// Failed is how many calls had an error.
func (l Latency) Failed() (n int) {
	for _, count := range l.Errors {
		n += count
	}
	return n
}

// Stalls says how long clients waited between two moments. Calls count that began
// between them. A gap counts in full if any part of it lies between them; one that
// had not ended when the record did ends there.
func (h *History) Stalls(from, to time.Time) Stalls {
	s := Stalls{From: from, To: to}
	a, b := from.Sub(h.Began), to.Sub(h.Began)
	s.WatchDelay, s.WatchClient = h.watchDelay(a, b)
	calls := slices.Clone(h.Calls)
	slices.SortFunc(calls, func(x, y Call) int { return cmp.Compare(x.End, y.End) })
	begin, end := h.writing()

	byKind, byClient := map[Kind][]*Call{}, map[int][]*Call{}
	acknowledged, everyone := map[int][]time.Duration{}, map[int]bool{}
	for i := range calls {
		call := &calls[i]
		everyone[call.Client] = true
		if call.Kind.mutates() && call.Outcome == OK {
			acknowledged[call.Client] = append(acknowledged[call.Client], call.End)
			acknowledged[-1] = append(acknowledged[-1], call.End)
		}
		if call.Start >= a && call.Start <= b && !call.Final {
			byKind[call.Kind] = append(byKind[call.Kind], call)
			byClient[call.Client] = append(byClient[call.Client], call)
		}
	}
	gap := func(client int) Gap {
		from, length := longestGap(acknowledged[client], a, b, begin, end)
		return Gap{Client: client, From: h.Began.Add(from), Length: length}
	}
	s.Overall = gap(-1)
	for client := range everyone {
		calls := byClient[client]
		c := ClientStalls{Client: client, Gap: gap(client)}
		c.Writes = latency(calls, Kind.mutates)
		c.Reads = latency(calls, func(k Kind) bool { return k == Get || k == Serializable })
		s.Clients = append(s.Clients, c)
	}
	slices.SortFunc(s.Clients, func(x, y ClientStalls) int { return x.Client - y.Client })
	for i, c := range s.Clients {
		if i == 0 || c.Gap.Length > s.Worst.Length {
			s.Worst = c.Gap
		}
	}
	for _, kind := range kinds {
		if l := latency(byKind[kind], func(Kind) bool { return true }); l.Count+l.Failed() > 0 {
			s.Kinds = append(s.Kinds, KindLatency{kind, l})
		}
	}
	s.Pace = pace(calls)
	return s
}

// writing is when clients began to write, and when they ended: outside of that a gap
// is no stall.
func (h *History) writing() (begin, end time.Duration) {
	begin = math.MaxInt64
	for i := range h.Calls {
		if h.Calls[i].Kind.mutates() {
			begin, end = min(begin, h.Calls[i].Start), max(end, h.Calls[i].End)
		}
	}
	if h.Quit > 0 {
		end = min(end, h.Quit)
	}
	return begin, end
}

// longestGap gives the longest time between two of some times, which are in order,
// and first and last, of those gaps that lie at least in part in a span.
func longestGap(times []time.Duration, from, to, first, last time.Duration) (begin, length time.Duration) {
	previous := first
	for i := 0; i <= len(times); i++ {
		next := last
		if i < len(times) {
			next = min(times[i], last)
		}
		if next > from && previous < to && next-previous > length {
			begin, length = previous, next-previous
		}
		previous = next
	}
	return begin, length
}

func latency(calls []*Call, of func(Kind) bool) Latency {
	l := Latency{Errors: map[string]int{}}
	var took []time.Duration
	for _, call := range calls {
		switch {
		case !of(call.Kind):
		case call.Outcome == OK:
			took = append(took, call.End-call.Start)
		case !call.LeaseGone:
			l.Errors[call.Error]++
		}
	}
	slices.Sort(took)
	if l.Count = len(took); l.Count > 0 {
		l.P50, l.P99, l.Max = quantile(took, 0.5), quantile(took, 0.99), took[len(took)-1]
	}
	return l
}

// quantile of times that are in order: the smallest that as large a part of them
// does not exceed.
func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

// pace is the median time between the starts of two writes of one client.
func pace(calls []Call) time.Duration {
	last := map[int]time.Duration{}
	var between []time.Duration
	byStart := slices.Clone(calls)
	slices.SortFunc(byStart, func(a, b Call) int { return cmp.Compare(a.Start, b.Start) })
	for i := range byStart {
		call := &byStart[i]
		if !call.Kind.mutates() || call.Lease != 0 {
			continue
		}
		if before, ok := last[call.Client]; ok {
			between = append(between, call.Start-before)
		}
		last[call.Client] = call.Start
	}
	if len(between) == 0 {
		return 0
	}
	slices.Sort(between)
	return quantile(between, 0.5)
}
