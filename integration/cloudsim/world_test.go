package cloudsim_test

import (
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/simtest"
)

func TestMain(m *testing.M) { simtest.Main(m) }

// config is a small region of no vendor.
func config() cloudsim.Config {
	return cloudsim.Config{
		Region: "r",
		Catalogue: cloudsim.Catalogue{
			Zones: []cloudsim.Zone{{Name: "a"}, {Name: "b"}},
			Types: []cloudsim.InstanceType{
				{MachineType: fleet.MachineType{Name: "small", VCPUs: 1, Memory: fleet.GiB}, Architecture: "arm"},
				{MachineType: fleet.MachineType{Name: "large", VCPUs: 2, Memory: fleet.GiB}, Architecture: "arm", Zones: []string{"a"}},
				{MachineType: fleet.MachineType{Name: "other", VCPUs: 2, Memory: fleet.GiB}, Architecture: "intel"},
			},
			Images:     []cloudsim.Image{{ID: "image", Architecture: "arm"}},
			Subnets:    []cloudsim.Subnet{{ID: "net-a", Zone: "a", Network: "n"}, {ID: "net-b", Zone: "b", Network: "n"}},
			Groups:     []cloudsim.SecurityGroup{{ID: "group", Network: "n"}, {ID: "foreign", Network: "m"}},
			Placements: []cloudsim.Placement{{Name: "spread", PerZone: 1}},
			Categories: []cloudsim.Category{{
				Name: "ssd", Min: fleet.GiB, Max: fleet.TiB, IOPS: cloudsim.Range{Default: 3000, Min: 3000, Max: 16000},
				IOPSPerGiB: 500, Throughput: cloudsim.Range{Default: 125, Min: 125, Max: 1000},
			}},
			Profiles: []string{"profile"},
		},
		Limits: cloudsim.Limits{
			UserData: 16, Script: 100, Stdout: 10, Stderr: 10, TokenChars: 64, Instances: 4, Disks: 4, Modifications: 2, Within: time.Hour,
		},
		Delays: cloudsim.Quick(),
		Names: cloudsim.Names{
			Instance: "i-0", Disk: "vol-0", Command: func(b [16]byte) string { return "c-" + hex.EncodeToString(b[:]) },
		},
	}
}

func launch(token string) cloudsim.LaunchRequest {
	return cloudsim.LaunchRequest{Token: token, Fingerprint: "f", Zone: "a", Type: "small", Image: "image", Subnet: "net-a", Groups: []string{"group"}}
}

func create(token string) cloudsim.CreateDiskRequest {
	return cloudsim.CreateDiskRequest{Token: token, Fingerprint: "f", Zone: "a", Shape: cloudsim.Shape{Size: 8 * fleet.GiB, Category: "ssd"}}
}

func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	require.Eventually(t, so, 20*time.Second, 5*time.Millisecond, what)
}

func awaitInstance(t *testing.T, w *cloudsim.World, id string, state fleet.HostState) cloudsim.Instance {
	t.Helper()
	var got cloudsim.Instance
	eventually(t, fmt.Sprintf("%s is %s", id, state), func() bool {
		all, err := w.Instances([]string{id}, nil)
		if err == nil {
			got = all[0]
		}
		return err == nil && got.State == state
	})
	return got
}

func awaitDisk(t *testing.T, w *cloudsim.World, id string, so func(cloudsim.Disk) bool) cloudsim.Disk {
	t.Helper()
	var got cloudsim.Disk
	eventually(t, id+" is as wanted", func() bool {
		all, err := w.Disks([]string{id}, nil)
		if err == nil {
			got = all[0]
		}
		return err == nil && so(got)
	})
	return got
}

func is(state fleet.DiskState) func(cloudsim.Disk) bool {
	return func(d cloudsim.Disk) bool { return d.State == state }
}

func refusedAs(t *testing.T, code cloudsim.Code, err error, what string) {
	t.Helper()
	require.Error(t, err, what)
	require.Equal(t, code, cloudsim.Because(err).Code, "%s: %v", what, err)
}

