// Package clouds takes clusters through their lives on clouds that workers reach by the
// vendors' own SDKs, over the wire: a simulated region says no as the clouds do, and has
// real hosts with real etcd behind it (integration/cloudsim). A judge watches what
// clients see, and afterwards nothing is left in the region.
package clouds

import (
	"testing"

	"github.com/flotilla-etcd/flotilla/integration/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// places has one for each test that may run: while one waits for a soak time or for a
// cloud, another works; more of them would only wait for each other.
var places = make(chan struct{}, 2)

// abreast has a test run beside others, when there is a place for it.
func abreast(t *testing.T) {
	t.Parallel()
	places <- struct{}{}
	t.Cleanup(func() { <-places })
}
