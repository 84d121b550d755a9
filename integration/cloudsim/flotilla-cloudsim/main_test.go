package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
)

func TestFaultOf(t *testing.T) {
	for text, want := range map[string]cloudsim.Fault{
		"throttle":         {Kind: cloudsim.Throttle, Delay: time.Second},
		"server error 0.2": {Kind: cloudsim.ServerError, Share: 0.2, Delay: time.Second},
		"no stock":         {Kind: cloudsim.NoStockLeft, Delay: time.Second},
	} {
		got, err := faultOf(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "thunder", "throttle 2", "throttle often", "0.5"} {
		_, err := faultOf(text)
		require.Error(t, err, text)
	}
}