// An instance is a real host: it has an address, runs scripts, sees its disks under
// their IDs, and is down when it was stopped.
func TestInstanceIsAHost(t *testing.T) {
	w := simtest.World(t, config())
	bought, err := w.Launch(launch("one"))
	require.NoError(t, err)
	id := bought[0].ID
	require.Regexp(t, "^i-0[0-9a-f]{16}$", id)
	d, err := w.CreateDisk(create("disk"))
	require.NoError(t, err)
	require.NotEmpty(t, awaitInstance(t, w, id, fleet.HostRunning).Address)
	awaitDisk(t, w, d.ID, is(fleet.DiskAvailable))
	_, err = w.Attach(d.ID, id, "/dev/sdf")
	require.NoError(t, err)
	awaitDisk(t, w, d.ID, is(fleet.DiskInUse))

	eventually(t, "the agent answers", func() bool { return w.AgentAnswers(id) })
	c, err := w.Send(cloudsim.CommandRequest{InstanceIDs: []string{id}, Script: "ls disks; echo 12345678901234567890 >&2; exit 3"})
	require.NoError(t, err)
	var got cloudsim.Invocation
	eventually(t, "the command ends", func() bool {
		got, err = w.Invocation(c.ID, id)
		return err == nil && got.State != iaas.CommandRunning
	})
	require.Equal(t, iaas.CommandFailed, got.State)
	require.Equal(t, 3, got.ExitCode)
	require.Equal(t, d.ID[:10], got.Stdout, "cut to the limit")
	require.Equal(t, "1234567890", got.Stderr)

	_, err = w.Stop(id)
	require.NoError(t, err)
	awaitInstance(t, w, id, fleet.HostStopped)
	_, err = w.Send(cloudsim.CommandRequest{InstanceIDs: []string{id}, Script: "true"})
	refusedAs(t, cloudsim.InstanceState, err, "a command on a stopped instance")
	_, err = w.Terminate(id)
	require.NoError(t, err)
	awaitInstance(t, w, id, fleet.HostTerminated)
	require.Empty(t, awaitDisk(t, w, d.ID, is(fleet.DiskAvailable)).InstanceID, "the disk outlives its instance")
}

func TestLaunchRefused(t *testing.T) {
	w := simtest.Bodiless(t, config())
	for name, c := range map[string]struct {
		code   cloudsim.Code
		change func(*cloudsim.LaunchRequest)
	}{
		"zone":         {cloudsim.NoZone, func(r *cloudsim.LaunchRequest) { r.Zone = "x" }},
		"other zone":   {cloudsim.Mismatched, func(r *cloudsim.LaunchRequest) { r.Zone = "b" }},
		"type":         {cloudsim.NoType, func(r *cloudsim.LaunchRequest) { r.Type = "x" }},
		"not sold":     {cloudsim.NotSold, func(r *cloudsim.LaunchRequest) { r.Type, r.Zone, r.Subnet = "large", "b", "net-b" }},
		"architecture": {cloudsim.Mismatched, func(r *cloudsim.LaunchRequest) { r.Type = "other" }},
		"image":        {cloudsim.NoImage, func(r *cloudsim.LaunchRequest) { r.Image = "x" }},
		"subnet":       {cloudsim.NoSubnet, func(r *cloudsim.LaunchRequest) { r.Subnet = "x" }},
		"group":        {cloudsim.NoGroup, func(r *cloudsim.LaunchRequest) { r.Groups = []string{"x"} }},
		"network":      {cloudsim.Mismatched, func(r *cloudsim.LaunchRequest) { r.Groups = []string{"foreign"} }},
		"profile":      {cloudsim.NoProfile, func(r *cloudsim.LaunchRequest) { r.Profile = "x" }},
		"placement":    {cloudsim.NoPlacement, func(r *cloudsim.LaunchRequest) { r.Placement = "x" }},
		"spread":       {cloudsim.PlacementFull, func(r *cloudsim.LaunchRequest) { r.Placement, r.Count = "spread", 2 }},
		"quota":        {cloudsim.OverQuota, func(r *cloudsim.LaunchRequest) { r.Count = 5 }},
		"user data":    {cloudsim.UserDataLong, func(r *cloudsim.LaunchRequest) { r.UserData = make([]byte, 17) }},
		"token":        {cloudsim.BadToken, func(r *cloudsim.LaunchRequest) { r.Token = string(make([]byte, 65)) }},
		"dry run":      {cloudsim.DryRun, func(r *cloudsim.LaunchRequest) { r.DryRun = true }},
	} {
		req := launch(name)
		c.change(&req)
		_, err := w.Launch(req)
		refusedAs(t, c.code, err, name)
	}
	instances, _ := w.Bought()
	require.Zero(t, instances, "what is refused is not sold")
}

