package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter"
)

var here = []string{"--provider", "aws", "--region", "us-east-1"}

func TestDoctor(t *testing.T) {
	f := &fake{checks: []fleet.Check{
		{What: "credentials", State: fleet.CheckOK, Found: "AWS takes them in us-east-1"},
		{What: "quotas", State: fleet.CheckUnknown, Found: "not asked for", Remedy: "never shown"},
	}}
	got := do(t, f, false, "", append([]string{"doctor"}, here...)...)
	assert.Equal(t, exitDone, got.code, "what is unknown is no failure: %s", got.err)
	assert.NotContains(t, got.out, "never shown")

	f.checks = append(f.checks, fleet.Check{What: "image ami-1", State: fleet.CheckMissing, Found: "InvalidAMIID.NotFound", Remedy: "give the worker an image of this region"})
	got = do(t, f, false, "", append([]string{"doctor"}, here...)...)
	assert.Equal(t, exitFailed, got.code)
	golden(t, "doctor", got.out+got.err)
	got = do(t, f, false, "", append([]string{"doctor", "-o", "json"}, here...)...)
	assert.Equal(t, exitFailed, got.code)
	assert.Contains(t, got.out, `"state": "missing"`)
	assert.Equal(t, exitInput, do(t, nil, false, "", "doctor", "--provider", "aws").code)
}

func strays() starter.Strays {
	usd := func(amount float64) *fleet.Cost { return &fleet.Cost{Amount: amount, Currency: "USD"} }
	stray := func(kind fleet.ResourceKind, id, member string, age time.Duration, cost *fleet.Cost) fleet.Resource {
		return fleet.Resource{
			Kind: kind, ID: id, Zone: "us-east-1a", What: "m7g.medium", State: "running", Cluster: "orders", UID: "u1", Member: member,
			Created: clock.Now.Add(-age), Monthly: cost,
		}
	}
	return starter.Strays{Belonging: 6, Resources: []starter.Stray{
		{Resource: stray(fleet.HostResource, "i-1", "orders-1", 49*time.Hour, usd(30.5)), Why: "cluster orders is gone"},
		{Resource: stray(fleet.DiskResource, "vol-1", "orders-1", 49*time.Hour, usd(1.6)), Why: "cluster orders is gone"},
		{Resource: stray(fleet.DiskSnapshotResource, "snap-1", "orders-1", 49*time.Hour, &fleet.Cost{Amount: 0.1, Currency: "USD", AtMost: true}), Why: "cluster orders is gone"},
		{Resource: stray(fleet.HostResource, "i-2", "users-1", 2*time.Hour, nil), Why: "no cluster users is known", Unknown: true},
	}}
}

func TestSweep(t *testing.T) {
	sweep := func(f *fake, person bool, stdin string, args ...string) said {
		return do(t, f, person, stdin, append(append([]string{"sweep"}, here...), args...)...)
	}
	f := &fake{strays: strays()}
	got := sweep(f, false, "")
	assert.Equal(t, exitDone, got.code, got.err)
	golden(t, "sweep", got.out+got.err)
	assert.Empty(t, f.swept, "a list changes nothing")

	got = sweep(f, false, "", "--remove")
	assert.Equal(t, exitRefused, got.code, "nobody can be asked")
	got = sweep(f, true, "no\n", "--remove")
	assert.Equal(t, exitRefused, got.code)
	assert.Empty(t, f.swept)

	got = sweep(f, true, "us-east-1\n", "--remove")
	assert.Equal(t, exitDone, got.code, got.err)
	assert.Len(t, f.swept, 3, "what names a cluster that is not known stays")
	f.swept = nil
	got = sweep(f, false, "", "--remove", "--yes", "--unknown")
	assert.Equal(t, exitDone, got.code, got.err)
	assert.Len(t, f.swept, 4)

	f = &fake{strays: starter.Strays{Resources: strays().Resources[3:]}}
	got = sweep(f, false, "", "--remove", "--yes")
	assert.Equal(t, exitDone, got.code, got.err)
	assert.Empty(t, f.swept)
	assert.Contains(t, got.err, "--unknown removes them too")
	assert.Contains(t, sweep(&fake{}, false, "").err, "nothing belongs to no cluster")
	assert.Equal(t, exitInput, sweep(&fake{}, false, "", "--older-than", "-1h").code)
	assert.Equal(t, exitInput, do(t, nil, false, "", "sweep").code)
}
