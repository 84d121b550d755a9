package fleet_test

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/flotilla-etcd/flotilla/fleet"
)

func TestUnitsAreReadAsTheyAreWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := fleet.Bytes(rapid.Int64Min(0).Draw(t, "bytes"))
		again, err := fleet.ParseBytes(b.String())
		require.NoError(t, err)
		require.Equal(t, b, again)

		d := fleet.Duration(rapid.Int64Min(0).Draw(t, "duration"))
		var other fleet.Duration
		require.NoError(t, other.UnmarshalText([]byte(d.String())))
		require.Equal(t, d, other)
	})
}

func TestBytes(t *testing.T) {
	for text, want := range map[string]fleet.Bytes{
		"0B": 0, "1B": 1, "1024B": fleet.KiB, "512 MiB": 512 * fleet.MiB, " 4GiB ": 4 * fleet.GiB, "8388607TiB": 8388607 * fleet.TiB,
	} {
		got, err := fleet.ParseBytes(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "4", "4G", "4GB", "-1GiB", "GiB", "1e3B", "0x10B", "9223372036854775808B", "8388608TiB", "4gib"} {
		_, err := fleet.ParseBytes(text)
		require.Error(t, err, text)
	}
	for want, b := range map[string]fleet.Bytes{
		"0 B": 0, "1023 B": 1023, "1.5 KiB": 1536, "25 MiB": 25*fleet.MiB + 9, "4 GiB": 4 * fleet.GiB, "4.5 GiB": 9 * fleet.GiB / 2,
	} {
		require.Equal(t, want, b.Human())
	}
}

func TestCompareVersions(t *testing.T) {
	inOrder := []string{"nonsense", "3.5.9", "3.5.35", "3.6.0", "3.6.16", "3.7.3", "3.10.0", "4.0.0"}
	for i, a := range inOrder {
		for j, b := range inOrder {
			got := fleet.CompareVersions(a, b)
			require.Equal(t, i < j, got < 0, "%s and %s: %d", a, b, got)
			require.Equal(t, i == j, got == 0, "%s and %s: %d", a, b, got)
		}
	}
	require.Equal(t, "3.10", fleet.Minor("3.10.2"))
	for _, not := range []string{"", "3.7", "v3.7.3", "3.7.3-rc.1", "3.7.3.1"} {
		require.Empty(t, fleet.Minor(not), not)
	}
}

func TestErrorsSayWhatFailedAndWhatToDo(t *testing.T) {
	plain := fleet.Errorf(fleet.Throttled, "host orders-2", "launching: %w", io.ErrUnexpectedEOF)
	require.EqualError(t, plain, "host orders-2: launching: unexpected EOF")
	require.ErrorIs(t, plain, io.ErrUnexpectedEOF, "%%w is kept")
	both := fleet.Errorf(fleet.Throttled, "host orders-2", "launching: %w, then %w", io.ErrUnexpectedEOF, io.ErrShortWrite)
	require.ErrorIs(t, both, io.ErrUnexpectedEOF)
	require.ErrorIs(t, both, io.ErrShortWrite)

	told := plain.WithRemedy("try again in %d s", 5).WithRetryAfter(5 * time.Second)
	require.EqualError(t, told, "host orders-2: launching: unexpected EOF; try again in 5 s")
	require.Equal(t, 5*time.Second, told.RetryAfter)
	require.ErrorIs(t, told, io.ErrUnexpectedEOF)
	require.Empty(t, plain.Remedy, "WithRemedy changes a copy")
	require.Zero(t, plain.RetryAfter, "WithRetryAfter changes a copy")

	wrapped := fmt.Errorf("wave 2: %w", errors.Join(io.EOF, told))
	require.Equal(t, fleet.Throttled, fleet.KindOf(wrapped))
	require.True(t, fleet.Is(wrapped, fleet.Throttled))
	require.False(t, fleet.Is(wrapped, fleet.Lost))
	outer := fleet.Errorf(fleet.Blocked, "", "cannot go on: %w", told)
	require.Equal(t, fleet.Blocked, fleet.KindOf(outer), "the outermost kind counts")
	require.EqualError(t, outer, "cannot go on: "+told.Error())

	require.Empty(t, fleet.KindOf(nil))
	require.Empty(t, fleet.KindOf(io.EOF))
	require.False(t, fleet.Is(nil, ""))
}
