package local

import (
	"testing"

	"github.com/flotilla-etcd/flotilla/iaas/iaastest"
)

func TestSuite(t *testing.T) {
	iaastest.Run(t, func(t *testing.T) iaastest.Env { return iaastest.Env{Provider: newProvider(t)} })
}

// Where only 127.0.0.1 answers, hosts differ by their ports.
func TestSuiteOnOneAddress(t *testing.T) {
	oneAddress := func(c *Config) { c.OneAddress = true }
	iaastest.Run(t, func(t *testing.T) iaastest.Env {
		return iaastest.Env{Provider: newProvider(t, oneAddress)}
	})
}
