package ecssim

import (
	"encoding/base64"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
)

// statusOf gives an instance's status ("Instance lifecycle"). One that is being released
// is shown as one that stops.
func statusOf(i cloudsim.Instance) string {
	switch i.State {
	case fleet.HostPending:
		if i.Booted {
			return "Starting"
		}
		return "Pending"
	case fleet.HostRunning:
		return "Running"
	case fleet.HostStopping, fleet.HostTerminating:
		return "Stopping"
	}
	return "Stopped"
}

func tagsOf(tags map[string]string) map[string]any {
	all := []map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		all = append(all, map[string]string{"TagKey": key, "TagValue": tags[key]})
	}
	return map[string]any{"Tag": all}
}

func (f *Face) instance(i cloudsim.Instance) map[string]any {
	c := f.world.Catalogue()
	subnet, _ := c.Subnet(i.Subnet)
	kind, _ := c.Type(i.Type)
	addresses := []string{}
	if i.Address != "" {
		addresses = append(addresses, i.Address)
	}
	return map[string]any{
		"InstanceId": i.ID, "InstanceName": i.Name, "ZoneId": i.Zone, "RegionId": f.world.Region(), "InstanceType": i.Type,
		"ImageId": i.Image, "Status": statusOf(i), "CreationTime": i.Launched.UTC().Format("2006-01-02T15:04Z"),
		"Cpu": int(kind.VCPUs), "Memory": int64(kind.Memory / fleet.MiB), "InstanceNetworkType": "vpc", "InstanceChargeType": "PostPaid",
		"DeploymentSetId": i.Placement, "StoppedMode": i.Attributes["StoppedMode"],
		"VpcAttributes": map[string]any{
			"VpcId": subnet.Network, "VSwitchId": i.Subnet, "PrivateIpAddress": map[string]any{"IpAddress": addresses},
		},
		"SecurityGroupIds": map[string]any{"SecurityGroupId": i.Groups},
		"MetadataOptions":  map[string]any{"HttpEndpoint": "enabled", "HttpTokens": i.Attributes["HttpTokens"]},
		"OperationLocks":   map[string]any{"LockReason": []any{}},
		"Tags":             tagsOf(i.Tags),
	}
}

