package cloud

import (
	"net/netip"
	"slices"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// Addresses gives what A records say of a cluster's members, each once and in order. The
// error is fleet.Invalid for an address that is not of IPv4.
func Addresses(record fleet.Record) ([]string, error) {
	var all []string
	for _, e := range record.Endpoints {
		ip, err := netip.ParseAddr(e.Address)
		if err != nil || !ip.Is4() {
			return nil, fleet.Errorf(fleet.Invalid, "record "+record.Name, "%s is at %q, which is not an address of IPv4", e.Member, e.Address).
				WithRemedy("take clients.record out of the spec")
		}
		all = append(all, ip.String())
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// RecordOwner gives the TXT record that says whose a record is: its name and its value.
func RecordOwner(record fleet.Record) (name, value string) {
	return "_flotilla." + record.Name, "flotilla/cluster=" + record.Cluster
}
