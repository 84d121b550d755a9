package terminal

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestElapsedAndAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0.0s", 0: "0.0s", 840 * time.Millisecond: "0.8s", 9960 * time.Millisecond: "9.9s",
		12 * time.Second: "12s", 185 * time.Second: "3m05s", 130 * time.Minute: "2h10m",
	} {
		assert.Equal(t, want, Elapsed(d), "elapsed %s", d)
	}
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 45 * time.Second: "45s", 2 * time.Minute: "2m", 3 * time.Hour: "3h", 12 * 24 * time.Hour: "12d",
	} {
		assert.Equal(t, want, Age(d), "age %s", d)
	}
}

func TestClock(t *testing.T) {
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	at := now.Add(-3 * time.Hour)
	assert.Equal(t, "3h ago", Clock{Now: now}.Ago(at))
	assert.Equal(t, "just now", Clock{Now: now}.Ago(now))
	assert.Equal(t, "2026-11-23T06:00:00Z", Clock{Now: now, UTC: true}.Ago(at))
	assert.Equal(t, "2026-11-23T06:00:00Z", Clock{Now: now, UTC: true}.Age(at))
	assert.Empty(t, Clock{Now: now}.Age(time.Time{}))
}

func TestTableAlignsWhatIsColoured(t *testing.T) {
	colour := Output{Colour: true}
	assert.Equal(t, "NAME    STATE\norders  "+"\x1b[32mdone\x1b[0m\n–       x\n",
		Table([]string{"NAME", "STATE"}, [][]string{{"orders", colour.Paint(Green, "done")}, {"", "x"}}))
}

func TestClip(t *testing.T) {
	assert.Equal(t, "orders", Clip("orders", 6))
	assert.Equal(t, "orde…", Clip("orders", 5))
	assert.Equal(t, "\x1b[31mor…\x1b[0m", Clip("\x1b[31morders\x1b[0m", 3), "colours must not leak past the cut")
}

func TestBar(t *testing.T) {
	assert.Equal(t, "████░░░░", Bar(1, 2, 8))
	assert.Equal(t, "░░░░", Bar(0, 0, 4))
	assert.Equal(t, "████", Bar(9, 3, 4))
}

func TestNothingIsDrawnWhereItCannotBeDrawnOver(t *testing.T) {
	var b bytes.Buffer
	live := NewLive(Plain(&b))
	live.Draw("one\n")
	live.Done()
	assert.Empty(t, b.String())
	assert.Equal(t, "text", Plain(&b).Paint(Red, "text"))
}

func TestLiveDrawsOverWhatItDrew(t *testing.T) {
	var b bytes.Buffer
	live := NewLive(Output{Writer: &b, Live: true, fd: -1})
	live.Draw("one\ntwo\n")
	live.Draw("one\ntwo\n") // the same again is not written
	live.Draw("three\n")
	assert.Equal(t, "one\x1b[K\ntwo\x1b[K\n\x1b[J\x1b[2A\rthree\x1b[K\n\x1b[J", b.String())
}
