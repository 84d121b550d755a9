// Package ecssim is the face of cloudsim for alibaba-cloud-sdk-go: Elastic Compute
// Service with its disks and Cloud Assistant (RPC protocol, API version 2014-05-26,
// JSON), and vSwitches of the VPC service (2016-04-28) at the same address. It checks signatures (HMAC-SHA1, version 1.0), parses, asks the world, and
// renders answers and the errors that ECS's reference names. What a request has and is
// not modelled is refused, never passed over.
package ecssim

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
)

// versions are those of the APIs: of ECS, and of the VPC service for its one action.
const (
	version    = "2014-05-26"
	vpcVersion = "2016-04-28"
	vpcAction  = "DescribeVSwitches"
)

// Region gives a small region as Alibaba Cloud has it, with limits from its references.
// Root, NodeBinary, Delays and the like are left to be set.
func Region(name string) cloudsim.Config {
	zones := []cloudsim.Zone{{Name: name + "-g"}, {Name: name + "-h"}, {Name: name + "-i"}}
	const vpc = "vpc-bp1a2b3c4d5e6f7g8h9i1"
	c := cloudsim.Config{
		Region: name,
		Catalogue: cloudsim.Catalogue{
			Zones: zones,
			Types: []cloudsim.InstanceType{
				{MachineType: fleet.MachineType{Name: "ecs.g8y.large", VCPUs: 2, Memory: 8 * fleet.GiB}, Architecture: "ARM"},
				{MachineType: fleet.MachineType{Name: "ecs.g8y.xlarge", VCPUs: 4, Memory: 16 * fleet.GiB}, Architecture: "ARM"},
				{MachineType: fleet.MachineType{Name: "ecs.g8i.large", VCPUs: 2, Memory: 8 * fleet.GiB}, Architecture: "X86"},
				{MachineType: fleet.MachineType{Name: "ecs.r8y.large", VCPUs: 2, Memory: 16 * fleet.GiB}, Architecture: "ARM", Zones: []string{zones[0].Name}},
			},
			Images: []cloudsim.Image{
				{ID: "m-bp1a2b3c4d5e6f7g8h9a1", Name: "host-arm64", Architecture: "ARM"},
				{ID: "m-bp1a2b3c4d5e6f7g8h9a2", Name: "host-x86_64", Architecture: "X86"},
			},
			Groups: []cloudsim.SecurityGroup{
				{ID: "sg-bp1a2b3c4d5e6f7g8h9s1", Name: "members", Network: vpc, Rules: []cloudsim.Rule{
					{From: 2379, To: 2379, CIDR: "10.0.0.0/16", Priority: 1}, {From: 22, To: 22, CIDR: "0.0.0.0/0", Deny: true, Priority: 1},
				}},
				{ID: "sg-bp1a2b3c4d5e6f7g8h9s2", Name: "elsewhere", Network: "vpc-bp1a2b3c4d5e6f7g8h9i2"},
			},
			// User guide, "Deployment set": 20 instances in a zone for high availability.
			Placements: []cloudsim.Placement{{ID: "ds-bp1a2b3c4d5e6f7g8h9d1", Name: "spread", PerZone: 20}},
			// API reference, CreateDisk: Size and PerformanceLevel.
			Categories: []cloudsim.Category{
				{
					Name: "cloud_essd", Min: fleet.GiB, Max: 64 * fleet.TiB, DefaultLevel: "PL1",
					Levels: map[string]fleet.Bytes{"PL0": fleet.GiB, "PL1": 20 * fleet.GiB, "PL2": 461 * fleet.GiB, "PL3": 1261 * fleet.GiB},
				},
				{Name: "cloud_efficiency", Min: 20 * fleet.GiB, Max: 32 * fleet.TiB},
			},
			Profiles:       []string{"FlotillaHost"},
			EncryptionKeys: []string{"0e478b7a-4262-4802-b8cb-00d3fb40826x"},
			// Made up; ecs.r8y.large has none.
			Prices: cloudsim.Prices{
				Currency: "CNY",
				Types:    map[string]float64{"ecs.g8y.large": 0.5, "ecs.g8y.xlarge": 1, "ecs.g8i.large": 0.6},
				GiB: map[string]float64{
					"cloud_essd:PL0": 0.00105, "cloud_essd:PL1": 0.0021, "cloud_essd:PL2": 0.0042, "cloud_essd:PL3": 0.0084, "cloud_efficiency": 0.0005,
				},
			},
		},
		Limits: cloudsim.Limits{
			UserData: 16 << 10, Script: maxContent, Stdout: maxOutput, Stderr: maxOutput, TokenChars: 64,
			VCPUs: 1000, NoIdleChange: true, SnapshotsOfDisk: 256, PendingOfDisk: 1,
		},
		Delays: cloudsim.Quick(),
		Names: cloudsim.Names{
			Instance: "i-bp1", Disk: "d-bp1", Snapshot: "s-bp1", Command: func(b [16]byte) string { return "t-hz0" + hex.EncodeToString(b[:8]) },
		},
		Keys: map[string]string{"LTAIEXAMPLE": "kWjalrXUtnFEMIK7MDENGbPxRfiCYZ"},
	}
	c.Delays.Gone = 0 // a released instance is shown to nobody
	for i, z := range zones {
		c.Subnets = append(c.Subnets, cloudsim.Subnet{
			ID: fmt.Sprintf("vsw-bp1a2b3c4d5e6f7g8h9w%d", i+1), Zone: z.Name, Network: vpc, CIDR: fmt.Sprintf("10.0.%d.0/24", i),
		})
	}
	return c
}

