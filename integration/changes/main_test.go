// Package changes tests every operation on running clusters as a whole, with clients
// that use them meanwhile and a judge of what those see; with controllers, members and
// the cloud failing; and with a controller that dies at every boundary.
package changes

import (
	"testing"

	"github.com/flotilla-etcd/flotilla/integration/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// places has one for each test that may run: while one waits for a soak time or for
// heartbeats to be missed, another works; more of them would only wait for each other.
var places = make(chan struct{}, 2)

// abreast has a test run beside others, when there is a place for it.
func abreast(t *testing.T) {
	t.Parallel()
	places <- struct{}{}
	t.Cleanup(func() { <-places })
}
