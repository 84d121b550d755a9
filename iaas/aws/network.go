package aws

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas/cloud"
)

func (e *examination) subnets(ctx context.Context) {
	for _, zone := range e.p.zones() {
		id := e.p.cfg.Subnets[zone]
		what := "subnet " + id
		call, cancel := bounded(ctx)
		out, err := e.p.ec2.DescribeSubnets(call, &ec2.DescribeSubnetsInput{SubnetIds: []string{id}})
		cancel()
		switch {
		case err != nil:
			e.judged(what, "", err)
			continue
		case len(out.Subnets) != 1:
			e.Add(what, fleet.CheckMissing, "it is not shown", "give the worker a subnet of this region")
			continue
		case aws.ToString(out.Subnets[0].AvailabilityZone) != zone:
			e.Add(what, fleet.CheckMissing, "it is in zone "+aws.ToString(out.Subnets[0].AvailabilityZone)+", not in "+zone, "correct --aws-subnets")
			continue
		}
		s := out.Subnets[0]
		if prefix, err := netip.ParsePrefix(aws.ToString(s.CidrBlock)); err == nil {
			e.firewall.Subnets = append(e.firewall.Subnets, prefix)
		}
		free, network := aws.ToInt32(s.AvailableIpAddressCount), aws.ToString(s.VpcId)
		switch {
		case e.network != "" && network != e.network:
			e.Add(what, fleet.CheckMissing, "it is in network "+network+", others are in "+e.network, "name subnets of one network, or of networks that reach each other")
		case free < leastAddresses:
			e.Add(what, fleet.CheckMissing, fmt.Sprintf("it has %d addresses left", free), "give the zone a larger subnet")
		default:
			e.Add(what, fleet.CheckOK, fmt.Sprintf("in zone %s, %d addresses left", zone, free), "")
		}
		e.network = network
	}
}

// leastAddresses is what a cluster that is being changed takes of one subnet, and a few.
const leastAddresses = 8

func (e *examination) groups(ctx context.Context) {
	for _, id := range e.p.cfg.SecurityGroups {
		what := "security group " + id
		call, cancel := bounded(ctx)
		out, err := e.p.ec2.DescribeSecurityGroups(call, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{id}})
		cancel()
		switch {
		case err != nil:
			e.judged(what, "", err)
		case len(out.SecurityGroups) != 1:
			e.Add(what, fleet.CheckMissing, "it is not shown", "give the worker a security group of the subnets' network")
		case e.network != "" && aws.ToString(out.SecurityGroups[0].VpcId) != e.network:
			e.Add(what, fleet.CheckMissing, "it is of network "+aws.ToString(out.SecurityGroups[0].VpcId)+", the subnets are in "+e.network,
				"name a security group of the subnets' network")
		default:
			e.Add(what, fleet.CheckOK, "of the subnets' network", "")
			e.firewall.Groups = append(e.firewall.Groups, id)
			e.firewall.In = append(e.firewall.In, rulesOf(out.SecurityGroups[0].IpPermissions)...)
			e.firewall.Out = append(e.firewall.Out, rulesOf(out.SecurityGroups[0].IpPermissionsEgress)...)
		}
	}
}

// rulesOf gives rules as far as they are about TCP and IPv4 ("-1" is all protocols).
func rulesOf(permissions []types.IpPermission) []cloud.Rule {
	var all []cloud.Rule
	for _, p := range permissions {
		ports := cloud.Rule{To: 65535}
		switch aws.ToString(p.IpProtocol) {
		case "-1":
		case "tcp", "6":
			ports.From, ports.To = int(aws.ToInt32(p.FromPort)), int(aws.ToInt32(p.ToPort))
		default:
			continue
		}
		add := func(addresses netip.Prefix, group, other string) {
			r := ports
			r.Addresses, r.Group, r.Other = addresses, group, other
			all = append(all, r)
		}
		for _, pair := range p.UserIdGroupPairs {
			add(netip.Prefix{}, aws.ToString(pair.GroupId), "")
		}
		for _, list := range p.PrefixListIds {
			add(netip.Prefix{}, "", aws.ToString(list.PrefixListId))
		}
		for _, r := range p.IpRanges {
			if prefix, err := netip.ParsePrefix(aws.ToString(r.CidrIp)); err == nil {
				add(prefix, "", "")
			}
		}
	}
	return all
}
