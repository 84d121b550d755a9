//go:build race

package backup_test

// manyKeys is fewer where the race detector makes each of them cost ten times as much.
const manyKeys = 120_000
