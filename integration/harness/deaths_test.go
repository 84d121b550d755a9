package harness

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDeal(t *testing.T) {
	points := []string{"a", "b", "c", "d", "e", "f", "g"}
	for seed := range uint64(20) {
		all := Deal(points, 3, 0, Random(seed))
		require.ElementsMatch(t, points, slices.Concat(all...), "each once")
		require.Len(t, all[0], 3)
		some := Deal(points, 3, 3, Random(seed))
		require.Len(t, slices.Compact(slices.Sorted(slices.Values(slices.Concat(some...)))), 3, "different ones")
		few := Deal(points[:2], 3, 0, Random(seed))
		require.Empty(t, few[2])
	}
}