func TestTokens(t *testing.T) {
	w := simtest.Bodiless(t, config())
	one, err := w.Launch(launch("token"))
	require.NoError(t, err)
	again, err := w.Launch(launch("token"))
	require.NoError(t, err)
	require.Equal(t, one[0].ID, again[0].ID)
	other := launch("token")
	other.Fingerprint = "g"
	_, err = w.Launch(other)
	refusedAs(t, cloudsim.TokenReused, err, "other parameters")
	_, err = w.CreateDisk(create("token"))
	require.NoError(t, err, "tokens of disks are not those of instances")
}

// What was changed is seen later, and what was just bought not at all.
func TestLag(t *testing.T) {
	cfg := config()
	cfg.Delays = cloudsim.Delays{Lag: 300 * time.Millisecond, Gone: time.Hour}
	cfg.Seed = 2 // which draws lags of 285 ms and more at first
	w := simtest.Bodiless(t, cfg)
	unseen := 0
	for n := range 4 {
		bought, err := w.Launch(launch(fmt.Sprint(n)))
		require.NoError(t, err)
		if _, err := w.Instances([]string{bought[0].ID}, nil); err != nil {
			refusedAs(t, cloudsim.NoInstance, err, "a look")
			_, err = w.Stop(bought[0].ID)
			refusedAs(t, cloudsim.NoInstance, err, "a change")
			unseen++
		}
		awaitInstance(t, w, bought[0].ID, fleet.HostRunning)
	}
	require.Positive(t, unseen)
}

func TestDiskRules(t *testing.T) {
	w := simtest.Bodiless(t, config())
	for name, c := range map[string]struct {
		code   cloudsim.Code
		change func(*cloudsim.CreateDiskRequest)
	}{
		"zone":            {cloudsim.NoZone, func(r *cloudsim.CreateDiskRequest) { r.Zone = "x" }},
		"category":        {cloudsim.NoCategory, func(r *cloudsim.CreateDiskRequest) { r.Category = "x" }},
		"size":            {cloudsim.BadSize, func(r *cloudsim.CreateDiskRequest) { r.Size = 2 * fleet.TiB }},
		"no size":         {cloudsim.BadSize, func(r *cloudsim.CreateDiskRequest) { r.Size = 0 }},
		"IOPS":            {cloudsim.BadShape, func(r *cloudsim.CreateDiskRequest) { r.IOPS = 2999 }},
		"IOPS for a GiB":  {cloudsim.BadShape, func(r *cloudsim.CreateDiskRequest) { r.IOPS = 4001 }},
		"throughput":      {cloudsim.BadShape, func(r *cloudsim.CreateDiskRequest) { r.Throughput = 1001 }},
		"ratio":           {cloudsim.BadShape, func(r *cloudsim.CreateDiskRequest) { r.Throughput = 800 }},
		"key":             {cloudsim.NoKey, func(r *cloudsim.CreateDiskRequest) { r.Key = "x" }},
		"level":           {cloudsim.BadShape, func(r *cloudsim.CreateDiskRequest) { r.Level = "x" }},
		"would be bought": {cloudsim.DryRun, func(r *cloudsim.CreateDiskRequest) { r.DryRun = true }},
	} {
		req := create(name)
		c.change(&req)
		_, err := w.CreateDisk(req)
		refusedAs(t, c.code, err, name)
	}
	d, err := w.CreateDisk(create("one"))
	require.NoError(t, err)
	elsewhere := create("two")
	elsewhere.Zone = "b"
	far, err := w.CreateDisk(elsewhere)
	require.NoError(t, err)
	bought, err := w.Launch(launch("host"))
	require.NoError(t, err)
	host := bought[0].ID
	awaitDisk(t, w, d.ID, is(fleet.DiskAvailable))
	awaitDisk(t, w, far.ID, is(fleet.DiskAvailable))
	awaitInstance(t, w, host, fleet.HostRunning)

	_, err = w.Attach(far.ID, host, "/dev/sdf")
	refusedAs(t, cloudsim.OtherZone, err, "another zone")
	_, err = w.Detach(d.ID, "")
	refusedAs(t, cloudsim.DiskFree, err, "detach of a free disk")
	_, err = w.Attach(d.ID, host, "/dev/sdf")
	require.NoError(t, err)
	_, err = w.Attach(d.ID, host, "/dev/sdg")
	refusedAs(t, cloudsim.DiskTaken, err, "attached twice")
	refusedAs(t, cloudsim.DiskTaken, w.DeleteDisk(d.ID), "delete of an attached disk")
	awaitDisk(t, w, d.ID, is(fleet.DiskInUse))

	_, err = w.Modify(d.ID, cloudsim.Shape{Size: fleet.GiB})
	refusedAs(t, cloudsim.BadSize, err, "shrink")
	_, err = w.Modify(d.ID, cloudsim.Shape{Size: 9 * fleet.GiB})
	require.NoError(t, err)
	_, err = w.Modify(d.ID, cloudsim.Shape{Size: 10 * fleet.GiB})
	refusedAs(t, cloudsim.Modifying, err, "two modifications at a time")
	done := func(d cloudsim.Disk) bool { return d.Modification.State == cloudsim.ModificationCompleted }
	require.Equal(t, 9*fleet.GiB, awaitDisk(t, w, d.ID, done).Size)
	_, err = w.Modify(d.ID, cloudsim.Shape{Size: 10 * fleet.GiB})
	require.NoError(t, err)
	awaitDisk(t, w, d.ID, func(d cloudsim.Disk) bool { return done(d) && d.Size == 10*fleet.GiB })
	_, err = w.Modify(d.ID, cloudsim.Shape{Size: 11 * fleet.GiB})
	refusedAs(t, cloudsim.TooManyMods, err, "a third modification within the hour")
}