// Face serves a world as Alibaba Cloud does.
type Face struct {
	world *cloudsim.World

	mu     sync.Mutex
	nonces map[string]time.Time // that were used, and when
}

// New gives the face of a world that was made of a Region.
func New(w *cloudsim.World) *Face { return &Face{world: w, nonces: map[string]time.Time{}} }

// action answers with what is marshalled.
type action func(f *Face, q *query) (map[string]any, error)

// actions are those that are modelled, and those of them that know DryRun.
var (
	actions = map[string]action{
		"RunInstances":                 (*Face).runInstances,
		"DescribeInstances":            (*Face).describeInstances,
		"StartInstance":                (*Face).startInstance,
		"StopInstance":                 (*Face).stopInstance,
		"DeleteInstance":               (*Face).deleteInstance,
		"ModifyInstanceSpec":           (*Face).modifyInstanceSpec,
		"TagResources":                 (*Face).tagResources,
		"CreateDisk":                   (*Face).createDisk,
		"DescribeDisks":                (*Face).describeDisks,
		"AttachDisk":                   (*Face).attachDisk,
		"DetachDisk":                   (*Face).detachDisk,
		"ResizeDisk":                   (*Face).resizeDisk,
		"ModifyDiskSpec":               (*Face).modifyDiskSpec,
		"DeleteDisk":                   (*Face).deleteDisk,
		"CreateSnapshot":               (*Face).createSnapshot,
		"DescribeSnapshots":            (*Face).describeSnapshots,
		"DeleteSnapshot":               (*Face).deleteSnapshot,
		"RunCommand":                   (*Face).runCommand,
		"DescribeInvocationResults":    (*Face).describeInvocationResults,
		"DescribeCloudAssistantStatus": (*Face).describeCloudAssistantStatus,
		"DescribeZones":                (*Face).describeZones,
		"DescribeInstanceTypes":        (*Face).describeInstanceTypes,
		"DescribeAvailableResource":    (*Face).describeAvailableResource,
		"DescribePrice":                (*Face).describePrice,

		// These are about what a region has, and only an examination asks for them.
		"DescribeImages":                 (*Face).describeImages,
		"DescribeSecurityGroups":         (*Face).describeSecurityGroups,
		"DescribeSecurityGroupAttribute": (*Face).describeSecurityGroupAttribute,
		"DescribeDeploymentSets":         (*Face).describeDeploymentSets,
		"DescribeAccountAttributes":      (*Face).describeAccountAttributes,
		vpcAction:                        (*Face).describeVSwitches,
	}
	dryRuns = map[string]bool{
		"RunInstances": true, "DescribeInstances": true, "StartInstance": true, "StopInstance": true, "DeleteInstance": true,
		"ModifyInstanceSpec": true, "ModifyDiskSpec": true, "DescribeDisks": true,
	}
)

