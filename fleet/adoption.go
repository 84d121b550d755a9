package fleet

import (
	"fmt"
	"path"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The ports that etcd's own documentation uses, for members that are to be adopted.
const (
	DefaultClientPort = 2379
	DefaultPeerPort   = 2380
)

// adoptionDocument is the spec of a cluster that something else created, with its
// members.
type adoptionDocument struct {
	Spec    `yaml:",inline"`
	Members []memberDocument `yaml:"members"`
}

type memberDocument struct {
	Name     string           `yaml:"name"`
	Host     string           `yaml:"host"`
	Disk     string           `yaml:"disk"`
	Endpoint endpointDocument `yaml:"endpoint"`
	DataDir  string           `yaml:"dataDir"`
	Unit     string           `yaml:"unit"`
}

type endpointDocument struct {
	Address    string `yaml:"address"`
	ClientPort int    `yaml:"clientPort"`
	PeerPort   int    `yaml:"peerPort"`
}

// ParseAdoption reads a document that is to adopt a cluster, as strictly as ParseSpec:
// the spec that describes it as it is, and under members where each one is and how it
// runs. Ports that are left out are etcd's own.
func ParseAdoption(data []byte, source string) (Spec, []AdoptedMember, error) {
	var node yaml.Node
	if err := yaml.Unmarshal(data, &node); err != nil {
		return Spec{}, nil, Errorf(Invalid, source, "is not YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(node.Content) == 0 {
		return Spec{}, nil, Errorf(Invalid, source, "is empty").WithRemedy("flotilla adopt --help shows an example")
	}
	var document adoptionDocument
	problems := decodeDocument(&node, &document, &document.Spec, document.validateMembers)
	if err := problems.Err(source); err != nil {
		return Spec{}, nil, err
	}
	members := make([]AdoptedMember, len(document.Members))
	for i, m := range document.Members {
		members[i] = m.adopted()
	}
	return document.Spec, members, nil
}

func (m memberDocument) adopted() AdoptedMember {
	e := m.Endpoint
	orDefault(&e.ClientPort, DefaultClientPort)
	orDefault(&e.PeerPort, DefaultPeerPort)
	return AdoptedMember{
		Name: m.Name, HostID: m.Host, DiskID: m.Disk, DataDir: m.DataDir, Unit: m.Unit,
		Endpoint: Endpoint{Member: m.Name, Address: e.Address, ClientPort: e.ClientPort, PeerPort: e.PeerPort},
	}
}

func (d *adoptionDocument) validateMembers() Problems {
	var ps Problems
	if len(d.Members) != d.Voters+d.Learners {
		ps.add("members", "%d are named, and the cluster has %d voters and %d learners: name all of them", len(d.Members), d.Voters, d.Learners)
	}
	hosts, names := map[string]string{}, map[string]bool{}
	for i, m := range d.Members {
		at := fmt.Sprintf("members[%d]", i)
		for _, field := range []struct{ name, value string }{
			{"name", m.Name}, {"host", m.Host}, {"disk", m.Disk}, {"endpoint.address", m.Endpoint.Address}, {"dataDir", m.DataDir},
		} {
			if field.value == "" {
				ps.add(at+"."+field.name, "is missing")
			}
		}
		if m.DataDir != "" && !path.IsAbs(m.DataDir) {
			ps.add(at+".dataDir", "%q must be a whole path, as in /var/lib/etcd", m.DataDir)
		}
		for _, port := range []struct {
			name  string
			value int
		}{{"clientPort", m.Endpoint.ClientPort}, {"peerPort", m.Endpoint.PeerPort}} {
			if port.value < 0 || port.value > 65535 {
				ps.add(at+".endpoint."+port.name, "%d is no port", port.value)
			}
		}
		if names[m.Name] {
			ps.add(at+".name", "%s is named twice", m.Name)
		}
		if other := hosts[m.Host]; m.Host != "" && other != "" {
			ps.add(at+".host", "%s is the host of %s already", m.Host, other)
		}
		names[m.Name], hosts[m.Host] = m.Name != "", m.Name
	}
	return ps
}
