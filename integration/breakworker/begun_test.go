package main

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBegunGoesOnCounting(t *testing.T) {
	file := filepath.Join(t.TempDir(), "begun")
	number := func(b *begun, of, id string) int {
		n, err := b.number(of, id)
		require.NoError(t, err)
		return n
	}
	first, err := openBegun(file)
	require.NoError(t, err)
	require.Equal(t, 1, number(first, "cluster/a/RollCluster/1/Look", "1/Look"))
	require.Equal(t, 2, number(first, "cluster/a/RollCluster/1/Look", "2/Look"))
	require.Equal(t, 1, number(first, "cluster/b/RollCluster/2/Look", "2/Look"))

	next, err := openBegun(file) // the first one was killed
	require.NoError(t, err)
	require.Equal(t, 2, number(next, "cluster/a/RollCluster/1/Look", "2/Look"), "a second attempt")
	require.Equal(t, 3, number(next, "cluster/a/RollCluster/1/Look", "3/Look"))
	require.Equal(t, 1, number(next, "cluster/a/RollCluster/3/Look", "1/Look"), "another operation")
}
