package workers

import (
	"context"
	"fmt"
	"path/filepath"

	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/iaas/local"
	"github.com/flotilla-etcd/flotilla/objectstore"
)

// checkProvider says what a provider needs and was not told.
func (c *Config) checkProvider() fleet.Problems {
	var ps fleet.Problems
	switch c.Provider {
	case "local":
		if c.serves(ServeActivities) {
			need(&ps, "data", c.Data, "the local provider keeps its hosts there")
			need(&ps, "node-binary", c.NodeBinary, "it runs on the local provider's hosts")
		}
	case "aws", "aliyun":
		if c.serves(ServeActivities) {
			if c.Provider == "aws" {
				ps = append(ps, c.AWS.check()...)
			} else {
				ps = append(ps, c.Aliyun.check()...)
			}
			ps = append(ps, c.checkBoots()...)
		}
	default:
		ps = append(ps, fleet.Problem{Path: "--provider", Message: fmt.Sprintf("%q is not one of: local, aws, aliyun", c.Provider)})
	}
	return ps
}

// openProvider opens the provider that the configuration names. Its hosts may fetch from
// the store.
func openProvider(ctx context.Context, c Config, store objectstore.Store, log *zap.Logger) (iaas.Provider, error) {
	if c.Provider != "local" {
		boots, err := c.boots(store)
		if err != nil {
			return nil, err
		}
		if c.Provider == "aliyun" {
			return c.Aliyun.open(c.Region, boots)
		}
		return c.AWS.open(ctx, c.Region, boots, log)
	}
	return local.Open(local.Config{
		Root: c.Data, Region: c.Region, Zones: c.Zones, NodeBinary: c.NodeBinary, Log: log.Named("local"),
		// All hosts are on one disk: a release is unpacked once for all of them.
		Env: append([]string{"FLOTILLA_NODE_DEPOT=" + filepath.Join(c.Data, "releases")}, c.NodeEnv...),
	})
}

// openElsewhere opens the regions whose workers' configurations --reach names. Of each
// only what is of its provider counts, and nothing of this worker's environment.
func openElsewhere(ctx context.Context, c Config, store objectstore.Store, log *zap.Logger, m *metrics) (map[fleet.Place]iaas.Provider, error) {
	all := map[fleet.Place]iaas.Provider{}
	for _, file := range c.Reach {
		var there Config
		if err := Fill(there.Flags(), file, func(string) (string, bool) { return "", false }); err != nil {
			return nil, err
		}
		resource := "configuration file " + file
		if err := there.checkProvider().Err(resource); err != nil {
			return nil, err
		}
		place := fleet.Place{Provider: there.Provider, Region: there.Region}
		if _, twice := all[place]; twice || place == (fleet.Place{Provider: c.Provider, Region: c.Region}) {
			return nil, fleet.Errorf(fleet.Invalid, resource, "is of %s, which this worker reaches already", place).
				WithRemedy("name each other region once with --reach")
		}
		provider, err := openProvider(ctx, there, store, log)
		if err != nil {
			return nil, err
		}
		if provider, err = paced(there, provider, m); err != nil {
			return nil, err
		}
		all[place] = provider
	}
	return all, nil
}
