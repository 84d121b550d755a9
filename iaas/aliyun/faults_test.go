package aliyun_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/iaas/aliyun"
	"github.com/flotilla-etcd/flotilla/iaas/pace"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/ecssim"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/simtest"
)

func newStand(t *testing.T, make func(*testing.T, cloudsim.Config) *cloudsim.World, change ...func(*aliyun.Config)) simtest.Stand {
	cfg := ecssim.Region(region)
	w := make(t, cfg)
	c := config(serve(t, w), cfg)
	for _, f := range change {
		f(&c)
	}
	goods := simtest.Goods{Zone: region + "-g", Type: "ecs.g8y.large", Larger: "ecs.g8y.xlarge", Category: "cloud_essd:PL0", Other: "cloud_essd"}
	return simtest.Stand{Provider: open(t, c), T: t, World: w, Goods: goods}
}

// The answer of each call that changes something is lost in turn, several times for
// those that buy. The SDK asks once only, so that each time the caller has to.
func TestLostAnswers(t *testing.T) {
	simtest.LostAnswers(t, []string{
		"RunInstances", "CreateDisk", "TagResources", "AttachDisk", "ResizeDisk", "RunCommand", "StopInstance",
		"ModifyInstanceSpec", "StartInstance", "DetachDisk", "DeleteDisk", "DeleteInstance", "CreateSnapshot", "DeleteSnapshot",
	}, map[string]int{"RunInstances": 3, "CreateDisk": 3, "RunCommand": 3, "CreateSnapshot": 3}, func(t *testing.T) simtest.Stand { return newStand(t, simtest.World) })
}

// ECS takes the size and the performance level of a disk apart.
func TestRetypesOnce(t *testing.T) {
	simtest.RetypesOnce(t, []string{"ResizeDisk", "ModifyDiskSpec"}, func(t *testing.T) simtest.Stand { return newStand(t, simtest.World) })
}

// A change that is asked for again while looks lag behind is refused, and is none too much.
func TestRetypeThatIsDoneAlready(t *testing.T) {
	s := newStand(t, func(t *testing.T, cfg cloudsim.Config) *cloudsim.World {
		cfg.Delays.Lag, cfg.Delays.Modify, cfg.Delays.Settle = 2*time.Second, time.Millisecond, time.Millisecond
		return simtest.Bodiless(t, cfg)
	}, func(c *aliyun.Config) { c.Lag = 10 * time.Second })
	d, err := s.CreateDisk(t.Context(), iaas.CreateDiskRequest{Token: "disk", Name: "m1", Zone: s.Goods.Zone, Size: 20 * fleet.GiB, Category: s.Goods.Category})
	require.NoError(t, err)
	s.Await("it is another one", func(ctx context.Context) (bool, error) {
		if err := s.RetypeDisk(ctx, d.ID, s.Goods.Other, d.Size); err != nil {
			return false, err
		}
		now, err := s.Disk(ctx, d.ID)
		return now.Category == s.Goods.Other, err
	})
	refused := func(c cloudsim.Call) bool { return c.Refused == cloudsim.IdleChange }
	require.True(t, slices.ContainsFunc(s.World.Calls(), refused), "looks lag behind for long enough")
	require.Equal(t, 1, s.World.Done("ModifyDiskSpec"))
}

func TestNoStock(t *testing.T) {
	s := newStand(t, simtest.Bodiless)
	s.NoStock(region+"-h", "ecs.r8y.large")
	heal := s.World.Inject(cloudsim.Fault{Kind: cloudsim.NoStockLeft, Target: cloudsim.Target{Zone: region + "-g"}})
	ok, err := s.Available(t.Context(), region+"-g", s.Goods.Type)
	require.NoError(t, err)
	require.False(t, ok, "ECS tells what is in stock")
	heal()
	for n := range 21 {
		_, err = s.LaunchHost(t.Context(), s.Request(fmt.Sprint("spread", n)))
		if n < 20 {
			require.NoError(t, err)
		}
	}
	require.Equal(t, fleet.OutOfCapacity, fleet.KindOf(err), "a deployment set takes 20 in a zone: %v", err)
}

