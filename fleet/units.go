package fleet

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Bytes is an amount of bytes. In documents it is written with a binary unit,
// as in "4GiB"; a bare number is refused because nobody can tell what it means.
type Bytes int64

// The binary units that Bytes understands.
const (
	KiB Bytes = 1 << 10
	MiB Bytes = 1 << 20
	GiB Bytes = 1 << 30
	TiB Bytes = 1 << 40
)

var byteUnits = []struct {
	name string
	size Bytes
}{{"TiB", TiB}, {"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}, {"B", 1}}

// ParseBytes reads an amount such as "4GiB" or "512 MiB".
func ParseBytes(s string) (Bytes, error) {
	text := strings.TrimSpace(s)
	for _, u := range byteUnits {
		digits, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%q is not a whole number of %s", s, u.name)
		}
		if n < 0 || n > math.MaxInt64/int64(u.size) {
			return 0, fmt.Errorf("%q is out of range", s)
		}
		return Bytes(n) * u.size, nil
	}
	return 0, fmt.Errorf("%s needs a unit, as in 20GiB (one of B, KiB, MiB, GiB, TiB)", text)
}

// String gives the amount exactly, in the largest unit that divides it.
func (b Bytes) String() string {
	for _, u := range byteUnits {
		if b != 0 && b%u.size == 0 {
			return fmt.Sprintf("%d%s", int64(b/u.size), u.name)
		}
	}
	return "0B"
}

// Human gives the amount as a person says it, rounded: "25 MiB".
func (b Bytes) Human() string {
	for _, u := range byteUnits {
		if b < u.size || u.size == 1 {
			continue
		}
		v := float64(b) / float64(u.size)
		if v < 10 && v != math.Trunc(v) {
			return fmt.Sprintf("%.1f %s", v, u.name)
		}
		return fmt.Sprintf("%.0f %s", v, u.name)
	}
	return fmt.Sprintf("%d B", int64(b))
}

// MarshalText writes the amount exactly, as String does.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText reads an amount with its unit.
func (b *Bytes) UnmarshalText(text []byte) error {
	v, err := ParseBytes(string(text))
	if err != nil {
		return err
	}
	*b = v
	return nil
}

// Duration is a time.Duration that documents write as "500ms" or "1h30m".
type Duration time.Duration

// String gives the duration as time.Duration does.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes the duration with its unit.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads a duration with its unit; a bare number is refused.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("%s needs a unit, as in 500ms or 1h (one of ms, s, m, h)", string(text))
	}
	if v < 0 {
		return fmt.Errorf("%s is negative", string(text))
	}
	*d = Duration(v)
	return nil
}
