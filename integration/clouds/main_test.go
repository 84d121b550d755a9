// Package clouds takes clusters through their lives on clouds that workers reach by the
// vendors' own SDKs, over the wire: a simulated region says no as the clouds do, and has
// real hosts with real etcd behind it (integration/cloudsim). A judge watches what
// clients see, and afterwards nothing is left in the region.
package clouds

import (
	"fmt"
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

// places has one for each test that may run: while one waits for a soak time or for a
// cloud, another works; more of them would only wait for each other.
var places = make(chan struct{}, 2)

// abreast has a test run beside others, when there is a place for it.
func abreast(t *testing.T) {
	t.Parallel()
	places <- struct{}{}
	t.Cleanup(func() { <-places })
}

// whole says that a run is to try everything, not a sample.
func whole() bool { return os.Getenv("FLOTILLA_WHOLE") != "" }

// seed makes the random choices of a run; FLOTILLA_SEED runs them again.
func seed(t *testing.T) uint64 {
	s := uint64(time.Now().UnixNano())
	if text := os.Getenv("FLOTILLA_SEED"); text != "" {
		var err error
		s, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("FLOTILLA_SEED=%d", s)
	return s
}
