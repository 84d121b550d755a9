package workers

import (
	"context"
	"os"

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

// orFile gives the user data of a file where there is one, in place of ours.
func (u userData) orFile(file string) (userData, error) {
	if file == "" {
		return u, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "user data of hosts", "cannot be read: %w", err)
	}
	return func(context.Context) ([]byte, error) { return data, nil }, nil
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
