// Package boot says what a host in a cloud does at its first boot: cloud-init user data
// that fetches flotilla-node and checks it, sets up the host for etcd, and keeps trying
// until it is there. It is the same for every cloud that hands user data to cloud-init;
// providers pass it on as it is.
//
// Data disks are not its work: they are attached when the host has booted, and move to
// other hosts later. flotilla-node finds a disk by its ID, makes a file system on one
// that is empty, and mounts it when a member is to use it (node/mount.go).
package boot

import (
	"bytes"
	_ "embed"
	"encoding/hex"
	"maps"
	"net/url"
	"slices"
	"strings"
	"text/template"

	"go.yaml.in/yaml/v3"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// Limit is how long user data may be, in bytes before base64: EC2's limit
// (RunInstances). Alibaba Cloud takes as much at least.
const Limit = 16 << 10

// Program is where flotilla-node is fetched from.
type Program struct {
	// URL is open to the hosts' network, or store:KEY for an object in the fleet's object
	// store, to which a link is signed for each day's hosts.
	URL string
	// SHA256 is the program's hash, in hexadecimal digits. What has another is not run.
	SHA256 string
}

// Config is what user data is made of.
type Config struct {
	// Programs are flotilla-node by the architecture of hosts, in Go's words: amd64, arm64.
	Programs map[string]Program
}

// key gives the key of a program that is in the object store.
func (p Program) key() (key string, stored bool) { return strings.CutPrefix(p.URL, "store:") }

// machines are what uname -m says of each architecture.
var machines = map[string]string{"amd64": "x86_64", "arm64": "aarch64"}

// ParseProgram reads a program as an operator gives it, ARCH=URL#sha256=HEX, into c.
func (c *Config) ParseProgram(text string) error {
	arch, rest, _ := strings.Cut(text, "=")
	location, sum, ok := strings.Cut(rest, "#sha256=")
	if !ok {
		return fleet.Errorf(fleet.Invalid, "flotilla-node for hosts", "%q is not ARCH=URL#sha256=HASH", text).
			WithRemedy("write it as arm64=https://host/flotilla-node-arm64#sha256=0123…, or arm64=store:node/flotilla-node-arm64#sha256=0123…")
	}
	if c.Programs == nil {
		c.Programs = map[string]Program{}
	}
	c.Programs[arch] = Program{URL: location, SHA256: strings.ToLower(sum)}
	return c.check()
}

func (c Config) check() error {
	var ps fleet.Problems
	if len(c.Programs) == 0 {
		ps = append(ps, fleet.Problem{Path: "programs", Message: "is missing: hosts would have no flotilla-node"})
	}
	for _, arch := range slices.Sorted(maps.Keys(c.Programs)) {
		p := c.Programs[arch]
		bad := func(message string) { ps = append(ps, fleet.Problem{Path: "programs." + arch, Message: message}) }
		if machines[arch] == "" {
			bad("is not an architecture of hosts: amd64 or arm64")
		}
		u, err := url.Parse(p.URL)
		if key, stored := p.key(); stored {
			if key == "" {
				bad("has no key in the object store")
			}
		} else if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			bad("has no http or https URL, and no store:KEY")
		}
		if strings.ContainsAny(p.URL, "'\"\\ \n\r\t") {
			bad("has a URL with blanks, quotes or backslashes in it: write them as %20 and the like")
		}
		if sum, err := hex.DecodeString(p.SHA256); err != nil || len(sum) != 32 {
			bad("has no SHA-256 of 64 hexadecimal digits")
		}
	}
	return ps.Err("user data of hosts")
}

//go:embed fetch.sh.tmpl
var fetchText string

var fetchTemplate = template.Must(template.New("fetch").Parse(fetchText))

//go:embed flotilla-boot.service
var unit string

//go:embed sysctl.conf
var sysctl string

// Where things go on a host.
const (
	fetchPath  = "/opt/flotilla/bin/fetch-flotilla-node"
	unitName   = "flotilla-boot.service"
	unitPath   = "/etc/systemd/system/" + unitName
	sysctlPath = "/etc/sysctl.d/90-flotilla.conf"
)

// cloudConfig is the part of cloud-init's configuration that is used ("Module
// reference": Write Files, Runcmd).
type cloudConfig struct {
	WriteFiles []writtenFile `yaml:"write_files"`
	Run        [][]string    `yaml:"runcmd"`
}

type writtenFile struct {
	Path        string `yaml:"path"`
	Owner       string `yaml:"owner"`
	Permissions string `yaml:"permissions"`
	Content     string `yaml:"content"`
}

// render gives user data. The same configuration gives the same bytes: clouds refuse a
// purchase that is asked for again with other ones. Errors: fleet.Invalid for a
// configuration that cannot work, or whose user data is longer than Limit.
func render(c Config) ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	type program struct{ Machine, URL, SHA256 string }
	var programs []program
	for _, arch := range slices.Sorted(maps.Keys(c.Programs)) {
		p := c.Programs[arch]
		programs = append(programs, program{machines[arch], p.URL, p.SHA256})
	}
	var fetch bytes.Buffer
	if err := fetchTemplate.Execute(&fetch, programs); err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "user data of hosts", "%w", err)
	}
	file := func(path, permissions, content string) writtenFile {
		return writtenFile{Path: path, Owner: "root:root", Permissions: permissions, Content: content}
	}
	text, err := yaml.Marshal(cloudConfig{
		WriteFiles: []writtenFile{
			file(fetchPath, "0700", fetch.String()), // it has the signed URL in it
			file(unitPath, "0644", unit),
			file(sysctlPath, "0644", sysctl),
		},
		Run: [][]string{
			{"sysctl", "-p", sysctlPath},
			{"systemctl", "daemon-reload"},
			{"systemctl", "enable", unitName},
			{"systemctl", "start", "--no-block", unitName},
		},
	})
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "user data of hosts", "%w", err)
	}
	data := append([]byte("#cloud-config\n# Written by Flotilla.\n"), text...)
	if len(data) > Limit {
		return nil, fleet.Errorf(fleet.Invalid, "user data of hosts", "it is %d bytes long, and clouds take %d", len(data), Limit).
			WithRemedy("use shorter URLs")
	}
	return data, nil
}
