package aliyun

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/responses"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/ecs"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas/cloud"
)

// vSwitch is one as the VPC service shows it (DescribeVSwitches).
type vSwitch struct {
	VpcID     string `json:"VpcId"`
	ZoneID    string `json:"ZoneId"`
	CIDR      string `json:"CidrBlock"`
	Addresses int    `json:"AvailableIpAddressCount"`
}

// describeVSwitch asks the VPC service, which has an endpoint of its own.
func (p *Provider) describeVSwitch(ctx context.Context, what, id string) ([]vSwitch, error) {
	in := requests.NewCommonRequest()
	in.Product, in.Version, in.ApiName, in.Domain = "Vpc", "2016-04-28", "DescribeVSwitches", p.vpcHost
	in.QueryParams["VSwitchId"] = id
	out, err := call(ctx, p, what, func(c *ecs.Client, in *requests.CommonRequest) (*responses.CommonResponse, error) {
		return c.ProcessCommonRequest(in)
	}, in)
	if err != nil {
		return nil, err
	}
	var answer struct {
		VSwitches struct{ VSwitch []vSwitch }
	}
	if err := json.Unmarshal(out.GetHttpContentBytes(), &answer); err != nil {
		return nil, fleet.Errorf(fleet.Unavailable, what, "the answer cannot be read: %w", err)
	}
	return answer.VSwitches.VSwitch, nil
}

// leastAddresses is what a cluster that is being changed takes of one vSwitch, and a few.
const leastAddresses = 8

func (e *examination) vSwitches(ctx context.Context) {
	for _, zone := range e.p.zones() {
		id := e.p.cfg.VSwitches[zone]
		what := "vSwitch " + id
		found, err := e.p.describeVSwitch(ctx, what, id)
		switch {
		case err != nil:
			e.Judge(what, "", err)
			continue
		case len(found) != 1:
			e.Add(what, fleet.CheckMissing, "it does not exist in this region", "give the worker a vSwitch of this region")
			continue
		}
		s := found[0]
		switch {
		case s.ZoneID != zone:
			e.Add(what, fleet.CheckMissing, "it is in zone "+s.ZoneID+", not in "+zone, "correct --aliyun-vswitches")
			continue
		case e.network != "" && s.VpcID != e.network:
			e.Add(what, fleet.CheckMissing, "it is in VPC "+s.VpcID+", others are in "+e.network, "name vSwitches of one VPC: a security group is of one")
		case s.Addresses < leastAddresses:
			e.Add(what, fleet.CheckMissing, fmt.Sprintf("it has %d addresses left", s.Addresses), "give the zone a larger vSwitch")
		default:
			e.Add(what, fleet.CheckOK, fmt.Sprintf("in zone %s, %d addresses left", zone, s.Addresses), "")
		}
		e.network = s.VpcID
		if prefix, err := netip.ParsePrefix(s.CIDR); err == nil {
			e.firewall.Subnets = append(e.firewall.Subnets, prefix)
		}
	}
}

func (e *examination) groups(ctx context.Context) {
	for _, id := range e.p.cfg.SecurityGroups {
		what := "security group " + id
		in := ecs.CreateDescribeSecurityGroupsRequest()
		in.SecurityGroupId = id
		out, err := call(ctx, e.p, what, (*ecs.Client).DescribeSecurityGroups, in)
		switch {
		case err != nil:
			e.Judge(what, "", err)
			continue
		case len(out.SecurityGroups.SecurityGroup) != 1:
			e.Add(what, fleet.CheckMissing, "it does not exist in this region", "give the worker a security group of the vSwitches' VPC")
			continue
		}
		group := out.SecurityGroups.SecurityGroup[0]
		if e.network != "" && group.VpcId != e.network {
			e.Add(what, fleet.CheckMissing, "it is of VPC "+group.VpcId+", the vSwitches are in "+e.network, "name a security group of the vSwitches' VPC")
			continue
		}
		inner, err := e.rules(ctx, what, id)
		if e.Judge(what, "of the vSwitches' VPC", err) {
			// Without rules, hosts of a basic group reach each other and get out; those of an
			// enterprise group do neither ("Security group rules").
			basic := group.SecurityGroupType != "enterprise"
			e.firewall.Groups = append(e.firewall.Groups, id)
			e.firewall.Inner = e.firewall.Inner || basic && inner
			e.firewall.DefaultOut = e.firewall.DefaultOut || basic
		}
	}
}

// rules takes all rules of a group into account, and says whether its hosts are to reach
// each other without one.
func (e *examination) rules(ctx context.Context, what, id string) (inner bool, err error) {
	in := ecs.CreateDescribeSecurityGroupAttributeRequest()
	in.SecurityGroupId, in.MaxResults = id, requests.NewInteger(1000)
	for {
		out, err := call(ctx, e.p, what, (*ecs.Client).DescribeSecurityGroupAttribute, in)
		if err != nil {
			return false, err
		}
		for _, p := range out.Permissions.Permission {
			e.rule(p)
		}
		if in.NextToken = out.NextToken; in.NextToken == "" {
			return out.InnerAccessPolicy == "Accept", nil
		}
	}
}

// rule takes a rule into account as far as it is about TCP and IPv4. PortRange is as in
// 1/200, or -1/-1 for all.
func (e *examination) rule(p ecs.Permission) {
	if protocol := strings.ToUpper(p.IpProtocol); protocol != "TCP" && protocol != "ALL" {
		return
	}
	r := cloud.Rule{To: 65535, Deny: strings.EqualFold(p.Policy, "Drop")}
	r.Priority, _ = strconv.Atoi(p.Priority)
	var from, to int
	if n, err := fmt.Sscanf(p.PortRange, "%d/%d", &from, &to); n == 2 && err == nil && from >= 0 {
		r.From, r.To = from, to
	}
	out := strings.EqualFold(p.Direction, "egress")
	addresses, group, list := p.SourceCidrIp, p.SourceGroupId, p.SourcePrefixListId
	if out {
		addresses, group, list = p.DestCidrIp, p.DestGroupId, p.DestPrefixListId
	}
	r.Group, r.Other = group, list
	if prefix, err := netip.ParsePrefix(addresses); err == nil {
		r.Addresses = prefix
	} else if ip, err := netip.ParseAddr(addresses); err == nil {
		r.Addresses = netip.PrefixFrom(ip, ip.BitLen())
	}
	if !r.Addresses.IsValid() && r.Group == "" && r.Other == "" {
		return // of IPv6
	}
	if out {
		e.firewall.Out = append(e.firewall.Out, r)
	} else {
		e.firewall.In = append(e.firewall.In, r)
	}
}
