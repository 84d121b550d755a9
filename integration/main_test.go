// Package integration tests Flotilla as a whole: real Temporal, real etcd, real
// object storage, real processes.
package integration

import (
	"fmt"
	"os"
	"testing"

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
