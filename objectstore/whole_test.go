package objectstore_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
)

func TestReadWhole(t *testing.T) {
	store, err := objectstore.Open(t.Context(), t.TempDir(), objectstore.Options{})
	require.NoError(t, err)
	require.NoError(t, store.Put(t.Context(), "a", strings.NewReader("five!"), 5))
	text, err := objectstore.ReadWhole(t.Context(), store, "a", 5)
	require.NoError(t, err)
	require.Equal(t, "five!", string(text))
	_, err = objectstore.ReadWhole(t.Context(), store, "a", 4)
	require.Equal(t, fleet.Lost, fleet.KindOf(err), "%v", err)
	_, err = objectstore.ReadWhole(t.Context(), store, "b", 5)
	require.Equal(t, fleet.NotFound, fleet.KindOf(err), "%v", err)
}
