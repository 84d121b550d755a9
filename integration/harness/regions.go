package harness

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/iaas/local"
)

// Elsewhere is another region of an environment, with hosts and workers of its own.
type Elsewhere struct {
	Provider *local.Provider
	// Flags make a worker one of this region.
	Flags []string
}

// TwoRegions adds another region to an environment whose workers have not been started.
// Workers of each reach the other one.
func (e *Env) TwoRegions(region string) Elsewhere {
	e.t.Helper()
	here := e.describe(Region, filepath.Join(e.Dir, "local"))
	root := filepath.Join(e.Dir, region)
	provider, err := local.Open(local.Config{Root: root, Region: region, NodeBinary: Binary(e.node)})
	require.NoError(e.t, err)
	e.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		hosts, err := provider.ListHosts(ctx, nil)
		for _, h := range hosts {
			if terr := provider.TerminateHost(ctx, h.ID); terr != nil {
				err = terr
			}
		}
		if err != nil {
			e.t.Errorf("ending the hosts of region %s: %v", region, err)
		}
	})
	e.Flags = append(e.Flags, "--reach", e.describe(region, root))
	return Elsewhere{Provider: provider, Flags: []string{"--region", region, "--data", root, "--reach", here}}
}

// describe writes what a worker of a region would be told of its provider.
func (e *Env) describe(region, root string) string {
	file := filepath.Join(e.Dir, region+".yaml")
	text := fmt.Sprintf("provider: local\nregion: %s\ndata: %q\nnode-binary: %q\n", region, root, Binary(e.node))
	require.NoError(e.t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// StartWorkerOf starts a worker with these flags in place of the environment's own.
func (e *Env) StartWorkerOf(other Elsewhere) *Process {
	e.t.Helper()
	own := e.Flags
	defer func() { e.Flags = own }()
	e.Flags = other.Flags
	return e.StartWorker("flotilla-worker")
}
