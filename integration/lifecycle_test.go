package integration

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
	"github.com/flotilla-etcd/flotilla/starter"
)

// TestLifecycle creates clusters of every size on every minor, writes through
// mutual TLS, and takes them down again.
func TestLifecycle(t *testing.T) {
	for _, version := range []string{"3.5.35", "3.6.16", "3.7.3"} {
		for _, voters := range []int{1, 3, 5} {
			t.Run(fmt.Sprintf("%s/%d", version, voters), func(t *testing.T) {
				t.Parallel()
				e := harness.Start(t)
				e.StartWorker("flotilla-worker")
				spec := harness.Spec("orders", voters, version)
				result := e.Create(spec)
				require.Equal(t, voters, result.Summary.Healthy)
				result = e.Decommission(spec.Name, fleet.Options{})
				require.NotNil(t, result.FinalSnapshot)
				e.ExpectNothingLeft()
			})
		}
	}
}

var _ = starter.Options{}
