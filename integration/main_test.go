// Package integration tests Flotilla as a whole: real Temporal, real etcd, real
// object storage, real processes.
package integration

import (
	"testing"

	"github.com/flotilla-etcd/flotilla/integration/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