// A stopped host that is not paid for may find no room when it is to start.
func TestNoStockAtStart(t *testing.T) {
	s := newStand(t, simtest.Bodiless)
	h, err := s.LaunchHost(t.Context(), s.Request("one"))
	require.NoError(t, err)
	is := func(state fleet.HostState) {
		s.Await(string(state), func(ctx context.Context) (bool, error) {
			now, err := s.Host(ctx, h.ID)
			return now.State == state, err
		})
	}
	is(fleet.HostRunning)
	require.NoError(t, s.StopHost(t.Context(), h.ID))
	is(fleet.HostStopped)
	s.World.Inject(cloudsim.Fault{Kind: cloudsim.NoStockLeft, Times: 1})
	require.Equal(t, fleet.OutOfCapacity, fleet.KindOf(s.StartHost(t.Context(), h.ID)))
	require.NoError(t, s.StartHost(t.Context(), h.ID))
	is(fleet.HostRunning)
}

// A worker's pace is behind this provider as behind any: what ECS throttles slows it.
func TestPaced(t *testing.T) {
	s := newStand(t, simtest.Bodiless)
	p := pace.Wrap(s.Provider, "region "+region, pace.DefaultLimits())
	s.World.Inject(cloudsim.Fault{Kind: cloudsim.Throttle, Times: 1, Delay: time.Second})
	began := time.Now()
	_, err := p.Zones(t.Context())
	require.Equal(t, fleet.Throttled, fleet.KindOf(err), "%v", err)
	_, err = p.Zones(t.Context())
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(began), time.Second, "what ECS asks for is waited for")
	require.Equal(t, 2, s.World.Count("DescribeZones"), "nothing is tried again by itself")
	require.EqualValues(t, 1, p.Stats(pace.Read).Throttled)
}

// A list comes whole over many pages, and what is not ours is not in it.
func TestPages(t *testing.T) {
	s := newStand(t, simtest.Bodiless)
	cfg := ecssim.Region(region)
	const many = 430
	launch := func(count int, tags map[string]string) {
		_, err := s.World.Launch(cloudsim.LaunchRequest{
			Count: count, Type: "ecs.g8y.large", Image: cfg.Images[0].ID, Subnet: cfg.Subnets[0].ID, Tags: tags,
		})
		require.NoError(t, err)
	}
	launch(many, map[string]string{fleet.TagToken: "t", fleet.TagCluster: "a"})
	launch(3, map[string]string{"theirs": "", fleet.TagCluster: "ab"})
	for _, tags := range []iaas.Tags{nil, {fleet.TagCluster: "a"}, {fleet.TagCluster: ""}} {
		s.Await("all are listed", func(ctx context.Context) (bool, error) {
			hosts, err := s.ListHosts(ctx, tags)
			require.LessOrEqual(t, len(hosts), many)
			return len(hosts) == many, err
		})
	}
	for n := range 250 {
		_, err := s.World.CreateDisk(cloudsim.CreateDiskRequest{
			Zone: region + "-g", Tags: map[string]string{fleet.TagToken: fmt.Sprint(n), fleet.TagCluster: "a"},
			Shape: cloudsim.Shape{Size: 20 * fleet.GiB, Category: "cloud_essd"},
		})
		require.NoError(t, err)
	}
	s.Await("all disks are listed", func(ctx context.Context) (bool, error) {
		disks, err := s.ListDisks(ctx, iaas.Tags{fleet.TagCluster: "a"})
		return len(disks) == 250, err
	})
	s.World.Inject(cloudsim.Fault{Kind: cloudsim.Deny, Target: cloudsim.Target{Action: "DescribeInstances"}})
	_, err := s.ListHosts(t.Context(), nil)
	require.Equal(t, fleet.Denied, fleet.KindOf(err), "a list in part is an error")
}

