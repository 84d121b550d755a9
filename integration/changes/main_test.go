// Package changes tests every operation on running clusters as a whole, with clients
// that use them meanwhile and a judge of what those see; with controllers, members and
// the cloud failing; and with a controller that dies at every boundary.
package changes

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/integration/harness"
)

func TestMain(m *testing.M) {
	done, err := harness.Build()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	done()
	os.Exit(code)
}

// places has one for each test that may run: while one waits for a soak time or for
// heartbeats to be missed, another works; more of them would only wait for each other.
var places = make(chan struct{}, 2)

// abreast has a test run beside others, when there is a place for it.
func abreast(t *testing.T) {
	t.Parallel()
	places <- struct{}{}
	t.Cleanup(func() { <-places })
}

// seed makes the random choices of a run; FLOTILLA_SEED runs them again. A sample is the
// same in every run, so that a change of the code is what changes its outcome.
func seed(t *testing.T) uint64 {
	s := uint64(8)
	if whole() {
		s = uint64(time.Now().UnixNano())
	}
	if text := os.Getenv("FLOTILLA_SEED"); text != "" {
		var err error
		s, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("FLOTILLA_SEED=%d", s)
	return s
}

func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// whole says that a run is to try everything, not a sample: it takes hours.
func whole() bool { return os.Getenv("FLOTILLA_WHOLE") != "" }