func TestFaults(t *testing.T) {
	w := simtest.Bodiless(t, config())
	w.Inject(cloudsim.Fault{Kind: cloudsim.NoStockLeft, Target: cloudsim.Target{Zone: "a"}, Times: 1})
	require.False(t, w.Sells("a", "small"))
	require.True(t, w.Sells("b", "small"))
	_, err := w.Launch(launch("one"))
	refusedAs(t, cloudsim.NoStock, err, "no stock")
	require.True(t, w.Sells("a", "small"), "it strikes once")

	ready := w.Inject(cloudsim.Fault{Kind: cloudsim.NeverReady})
	bought, err := w.Launch(launch("one"))
	require.NoError(t, err, "a token that bought nothing is as new")
	id := bought[0].ID
	time.Sleep(3 * cloudsim.Quick().Boot) // no fact to wait for: it is about what does not come
	require.Equal(t, fleet.HostPending, awaitInstance(t, w, id, fleet.HostPending).State)
	ready()
	awaitInstance(t, w, id, fleet.HostRunning)

	d, err := w.CreateDisk(create("one"))
	require.NoError(t, err)
	awaitDisk(t, w, d.ID, is(fleet.DiskAvailable))
	_, err = w.Attach(d.ID, id, "")
	require.NoError(t, err)
	awaitDisk(t, w, d.ID, is(fleet.DiskInUse))
	free := w.Inject(cloudsim.Fault{Kind: cloudsim.StuckDetach, Target: cloudsim.Target{ID: d.ID}})
	_, err = w.Detach(d.ID, id)
	require.NoError(t, err)
	awaitDisk(t, w, d.ID, is(fleet.DiskDetaching))
	refusedAs(t, cloudsim.DiskTaken, w.DeleteDisk(d.ID), "delete of a disk that detaches for ever")
	free()
	awaitDisk(t, w, d.ID, is(fleet.DiskAvailable))

	heal, err := w.FailZone("a")
	require.NoError(t, err)
	_, err = w.Launch(launch("two"))
	refusedAs(t, cloudsim.NoStock, err, "launch in a zone that is out")
	_, err = w.Attach(d.ID, id, "")
	refusedAs(t, cloudsim.ZoneDown, err, "attach in a zone that is out")
	require.NoError(t, heal())

	_, err = w.Attach(d.ID, id, "")
	require.NoError(t, err)
	awaitDisk(t, w, d.ID, is(fleet.DiskInUse))
	free = w.Inject(cloudsim.Fault{Kind: cloudsim.StuckDetach})
	require.NoError(t, w.Reclaim(id))
	require.Equal(t, cloudsim.ByCloud, awaitInstance(t, w, id, fleet.HostTerminated).Reason)
	awaitDisk(t, w, d.ID, is(fleet.DiskDetaching))
	free()
	awaitDisk(t, w, d.ID, is(fleet.DiskAvailable))
}
