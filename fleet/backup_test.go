package fleet

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBackupNamed(t *testing.T) {
	found := []Backup{{ID: "20260314t021500z-1f", Operation: "1f"}, {ID: "20260314t021500z-1f-4150", Operation: "2e"}, {ID: "20260315t021500z-3d", Operation: "3d"}}
	for named, want := range map[string]int{"20260314t021500z-1f": 0, "20260314t021500z-1f-": 1, "3d": 2, "20260315": 2} {
		at, err := BackupNamed("orders", found, named)
		require.NoError(t, err, named)
		require.Equal(t, want, at, named)
	}
	for named, want := range map[string]Kind{"20260314": Invalid, "2027": NotFound} {
		_, err := BackupNamed("orders", found, named)
		require.Equal(t, want, KindOf(err), named)
	}
}
