//go:build !race

package backup_test

// manyKeys is more than the table has room for by which a snapshot is looked into.
const manyKeys = 500_000
