package judge

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// ObjectBytes is about how long an object is, as JSON.
const ObjectBytes = 5 << 10

// podJSON is a pod as the API server of Kubernetes gives it, with the fields that each has
// of its own in braces. The server itself keeps pods as protobuf, and custom resources
// as JSON.
//
//go:embed pod.json
var podJSON []byte

var podTemplate = sync.OnceValue(func() string {
	var compact bytes.Buffer
	if err := json.Compact(&compact, podJSON); err != nil {
		panic(err) // it is ours
	}
	return compact.String()
})

// object gives a pod with names and identifiers of its own.
func object(draw *rand.Rand) string {
	hex := func(digits int) string {
		var b strings.Builder
		for b.Len() < digits {
			fmt.Fprintf(&b, "%016x", draw.Uint64())
		}
		return b.String()[:digits]
	}
	uid := func() string { return hex(8) + "-" + hex(4) + "-4" + hex(3) + "-a" + hex(3) + "-" + hex(12) }
	at := func() string { return time.Unix(1.7e9+draw.Int64N(1e8), 0).UTC().Format(time.RFC3339) }
	return strings.NewReplacer(
		"{set}", hex(10), "{pod}", hex(5), "{team}", hex(2), "{uid}", uid(), "{owner}", uid(), "{created}", at(), "{started}", at(),
		"{ip}", fmt.Sprintf("10.%d.%d.%d", 64+draw.IntN(4), draw.IntN(256), draw.IntN(256)),
		"{node}", fmt.Sprintf("%d.%d", draw.IntN(16), draw.IntN(256)),
		"{minor}", fmt.Sprint(draw.IntN(16)), "{image}", strings.Repeat(fmt.Sprintf("%08x", draw.IntN(16)*0x9e3779b), 8), "{container}", hex(64),
	).Replace(podTemplate())
}
