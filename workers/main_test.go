package workers_test

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/flotilla-etcd/flotilla/integration/harness"
)

func TestMain(m *testing.M) {
	flag.Parse()
	done := func() {}
	if !testing.Short() {
		var err error
		if done, err = harness.Build(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	code := m.Run()
	done()
	os.Exit(code)
}