// Hosts have what the configuration says, and disks the performance level that their
// category names.
func TestBought(t *testing.T) {
	s := newStand(t, simtest.Bodiless, func(c *aliyun.Config) {
		c.UserData = func(context.Context) ([]byte, error) { return []byte("#cloud-config\n"), nil }
		c.KMSKey = ecssim.Region(region).EncryptionKeys[0]
	})
	h, err := s.LaunchHost(t.Context(), s.Request("one"))
	require.NoError(t, err)
	all, err := s.World.Instances([]string{h.ID}, nil)
	require.NoError(t, err)
	cfg := ecssim.Region(region)
	require.Equal(t, cfg.Profiles[0], all[0].Profile)
	require.Equal(t, cfg.Placements[0].ID, all[0].Placement)
	require.Equal(t, []string{cfg.Groups[0].ID}, all[0].Groups)
	require.Equal(t, "required", all[0].Attributes["HttpTokens"])
	require.Equal(t, "#cloud-config\n", string(all[0].UserData))
	for category, level := range map[string]string{"cloud_essd": "PL1", "cloud_essd:PL0": "PL0", "cloud_essd:PL2": "PL2"} {
		d, err := s.CreateDisk(t.Context(), iaas.CreateDiskRequest{
			Token: category, Name: "7", Zone: region + "-g", Size: 500 * fleet.GiB, Category: category,
		})
		require.NoError(t, err)
		require.Equal(t, category, d.Category)
		require.Equal(t, "7", d.Name, "also names that ECS does not take")
		disks, err := s.World.Disks([]string{d.ID}, nil)
		require.NoError(t, err)
		require.Equal(t, level, disks[0].Level)
		require.True(t, disks[0].Encrypted)
		require.Equal(t, cfg.EncryptionKeys[0], disks[0].Key)
	}
	_, err = s.CreateDisk(t.Context(), iaas.CreateDiskRequest{
		Token: "small", Name: "small", Zone: region + "-g", Size: 20 * fleet.GiB, Category: "cloud_essd:PL3",
	})
	require.Equal(t, fleet.Invalid, fleet.KindOf(err), "PL3 begins at 1261 GiB: %v", err)
}

func TestLaunchAgainWithAnotherConfiguration(t *testing.T) {
	var data string
	s := newStand(t, simtest.Bodiless, func(c *aliyun.Config) {
		c.UserData = func(context.Context) ([]byte, error) { return []byte(data), nil }
	})
	s.LaunchesAgain("ECS", func(now string) { data = now })
}

// No credentials get into what people read: not the secret, nor the URL that has the
// key's ID, the signature and every parameter.
func TestCredentials(t *testing.T) {
	const id, secret = "LTAISOMEONESKEY", "VERYSECRETACCESSKEY"
	clean := func(err error) {
		t.Helper()
		for e := err; e != nil; e = errors.Unwrap(e) {
			for _, text := range []string{id, secret, "Signature=", "AccessKeyId=", "HMAC-SHA1"} {
				require.NotContains(t, fmt.Sprintf("%v %+v", e, e), text)
			}
		}
	}
	unknown := newStand(t, simtest.Bodiless, func(c *aliyun.Config) {
		c.Credentials = credentials.NewStaticAKCredentialsProvider(id, secret)
	})
	_, err := unknown.Zones(t.Context())
	require.Equal(t, fleet.Denied, fleet.KindOf(err), "%v", err)
	clean(err)
	wrong := newStand(t, simtest.Bodiless, func(c *aliyun.Config) {
		c.Credentials = credentials.NewStaticAKCredentialsProvider("LTAIEXAMPLE", secret)
	})
	_, err = wrong.Zones(t.Context())
	require.Equal(t, fleet.Denied, fleet.KindOf(err), "%v", err)
	clean(err)
	lost := newStand(t, simtest.Bodiless)
	lost.World.Inject(cloudsim.Fault{Kind: cloudsim.LoseAnswer})
	_, err = lost.Zones(t.Context())
	require.Equal(t, fleet.Unavailable, fleet.KindOf(err), "%v", err)
	clean(err)
	require.NotContains(t, err.Error(), "LTAIEXAMPLE")
}