// ServeHTTP serves one call. All of its parameters are in the URL, or in a form.
func (f *Face) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		writeFault(rw, faultf(http.StatusBadRequest, "InvalidParameter", "The specified parameter is not valid"))
		return
	}
	if e := f.admit(r.Method, r.Form, time.Now()); e != nil {
		writeFault(rw, e)
		return
	}
	name := r.Form.Get("Action")
	do, ok := actions[name]
	if !ok || r.Form.Get("Version") != versionOf(name) {
		writeFault(rw, faultf(http.StatusBadRequest, "InvalidParameter", `The specified parameter "Action or Version" is not valid.`))
		return
	}
	q := newQuery(r.Form, dryRuns[name])
	call := cloudsim.Call{
		Action: name, Changes: !strings.HasPrefix(name, "Describe"), Token: r.Form.Get("ClientToken"), ID: idOf(r.Form),
	}
	// An error of the request's own is rendered as it is; the log has it as a failure.
	var own *fault
	f.world.Answer(rw, r, call, func() (cloudsim.Reply, error) {
		if r.Form.Get("RegionId") != f.world.Region() {
			own = faultf(http.StatusNotFound, "InvalidRegionId.NotFound", "The specified RegionId does not exist.")
			return cloudsim.Reply{}, own
		}
		if q.Bool("DryRun") && name != "RunInstances" {
			return cloudsim.Reply{}, &cloudsim.Refusal{Code: cloudsim.DryRun} // rights were checked on the way in
		}
		answer, err := do(f, q)
		if e, is := err.(*fault); is { //nolint:errorlint // never wrapped
			own = e
		}
		if err != nil {
			return cloudsim.Reply{}, err
		}
		return render(http.StatusOK, answer), nil
	}, func(refusal *cloudsim.Refusal) cloudsim.Reply {
		if own != nil {
			return own.reply()
		}
		return faultOf(name, refusal).reply()
	})
}

func versionOf(action string) string {
	if action == vpcAction {
		return vpcVersion
	}
	return version
}

// idOf is the resource that a call is about, for the log and for faults.
func idOf(form url.Values) string {
	for _, key := range []string{"DiskId", "InstanceId", "SnapshotId", "InstanceId.1", "ResourceId.1"} {
		if id := form.Get(key); id != "" {
			return id
		}
	}
	return ""
}

// admit checks who calls: what is wrong with the signature, or nil.
func (f *Face) admit(method string, form url.Values, now time.Time) *fault {
	if e := checkSignature(method, form, f.world.Secret, now); e != nil {
		return e
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for nonce, at := range f.nonces {
		if now.Sub(at) > 2*clockSkew {
			delete(f.nonces, nonce)
		}
	}
	nonce := form.Get("SignatureNonce")
	if _, used := f.nonces[nonce]; used {
		return faultf(http.StatusBadRequest, "SignatureNonceUsed", "The request signature nonce has been used.")
	}
	f.nonces[nonce] = now
	return nil
}

func render(status int, answer map[string]any) cloudsim.Reply {
	answer["RequestId"] = requestID()
	body, err := json.Marshal(answer)
	if err != nil {
		return cloudsim.Reply{Status: http.StatusInternalServerError, Body: []byte(err.Error())}
	}
	return cloudsim.Reply{Status: status, ContentType: "application/json;charset=utf-8", Body: body}
}

func requestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	h := strings.ToUpper(hex.EncodeToString(b[:]))
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
