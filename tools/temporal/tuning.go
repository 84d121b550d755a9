package main

import (
	"fmt"
	"time"

	"go.temporal.io/server/common/dynamicconfig"
)

// defaults are the server settings that make one process on one machine quick. The
// server's own defaults protect a shared database from thousands of shards.
func defaults() dynamicconfig.StaticClient {
	return dynamicconfig.StaticClient{
		// A shard's queues are polled on a rate limiter's tick: at the default of 20 a
		// second every hop of an activity waits up to 50 ms for it.
		dynamicconfig.TransferProcessorMaxPollRPS.Key():   2000,
		dynamicconfig.TimerProcessorMaxPollRPS.Key():      2000,
		dynamicconfig.VisibilityProcessorMaxPollRPS.Key(): 2000,
		dynamicconfig.OutboundProcessorMaxPollRPS.Key():   2000,

		// With one matching host more partitions only make a task and its poller miss
		// each other.
		dynamicconfig.MatchingNumTaskqueueReadPartitions.Key():  1,
		dynamicconfig.MatchingNumTaskqueueWritePartitions.Key(): 1,

		// A search attribute added at run time can be used by the next call.
		dynamicconfig.ForceSearchAttributesCacheRefreshOnRead.Key(): true,
		dynamicconfig.NamespaceCacheRefreshInterval.Key():           500 * time.Millisecond,

		// Listing a fleet takes more than the default of 10 list calls a second.
		dynamicconfig.FrontendMaxNamespaceVisibilityRPSPerInstance.Key(): 1000,

		// Works without a network and calls nobody.
		dynamicconfig.EnableServerVersionCheck.Key(): false,
	}
}

// dynamicConfig is the defaults with what the command line asked for on top. A value is
// YAML, so a number is a number and "5s" a duration.
func dynamicConfig(overrides map[string]string) (dynamicconfig.Client, error) {
	settings := defaults()
	for name, value := range overrides {
		var loader dynamicconfig.YamlLoader
		loader.LoadValue(dynamicconfig.MakeKey(name), []byte("- value: "+value+"\n"))
		for _, problem := range append(loader.Errors, loader.Warnings...) {
			return nil, fmt.Errorf("--dynamic-config %s=%s: %w", name, value, problem)
		}
		for key, values := range loader.Map {
			settings[key] = values
		}
	}
	return settings, nil
}
