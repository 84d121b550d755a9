package harness

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Main runs the tests of a package with our programs as they are now. It does not return.
func Main(m *testing.M) {
	done, err := Build()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	done()
	os.Exit(code)
}

// Whole says that a run is to try everything (FLOTILLA_WHOLE), not a sample: it takes hours.
func Whole() bool { return os.Getenv("FLOTILLA_WHOLE") != "" }

// sampled is the seed of every sample, so that a change of the code is what changes its
// outcome.
const sampled = 8

// Seed makes the random choices of a run, and says itself in its log; FLOTILLA_SEED runs
// them again.
func Seed(t testing.TB) uint64 {
	t.Helper()
	seed := uint64(sampled)
	if Whole() {
		seed = uint64(time.Now().UnixNano())
	}
	if text := os.Getenv("FLOTILLA_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err, "FLOTILLA_SEED")
	}
	t.Logf("FLOTILLA_SEED=%d", seed)
	return seed
}

// Random gives the choices of a seed.
func Random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }
