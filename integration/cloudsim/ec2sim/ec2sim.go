// Package ec2sim is the face of cloudsim for aws-sdk-go-v2: Amazon EC2 (Query protocol,
// API version 2016-11-15), AWS Systems Manager and Service Quotas (JSON 1.1) at one
// address. It checks signatures (Signature Version 4), parses, asks the world, and renders
// answers and the errors that the services' references name. What a request has and is not modelled is
// refused, never passed over.
package ec2sim

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
)

// Config is a region of AWS.
type Config struct {
	cloudsim.Config
	// Templates are launch templates: by ID, what they fill into RunInstances.
	Templates map[string]url.Values
}

// Region gives a small region as AWS has it, with limits from its references. Root,
// NodeBinary, Delays and the like are left to be set.
func Region(name string) Config {
	zones := []cloudsim.Zone{{Name: name + "a", ID: "use1-az1"}, {Name: name + "b", ID: "use1-az2"}, {Name: name + "c", ID: "use1-az4"}}
	c := Config{Config: cloudsim.Config{
		Region: name,
		Catalogue: cloudsim.Catalogue{
			Zones: zones,
			Types: []cloudsim.InstanceType{
				{MachineType: fleet.MachineType{Name: "m7g.medium", VCPUs: 1, Memory: 4 * fleet.GiB}, Architecture: "arm64"},
				{MachineType: fleet.MachineType{Name: "m7g.large", VCPUs: 2, Memory: 8 * fleet.GiB}, Architecture: "arm64"},
				{MachineType: fleet.MachineType{Name: "m7i.large", VCPUs: 2, Memory: 8 * fleet.GiB}, Architecture: "x86_64"},
				{MachineType: fleet.MachineType{Name: "x8g.large", VCPUs: 2, Memory: 32 * fleet.GiB}, Architecture: "arm64", Zones: []string{zones[0].Name}},
			},
			Images: []cloudsim.Image{
				{ID: "ami-0a1b2c3d4e5f60001", Name: "host-arm64", Architecture: "arm64"},
				{ID: "ami-0a1b2c3d4e5f60002", Name: "host-x86_64", Architecture: "x86_64"},
			},
			Groups: []cloudsim.SecurityGroup{
				{ID: "sg-0a1b2c3d4e5f60001", Name: "members", Network: "vpc-0a1b2c3d4e5f60001", Rules: []cloudsim.Rule{
					{From: 2379, To: 2380, Group: "sg-0a1b2c3d4e5f60001"}, {From: 2379, To: 2379, CIDR: "10.0.0.0/16"},
					{Out: true, From: 0, To: 65535, CIDR: "0.0.0.0/0"},
				}},
				{ID: "sg-0a1b2c3d4e5f60002", Name: "elsewhere", Network: "vpc-0a1b2c3d4e5f60002"},
			},
			// EC2 user guide, "Placement strategies": seven running instances per zone.
			Placements: []cloudsim.Placement{{ID: "pg-0a1b2c3d4e5f60001", Name: "spread", PerZone: 7}},
			// EBS user guide, "General Purpose SSD volumes": gp3.
			Categories: []cloudsim.Category{
				{
					Name: "gp3", Min: fleet.GiB, Max: 16 * fleet.TiB, IOPS: cloudsim.Range{Default: 3000, Min: 3000, Max: 16000},
					IOPSPerGiB: 500, Throughput: cloudsim.Range{Default: 125, Min: 125, Max: 1000},
				},
				{Name: "gp2", Min: fleet.GiB, Max: 16 * fleet.TiB},
			},
			Profiles:       []string{"flotilla-host"},
			EncryptionKeys: []string{"arn:aws:kms:" + name + ":111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"},
		},
		Limits: cloudsim.Limits{
			UserData: 16 << 10, Script: 64 << 10, Stdout: 24000, Stderr: 8000, TokenChars: 64,
			Modifications: 4, Within: 24 * time.Hour, VCPUs: 1152, Storage: 50 * fleet.TiB,
			Snapshots: 100_000, PendingOfDisk: 5, SnapshotEvery: 15 * time.Second,
		},
		Delays: cloudsim.Quick(),
		Names:  cloudsim.Names{Instance: "i-0", Disk: "vol-0", Snapshot: "snap-0", Command: commandID},
		Keys:   map[string]string{"AKIDEXAMPLE": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"},
	}}
	for i, z := range zones {
		c.Subnets = append(c.Subnets, cloudsim.Subnet{
			ID: fmt.Sprintf("subnet-0a1b2c3d4e5f6000%d", i+1), Zone: z.Name, Network: "vpc-0a1b2c3d4e5f60001", CIDR: fmt.Sprintf("10.0.%d.0/24", i),
		})
	}
	return c
}

// commandID forms a UUID, as SSM does.
func commandID(b [16]byte) string {
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// Face serves a world as AWS does.
type Face struct {
	world     *cloudsim.World
	templates map[string]url.Values
}

// New gives the face of a world that was made of cfg.Config.
func New(w *cloudsim.World, cfg Config) *Face { return &Face{w, cfg.Templates} }

// maxBody is more than any request that is valid.
const maxBody = 1 << 20

// ServeHTTP serves one call: of the service that its target names, or of EC2.
func (f *Face) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, maxBody))
	if err != nil {
		http.Error(rw, "the request cannot be read", http.StatusBadRequest)
		return
	}
	for _, s := range []service{ssmService, quotaService} {
		if action, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), s.target+"."); ok {
			f.serveJSON(rw, r, s, action, body)
			return
		}
	}
	f.serveEC2(rw, r, body)
}

func requestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return commandID(b)
}
