package judge

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestStalls(t *testing.T) {
	h := tell(
		put(0, 10, "a", "1", 11), put(100, 110, "a", "2", 12), // client 0: gaps of 100, 600, 100 ms and to the end
		put(700, 710, "a", "3", 13), put(800, 810, "a", "4", 14),
		put(40, 60, "b", "5", 15, client1), put(300, 360, "b", "6", 0, client1, unknown), put(500, 540, "b", "7", 16, client1),
		get(200, 205, "a", is("", 0), 17), get(300, 320, "a", is("", 0), 17), keepAlive(1, 2, 0, leaseGone),
		lasting(1, 0, 11), events(1, 20, event("a", is("1", 11))), events(1, 320, event("a", is("2", 12))),
	)
	h.Quit = 900 * ms
	put(950, 2000, "a", "8", 18)(h) // after the end, which is no stall
	at := func(n int) time.Time { return h.Began.Add(time.Duration(n) * ms) }

	all := h.Stalls(at(0), at(1000))
	require.Equal(t, Gap{0, at(110), 600 * ms}, all.Worst)
	require.Equal(t, Gap{-1, at(110), 430 * ms}, all.Overall, "the other client wrote between")
	require.Equal(t, Gap{1, at(60), 480 * ms}, all.Clients[1].Gap, "what was not acknowledged ends no gap")
	require.Equal(t, 300*ms, all.WatchDelay)
	require.Equal(t, map[string]int{"context deadline exceeded": 1}, all.Clients[1].Writes.Errors)
	require.Len(t, all.Kinds, 2, "that a lease has expired is an answer")
	require.Equal(t, Latency{Count: 2, P50: 5 * ms, P99: 20 * ms, Max: 20 * ms, Errors: map[string]int{}}, all.Clients[0].Reads)
	require.Equal(t, 2, all.Clients[1].Writes.Count)
	require.Equal(t, 1, all.Clients[1].Writes.Failed())

	part := h.Stalls(at(720), at(850))
	require.Equal(t, Gap{1, at(540), 360 * ms}, part.Worst, "until the end")
	require.Zero(t, part.Clients[1].Writes.Count, "calls that began then")
	require.Equal(t, 1, part.Clients[0].Writes.Count)
	require.Contains(t, part.String(), "within 130ms")
}
