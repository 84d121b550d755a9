package ec2sim

import (
	"encoding/base64"
	"encoding/xml"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
)

// actions are the EC2 actions that are modelled. Each answers with what is marshalled.
var actions = map[string]func(f *Face, q *query) (any, error){
	"RunInstances":                  (*Face).runInstances,
	"DescribeInstances":             (*Face).describeInstances,
	"StartInstances":                (*Face).startInstances,
	"StopInstances":                 (*Face).stopInstances,
	"TerminateInstances":            (*Face).terminateInstances,
	"ModifyInstanceAttribute":       (*Face).modifyInstanceAttribute,
	"CreateTags":                    (*Face).createTags,
	"CreateVolume":                  (*Face).createVolume,
	"DescribeVolumes":               (*Face).describeVolumes,
	"AttachVolume":                  (*Face).attachVolume,
	"DetachVolume":                  (*Face).detachVolume,
	"DeleteVolume":                  (*Face).deleteVolume,
	"ModifyVolume":                  (*Face).modifyVolume,
	"DescribeVolumesModifications":  (*Face).describeModifications,
	"CreateSnapshot":                (*Face).createSnapshot,
	"DescribeSnapshots":             (*Face).describeSnapshots,
	"DeleteSnapshot":                (*Face).deleteSnapshot,
	"DescribeAvailabilityZones":     (*Face).describeZones,
	"DescribeInstanceTypes":         (*Face).describeTypes,
	"DescribeInstanceTypeOfferings": (*Face).describeOfferings,
	"DescribeSubnets":               (*Face).describeSubnets,
	"DescribeSecurityGroups":        (*Face).describeGroups,
	"DescribeImages":                (*Face).describeImages,
	"DescribePlacementGroups":       (*Face).describePlacements,
}

type tagXML struct {
	Key   string `xml:"key"`
	Value string `xml:"value"`
}

type stateXML struct {
	Code int    `xml:"code"`
	Name string `xml:"name"`
}

type instanceXML struct {
	ID             string     `xml:"instanceId"`
	Image          string     `xml:"imageId"`
	State          stateXML   `xml:"instanceState"`
	Reason         string     `xml:"reason"`
	StateReason    *reasonXML `xml:"stateReason"`
	Token          string     `xml:"clientToken,omitempty"`
	Type           string     `xml:"instanceType"`
	Launched       string     `xml:"launchTime"`
	Zone           string     `xml:"placement>availabilityZone"`
	PlacementGroup string     `xml:"placement>groupName"`
	Subnet         string     `xml:"subnetId,omitempty"`
	Network        string     `xml:"vpcId,omitempty"`
	Address        string     `xml:"privateIpAddress,omitempty"`
	Groups         []groupXML `xml:"groupSet>item"`
	Profile        string     `xml:"iamInstanceProfile>arn,omitempty"`
	Tags           []tagXML   `xml:"tagSet>item"`
	Disks          []boundXML `xml:"blockDeviceMapping>item"`
	Tokens         string     `xml:"metadataOptions>httpTokens"`
	Architecture   string     `xml:"architecture"`
	Cores          int        `xml:"cpuOptions>coreCount"`
	Threads        int        `xml:"cpuOptions>threadsPerCore"`
}

type reasonXML struct {
	Code    string `xml:"code"`
	Message string `xml:"message"`
}

type groupXML struct {
	ID   string `xml:"groupId"`
	Name string `xml:"groupName"`
}

type boundXML struct {
	Device   string `xml:"deviceName"`
	Volume   string `xml:"ebs>volumeId"`
	Status   string `xml:"ebs>status"`
	Attached string `xml:"ebs>attachTime"`
	Deletes  bool   `xml:"ebs>deleteOnTermination"`
}

