package local

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// Where hosts get their addresses and ports.
const (
	firstPort = 2379 // etcd's own client port; its peer port follows
	portCount = 100

	// On one address, ranges lie between the ports that services like to have
	// and those that systems give to outgoing connections (from 32768 on Linux).
	sharedFirst = 20000
	sharedLast  = 32700

	addressTries = 200
)

// loopbackIsWide says whether addresses other than 127.0.0.1 answer here.
func loopbackIsWide(ctx context.Context) bool {
	return free(ctx, "127.16.0.1", 0) && free(ctx, "127.254.255.254", 0)
}

// free says whether nobody listens there.
func free(ctx context.Context, address string, port int) bool {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", net.JoinHostPort(address, strconv.Itoa(port)))
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}

// place finds an address and ports for a new host that none of the others has.
// They are drawn at random, so that roots that do not know each other keep
// apart, and tried, so that nothing else that runs here is hit.
func (p *Provider) place(ctx context.Context, others []hostRecord) (string, fleet.PortRange, error) {
	for range addressTries {
		if err := ended(ctx, "local provider"); err != nil {
			return "", fleet.PortRange{}, err
		}
		address, ports := randomAddress(), fleet.PortRange{First: firstPort, Count: portCount}
		tried := []int{firstPort, firstPort + 1}
		if p.oneAddress {
			address = "127.0.0.1"
			ports.First = sharedFirst + portCount*rand.IntN((sharedLast-sharedFirst)/portCount)
			tried = make([]int, 0, portCount)
			for i := range portCount {
				tried = append(tried, ports.First+i)
			}
		}
		if !taken(others, address, ports) && allFree(ctx, address, tried) {
			return address, ports, nil
		}
	}
	return "", fleet.PortRange{}, fleet.Errorf(fleet.OutOfCapacity, "local provider",
		"no free loopback address was found in %d tries", addressTries).
		WithRemedy("terminate hosts that are not needed")
}

// randomAddress gives one of 127.16.0.0 to 127.254.255.254.
func randomAddress() string {
	first, last := uint32(127)<<24|16<<16, uint32(127)<<24|254<<16|255<<8|254
	a := first + rand.Uint32N(last-first+1)
	return netip.AddrFrom4([4]byte{byte(a >> 24), byte(a >> 16), byte(a >> 8), byte(a)}).String()
}

func taken(others []hostRecord, address string, ports fleet.PortRange) bool {
	for _, o := range others {
		if o.State != fleet.HostTerminated && o.Address == address &&
			o.Ports.First < ports.First+ports.Count && ports.First < o.Ports.First+o.Ports.Count {
			return true
		}
	}
	return false
}

func allFree(ctx context.Context, address string, ports []int) bool {
	for _, port := range ports {
		if !free(ctx, address, port) {
			return false
		}
	}
	return true
}