// nameable is what a name of an instance or a disk must be.
var nameable = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9:_.-]{1,127}$`)

func (f *Face) runInstances(q *query) (map[string]any, error) {
	count, err := q.number("Amount")
	if err != nil || count < 1 || count > 100 {
		return nil, invalid("Amount")
	}
	if least, err := q.number("MinAmount"); err != nil || least > count {
		return nil, invalid("MinAmount")
	}
	tags, err := q.tags()
	if err != nil {
		return nil, err
	}
	data, err := base64.StdEncoding.DecodeString(q.Text("UserData"))
	if err != nil {
		return nil, faultf(http.StatusBadRequest, "InvalidUserData.Base64FormatInvalid", "The specified UserData is not valid")
	}
	req := cloudsim.LaunchRequest{
		Token: q.Text("ClientToken"), Fingerprint: q.fingerprint(), Count: count, Name: q.Text("InstanceName"), Zone: q.Text("ZoneId"),
		Type: q.Text("InstanceType"), Image: q.Text("ImageId"), Subnet: q.Text("VSwitchId"), Groups: q.List("SecurityGroupIds"),
		Profile: q.Text("RamRoleName"), Placement: q.Text("DeploymentSetId"), UserData: data, Tags: tags,
		Attributes: map[string]string{"HttpTokens": q.Text("HttpTokens")}, DryRun: q.Bool("DryRun"),
	}
	for _, key := range []string{"SystemDisk.Category", "SystemDisk.Size", "SystemDisk.PerformanceLevel", "HttpEndpoint"} {
		q.Text(key) // of the instance's own surroundings, which are not modelled
	}
	for key, value := range map[string]string{"ImageId": req.Image, "InstanceType": req.Type, "VSwitchId": req.Subnet} {
		if value == "" {
			return nil, faultf(http.StatusBadRequest, "MissingParameter", "The input parameter %s that is mandatory for processing this request is not supplied.", key)
		}
	}
	switch {
	case q.Text("InstanceChargeType") != "PostPaid":
		return nil, invalid("InstanceChargeType")
	case len(req.Groups) == 0:
		return nil, faultf(http.StatusBadRequest, "MissingParameter", "The input parameter SecurityGroupId that is mandatory for processing this request is not supplied.")
	case req.Name != "" && !nameable.MatchString(req.Name):
		return nil, faultf(http.StatusBadRequest, "InvalidInstanceName.Malformed", `The specified parameter "InstanceName" is not valid.`)
	}
	if err := q.rest(); err != nil {
		return nil, err
	}
	all, err := f.world.Launch(req)
	if err != nil {
		return nil, err
	}
	ids := []string{}
	for _, i := range all {
		ids = append(ids, i.ID)
	}
	return map[string]any{"InstanceIdSets": map[string]any{"InstanceIdSet": ids}}, nil
}

// describeInstances lists those that exist: an ID that does not is passed over.
func (f *Face) describeInstances(q *query) (map[string]any, error) {
	only, err := q.filter("InstanceIds", "Status")
	if err != nil {
		return nil, err
	}
	all, err := f.world.Instances(nil, func(i cloudsim.Instance) bool {
		return i.State != fleet.HostTerminated && only.shows(i.ID, i.Tags, i.Zone, statusOf(i))
	})
	if err != nil {
		return nil, err
	}
	page, next, ok := cloudsim.Page(all, only.size, only.token, func(i cloudsim.Instance) int64 { return i.Sequence })
	if !ok {
		return nil, invalid("NextToken")
	}
	list := []any{}
	for _, i := range page {
		list = append(list, f.instance(i))
	}
	return map[string]any{"Instances": map[string]any{"Instance": list}, "NextToken": next, "TotalCount": len(all)}, nil
}

// seen gives an instance that a call is about, as it is seen.
func (f *Face) seen(q *query) (cloudsim.Instance, error) {
	id, err := q.required("InstanceId")
	if err != nil {
		return cloudsim.Instance{}, err
	}
	if err := q.rest(); err != nil {
		return cloudsim.Instance{}, err
	}
	all, err := f.world.Instances([]string{id}, nil)
	if err != nil {
		return cloudsim.Instance{}, err
	}
	if i := all[0]; i.State != fleet.HostTerminated {
		return i, nil
	}
	return cloudsim.Instance{}, &cloudsim.Refusal{Code: cloudsim.NoInstance, Resource: id}
}

// wrongState refuses what the world would let pass.
func wrongState(id string) error {
	return &cloudsim.Refusal{Code: cloudsim.InstanceState, Resource: id, Message: "it is in another state"}
}

// startInstance starts a stopped one, and no other.
func (f *Face) startInstance(q *query) (map[string]any, error) {
	i, err := f.seen(q)
	if err != nil {
		return nil, err
	}
	if i.State == fleet.HostRunning || i.State == fleet.HostPending {
		return nil, wrongState(i.ID)
	}
	_, err = f.world.Start(i.ID)
	return map[string]any{}, err
}

// stopInstance stops a running one, and no other.
func (f *Face) stopInstance(q *query) (map[string]any, error) {
	switch q.Text("StoppedMode") {
	case "", "StopCharging", "KeepCharging":
	default:
		return nil, invalid("StoppedMode")
	}
	q.Text("ForceStop")
	i, err := f.seen(q)
	if err != nil {
		return nil, err
	}
	if i.State == fleet.HostStopped || i.State == fleet.HostStopping {
		return nil, wrongState(i.ID)
	}
	_, err = f.world.Stop(i.ID)
	return map[string]any{}, err
}

// deleteInstance releases a stopped one, or by force one that runs.
func (f *Face) deleteInstance(q *query) (map[string]any, error) {
	force := q.Bool("Force")
	i, err := f.seen(q)
	switch {
	case err != nil:
		return nil, err
	case i.State == fleet.HostPending && !i.Booted:
		return nil, faultf(http.StatusForbidden, "IncorrectInstanceStatus.Initializing", "The specified instance status does not support this operation.")
	case !force && i.State != fleet.HostStopped:
		return nil, wrongState(i.ID)
	}
	_, err = f.world.Terminate(i.ID)
	return map[string]any{}, err
}

func (f *Face) modifyInstanceSpec(q *query) (map[string]any, error) {
	token, fingerprint := q.Text("ClientToken"), q.fingerprint()
	kind, err := q.required("InstanceType")
	if err != nil {
		return nil, err
	}
	i, err := f.seen(q)
	if err != nil {
		return nil, err
	}
	return map[string]any{}, f.world.Once("ModifyInstanceSpec", token, fingerprint, func() error { return f.world.Resize(i.ID, kind) })
}

func (f *Face) tagResources(q *query) (map[string]any, error) {
	kind, err := q.required("ResourceType")
	if err != nil {
		return nil, err
	}
	ids := q.List("ResourceId")
	tags, err := q.tags()
	if err != nil {
		return nil, err
	}
	tag := f.world.TagInstance
	switch {
	case len(tags) == 0:
		return nil, faultf(http.StatusNotFound, "MissingParameter.Tags", "The parameter - Tags should not be null")
	case len(ids) == 0 || len(ids) > 50:
		return nil, faultf(http.StatusBadRequest, "NumberExceed.ResourceIds", "The ResourceIds parameter's number is exceed , Valid : 50")
	case kind == "disk":
		tag = f.world.TagDisk
	case kind != "instance":
		return nil, faultf(http.StatusNotFound, "InvalidResourceType.NotFound", "The ResourceType provided does not exist in our records.")
	}
	if err := q.rest(); err != nil {
		return nil, err
	}
	for _, id := range ids {
		if err := tag(id, tags, nil); err != nil {
			return nil, err
		}
	}
	return map[string]any{}, nil
}

func timeOf(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
