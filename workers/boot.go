package workers

import (
	"context"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas/boot"
	"github.com/flotilla-etcd/flotilla/objectstore"
)

// userData gives what a host that is bought now does at its first boot.
type userData func(ctx context.Context) ([]byte, error)

// boots gives what hosts of clouds do at their first boot; nil if that is left to the
// image. Programs in the object store are fetched by links to store.
func (c *Config) boots(store objectstore.Store) (userData, error) {
	if len(c.HostNode) == 0 {
		return nil, nil
	}
	var programs boot.Config
	for _, text := range c.HostNode {
		if err := programs.ParseProgram(text); err != nil {
			return nil, err
		}
	}
	linker, _ := store.(boot.Linker)
	source, err := boot.NewSource(programs, linker)
	if err != nil {
		return nil, err
	}
	return source.UserData, nil
}

// checkBoots says what is wrong with what hosts are to fetch.
func (c *Config) checkBoots() fleet.Problems {
	var programs boot.Config
	for _, text := range c.HostNode {
		if err := programs.ParseProgram(text); err != nil {
			return fleet.Problems{{Path: "--host-node", Message: err.Error()}}
		}
	}
	return nil
}