type none struct{ err error }

func (n none) GetCredentials() (*credentials.Credentials, error) { return nil, n.err }
func (n none) GetProviderName() string                           { return "none" }

// The SDK's chain finds what the environment has, also after it found nothing; what it
// says of where it looked is not repeated.
func TestDefaultChain(t *testing.T) {
	cfg := ecssim.Region(region)
	w := simtest.Bodiless(t, cfg)
	for _, name := range []string{"ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET", "ALIBABA_CLOUD_SECURITY_TOKEN"} {
		t.Setenv(name, "")
	}
	t.Setenv("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")
	t.Setenv("HOME", t.TempDir())
	c := config(serve(t, w), cfg)
	c.Credentials = nil
	p := open(t, c)
	_, err := p.Zones(t.Context())
	require.Equal(t, fleet.Denied, fleet.KindOf(err), "%v", err)
	require.Equal(t, "zones of cn-hangzhou: there are no Alibaba Cloud credentials; give the worker's host a RAM role, "+
		"or configure the SDK's credentials (docs/providers/aliyun.md)", err.Error())
	for id, secret := range cfg.Keys {
		t.Setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", id)
		t.Setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", secret)
	}
	zones, err := p.Zones(t.Context())
	require.NoError(t, err)
	require.Len(t, zones, 3)
	t.Setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "")
	_, err = p.Zones(t.Context())
	require.Equal(t, fleet.Unavailable, fleet.KindOf(err), "credentials that were there may come back: %v", err)

	c.Credentials = none{errors.New("http://100.100.100.200/secret")}
	_, err = open(t, c).Zones(t.Context())
	require.NotContains(t, err.Error(), "secret")
}

// Calls are over TLS, to whom the system trusts; they follow nobody elsewhere, and end
// with their context though the SDK's take none.
func TestTransport(t *testing.T) {
	cfg := ecssim.Region(region)
	w := simtest.Bodiless(t, cfg)
	s := httptest.NewTLSServer(ecssim.New(w))
	t.Cleanup(s.Close)
	c := config(s.URL, cfg)
	_, err := open(t, c).Zones(t.Context())
	require.Equal(t, fleet.Unavailable, fleet.KindOf(err), "an authority that nobody trusts: %v", err)
	trusted := x509.NewCertPool()
	trusted.AddCert(s.Certificate())
	c.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}}
	zones, err := open(t, c).Zones(t.Context())
	require.NoError(t, err)
	require.Len(t, zones, 3)

	answers := func(h http.HandlerFunc) *aliyun.Provider {
		elsewhere := httptest.NewServer(h)
		t.Cleanup(elsewhere.Close)
		c.Endpoint = elsewhere.URL
		return open(t, c)
	}
	_, err = answers(func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, s.URL, http.StatusTemporaryRedirect)
	}).Zones(t.Context())
	require.Equal(t, fleet.Unavailable, fleet.KindOf(err))
	require.ErrorContains(t, err, "redirection")

	for _, body := range []string{`{"Code": 502, "Message": 3}`, "<html>Bad gateway</html>", ""} {
		_, err = answers(func(rw http.ResponseWriter, _ *http.Request) {
			rw.WriteHeader(http.StatusBadGateway)
			_, _ = rw.Write([]byte(body))
		}).Zones(t.Context())
		require.Equal(t, fleet.Unavailable, fleet.KindOf(err), "%s: %v", body, err)
	}

	asked := make(chan struct{})
	silent := answers(func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	_, err = silent.Zones(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, fleet.Unavailable, fleet.KindOf(err))
}
