package objectstore_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
	"github.com/flotilla-etcd/flotilla/objectstore/objectstoretest"
)

// A server that is stopped, with its connections open, is found out while it is asked and while
// an object is read, and is not asked again at once. What it refuses is an answer.
func TestAbsence(t *testing.T) {
	server := objectstoretest.Start(t)
	server.Setenv(t)
	server.Bucket(t, "bucket")
	s, err := objectstore.Open(t.Context(), server.Location("bucket"), objectstore.Options{})
	require.NoError(t, err)
	large := make([]byte, 64<<20) // more than connections hold
	require.NoError(t, s.Put(t.Context(), "large", bytes.NewReader(large), int64(len(large))))

	absence := &objectstore.Absence{}
	reading := absence.Reading(s)
	_, err = reading.Get(t.Context(), "none")
	require.True(t, fleet.Is(err, fleet.NotFound), err)
	require.NoError(t, absence.Why())

	r, err := reading.Get(t.Context(), "large")
	require.NoError(t, err)
	defer r.Close()
	_, err = io.CopyN(io.Discard, r, 1<<20)
	require.NoError(t, err)
	require.NoError(t, server.Pause())
	t.Cleanup(func() { _ = server.Continue() })
	_, err = io.Copy(io.Discard, r)
	require.ErrorContains(t, err, "nothing came")
	require.True(t, fleet.Is(err, fleet.Unavailable), err)
	require.Equal(t, err, absence.Why())
	_, also := reading.List(t.Context(), "")
	require.Equal(t, err, also, "it was asked again")

	absence = &objectstore.Absence{}
	_, err = absence.Reading(s).Stat(t.Context(), "large")
	require.ErrorContains(t, err, "no answer within")
	require.Error(t, absence.Why())
	require.NoError(t, server.Continue())
	all, err := new(objectstore.Absence).Reading(s).List(t.Context(), "")
	require.NoError(t, err)
	require.Len(t, all, 1)
}