// stateOf gives a state's name and code (InstanceState in the API reference).
func stateOf(s fleet.HostState) stateXML {
	switch s {
	case fleet.HostPending:
		return stateXML{0, "pending"}
	case fleet.HostRunning:
		return stateXML{16, "running"}
	case fleet.HostTerminating:
		return stateXML{32, "shutting-down"}
	case fleet.HostTerminated:
		return stateXML{48, "terminated"}
	case fleet.HostStopping:
		return stateXML{64, "stopping"}
	}
	return stateXML{80, "stopped"}
}

func tagsOf(tags map[string]string) []tagXML {
	var all []tagXML
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		all = append(all, tagXML{key, tags[key]})
	}
	return all
}

func timeOf(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

// attached gives the disks that instances are seen to have.
func (f *Face) attached() map[string][]cloudsim.Disk {
	all := map[string][]cloudsim.Disk{}
	disks, _ := f.world.Disks(nil, func(d cloudsim.Disk) bool { return d.InstanceID != "" }) // without IDs nothing is missing
	for _, d := range disks {
		all[d.InstanceID] = append(all[d.InstanceID], d)
	}
	return all
}

func (f *Face) instance(i cloudsim.Instance, disks []cloudsim.Disk) instanceXML {
	c := f.world.Catalogue()
	subnet, _ := c.Subnet(i.Subnet)
	kind, _ := c.Type(i.Type)
	x := instanceXML{
		ID: i.ID, Image: i.Image, State: stateOf(i.State), Token: i.Token, Type: i.Type, Launched: timeOf(i.Launched), Zone: i.Zone,
		PlacementGroup: i.Placement, Subnet: i.Subnet, Network: subnet.Network, Address: i.Address, Profile: i.Profile,
		Tags: tagsOf(i.Tags), Tokens: i.Attributes["HttpTokens"], Architecture: kind.Architecture, Cores: int(kind.VCPUs), Threads: 1,
	}
	for _, id := range i.Groups {
		g, _ := c.Group(id)
		x.Groups = append(x.Groups, groupXML{g.ID, g.Name})
	}
	for _, d := range disks {
		x.Disks = append(x.Disks, boundXML{Device: d.Device, Volume: d.ID, Status: attachment(d.State), Attached: timeOf(d.Attached)})
	}
	switch i.Reason {
	case cloudsim.ByUser:
		x.Reason = "User initiated"
		x.StateReason = &reasonXML{"Client.UserInitiatedShutdown", "Client.UserInitiatedShutdown: User initiated shutdown"}
	case cloudsim.ByCloud:
		x.Reason = "Server.SpotInstanceTermination"
		x.StateReason = &reasonXML{"Server.SpotInstanceTermination", "Server.SpotInstanceTermination: Spot instance termination"}
	}
	return x
}

type runResponse struct {
	XMLName     xml.Name      `xml:"http://ec2.amazonaws.com/doc/2016-11-15/ RunInstancesResponse"`
	RequestID   string        `xml:"requestId"`
	Reservation string        `xml:"reservationId"`
	Owner       string        `xml:"ownerId"`
	Instances   []instanceXML `xml:"instancesSet>item"`
}

const owner = "111122223333"

func (f *Face) runInstances(q *query) (any, error) {
	fingerprint, dryRun := q.fingerprint(), q.Bool("DryRun")
	if err := f.fillTemplate(q); err != nil {
		return nil, err
	}
	least, err1 := q.number("MinCount")
	most, err2 := q.number("MaxCount")
	if err1 != nil || err2 != nil || least < 1 || most < least {
		return nil, faultf("InvalidParameterValue", "MinCount and MaxCount must be at least 1, and MinCount not more than MaxCount.")
	}
	tags, err := q.specifiedTags("instance")
	if err != nil {
		return nil, err
	}
	if _, err := q.specifiedTags("volume"); err != nil {
		return nil, err
	}
	data, err := base64.StdEncoding.DecodeString(q.Text("UserData"))
	if err != nil {
		return nil, faultf("InvalidParameterValue", "Invalid BASE64 encoding of user data.")
	}
	profile := q.Text("IamInstanceProfile.Name")
	if arn := q.Text("IamInstanceProfile.Arn"); arn != "" {
		_, profile, _ = strings.Cut(arn, ":instance-profile/")
	}
	req := cloudsim.LaunchRequest{
		Token: q.Text("ClientToken"), Fingerprint: fingerprint, Count: most, Name: tags["Name"],
		Zone: q.Text("Placement.AvailabilityZone"), Type: q.Text("InstanceType"), Image: q.Text("ImageId"), Subnet: q.Text("SubnetId"),
		Groups: q.List("SecurityGroupId"), Profile: profile, Placement: q.Text("Placement.GroupName"), UserData: data, Tags: tags,
		Attributes: map[string]string{"HttpTokens": q.Text("MetadataOptions.HttpTokens")},
		DryRun:     dryRun,
	}
	for _, key := range []string{
		"MetadataOptions.HttpEndpoint", "MetadataOptions.HttpPutResponseHopLimit", "MetadataOptions.InstanceMetadataTags",
		"EbsOptimized", "InstanceInitiatedShutdownBehavior", "DisableApiTermination",
		"BlockDeviceMapping.1.DeviceName", "BlockDeviceMapping.1.Ebs.Encrypted", "BlockDeviceMapping.1.Ebs.KmsKeyId",
		"BlockDeviceMapping.1.Ebs.VolumeType", "BlockDeviceMapping.1.Ebs.VolumeSize", "BlockDeviceMapping.1.Ebs.DeleteOnTermination",
	} {
		q.Text(key) // of the instance's own surroundings, which are not modelled
	}
	if err := q.rest(); err != nil {
		return nil, err
	}
	if req.Image == "" {
		return nil, faultf("MissingParameter", "The request must contain the parameter ImageId")
	}
	all, err := f.world.Launch(req)
	if err != nil {
		return nil, err
	}
	x := runResponse{RequestID: requestID(), Reservation: "r-" + strings.TrimPrefix(all[0].ID, "i-"), Owner: owner}
	for _, i := range all {
		x.Instances = append(x.Instances, f.instance(i, nil))
	}
	return x, nil
}

// fillTemplate fills in what a launch template has and the request leaves open.
func (f *Face) fillTemplate(q *query) error {
	id := q.Text("LaunchTemplate.LaunchTemplateId") + q.Text("LaunchTemplate.LaunchTemplateName")
	q.Text("LaunchTemplate.Version")
	if id == "" {
		return nil
	}
	template, ok := f.templates[id]
	if !ok {
		return faultf("InvalidLaunchTemplateId.NotFound", "The specified launch template, with template ID %s, does not exist.", id)
	}
	for key, values := range template {
		if !q.Has(key) {
			q.Values[key] = values
		}
	}
	return nil
}

type describeInstancesResponse struct {
	XMLName      xml.Name         `xml:"http://ec2.amazonaws.com/doc/2016-11-15/ DescribeInstancesResponse"`
	RequestID    string           `xml:"requestId"`
	Reservations []reservationXML `xml:"reservationSet>item"`
	Next         string           `xml:"nextToken,omitempty"`
}

type reservationXML struct {
	ID        string        `xml:"reservationId"`
	Owner     string        `xml:"ownerId"`
	Instances []instanceXML `xml:"instancesSet>item"`
}

func (f *Face) describeInstances(q *query) (any, error) {
	ids := q.List("InstanceId")
	filters, err := q.filters()
	if err != nil {
		return nil, err
	}
	size, token, err := q.page(ids)
	if err != nil {
		return nil, err
	}
	if err := matchFilters(filters, []string{"instance-state-name", "client-token", "availability-zone", "instance-id", "instance-type"}); err != nil {
		return nil, err
	}
	if err := q.rest(); err != nil {
		return nil, err
	}
	all, err := f.world.Instances(ids, func(i cloudsim.Instance) bool {
		return matches(filters, map[string]string{
			"instance-state-name": stateOf(i.State).Name, "client-token": i.Token, "availability-zone": i.Zone,
			"instance-id": i.ID, "instance-type": i.Type,
		}, i.Tags)
	})
	if err != nil {
		return nil, err
	}
	page, next, ok := cloudsim.Page(all, size, token, func(i cloudsim.Instance) int64 { return i.Sequence })
	if !ok {
		return nil, faultf("InvalidPaginationToken", "The pagination token is not valid")
	}
	x := describeInstancesResponse{RequestID: requestID(), Next: next}
	disks := f.attached()
	for _, i := range page {
		x.Reservations = append(x.Reservations, reservationXML{
			ID: "r-" + strings.TrimPrefix(i.ID, "i-"), Owner: owner, Instances: []instanceXML{f.instance(i, disks[i.ID])},
		})
	}
	return x, nil
}

type changeXML struct {
	ID  string   `xml:"instanceId"`
	Now stateXML `xml:"currentState"`
	Was stateXML `xml:"previousState"`
}

type changesResponse struct {
	XMLName   xml.Name
	RequestID string      `xml:"requestId"`
	Changes   []changeXML `xml:"instancesSet>item"`
}

// change tells instances to start, stop or end: all of them, or none if one does not exist.
func (f *Face) change(q *query, name string, do func(id string) (cloudsim.Instance, error)) (any, error) {
	ids := q.List("InstanceId")
	q.Text("Force")
	if err := q.rest(); err != nil {
		return nil, err
	}
	if len(ids) == 0 {
		return nil, faultf("MissingParameter", "The request must contain the parameter InstanceId")
	}
	was, err := f.world.Instances(ids, nil)
	if err != nil {
		return nil, err
	}
	x := changesResponse{XMLName: xml.Name{Space: namespace, Local: name + "Response"}, RequestID: requestID()}
	for _, i := range was {
		now, err := do(i.ID)
		if err != nil {
			return nil, err
		}
		x.Changes = append(x.Changes, changeXML{i.ID, stateOf(now.State), stateOf(i.State)})
	}
	return x, nil
}

func (f *Face) startInstances(q *query) (any, error) {
	return f.change(q, "StartInstances", f.world.Start)
}

func (f *Face) stopInstances(q *query) (any, error) {
	return f.change(q, "StopInstances", f.world.Stop)
}

func (f *Face) terminateInstances(q *query) (any, error) {
	return f.change(q, "TerminateInstances", f.world.Terminate)
}

type doneResponse struct {
	XMLName   xml.Name
	RequestID string `xml:"requestId"`
	Return    bool   `xml:"return"`
}

func done(name string) doneResponse {
	return doneResponse{XMLName: xml.Name{Space: namespace, Local: name + "Response"}, RequestID: requestID(), Return: true}
}

func (f *Face) modifyInstanceAttribute(q *query) (any, error) {
	id, err := q.required("InstanceId")
	if err != nil {
		return nil, err
	}
	kind, err := q.required("InstanceType.Value")
	if err != nil {
		return nil, err
	}
	if err := q.rest(); err != nil {
		return nil, err
	}
	return done("ModifyInstanceAttribute"), f.world.Resize(id, kind)
}

func (f *Face) createTags(q *query) (any, error) {
	ids := q.List("ResourceId")
	tags, err := q.tags("Tag")
	if err != nil {
		return nil, err
	}
	if err := q.rest(); err != nil {
		return nil, err
	}
	if len(ids) == 0 || len(tags) == 0 {
		return nil, faultf("MissingParameter", "The request must contain the parameters resourceIdSet and tagSet")
	}
	for _, id := range ids {
		tag := f.world.TagInstance
		if strings.HasPrefix(id, "vol-") {
			tag = f.world.TagDisk
		} else if !strings.HasPrefix(id, "i-") {
			return nil, faultf("InvalidID", "The ID '%s' is not valid", id)
		}
		if err := tag(id, tags, nil); err != nil {
			return nil, err
		}
	}
	return done("CreateTags"), nil
}
