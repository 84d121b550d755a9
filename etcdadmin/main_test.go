package etcdadmin_test

import (
	"flag"
	"os"
	"testing"
)

// TestMain runs four tests side by side unless -parallel says otherwise: they wait for
// elections and for etcd's health window (5 s) more than they compute.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
