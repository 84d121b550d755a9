package node

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/url"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/node/service"
)

const (
	// provenAfter is how long a process must live to count as started when it does
	// not prove it sooner. etcd checks its flags, opens its files and binds its ports
	// in a few tenths of a second.
	provenAfter = 1500 * time.Millisecond
	// proofTimeout bounds one question to the peer port.
	proofTimeout = 200 * time.Millisecond
	// startPatience is how long that may take; a start does not wait for a quorum,
	// which may need members that are started after this one.
	startPatience = 5 * time.Second
	// startPoll is how often a start looks at the process it waits for.
	startPoll = 50 * time.Millisecond
)

// Start makes a member run as asked from now on, also after a reboot. A member
// that runs so already is left alone; one that runs otherwise is restarted, and one
// that does not run is started when it is its turn. It waits until the process proved
// to live, not until it serves. Errors: fleet.Invalid for a request that can never work;
// fleet.NotFound when the member or its disk is not there; fleet.Blocked when its data
// is somebody else's; fleet.Conflict when it is not certified, its release is not
// installed, or a port is taken; fleet.Unavailable when the process ends at once, with
// what it said.
func (n *Node) Start(ctx context.Context, req StartRequest) (*fleet.MemberReport, error) {
	if err := checkStart(req); err != nil {
		return nil, err
	}
	unlock, err := n.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	m, err := n.member(req.Member)
	if err != nil {
		return nil, err
	}
	if m.Adopting != "" && !n.begun(m) {
		return nil, fleet.Errorf(fleet.Conflict, resourceOf(m.Member), "its data is in %s and not taken over yet", m.Adopting).
			WithRemedy("adopt it again")
	}
	if _, err := n.arguments(m, req); err != nil {
		return nil, err
	}
	if err := n.mountDisk(ctx, m.DiskID); err != nil {
		return nil, err
	}
	if err := n.checkReady(m, req); err != nil {
		return nil, err
	}
	before, err := n.Services.Status(ctx, req.Member)
	if err != nil {
		return nil, err
	}
	if err := checkPorts(ctx, req, m.Start, before.Running); err != nil {
		return nil, err
	}
	if !before.Running {
		if err := n.awaitTurn(ctx, m, req); err != nil {
			return nil, err
		}
	}
	return n.run(ctx, m, req)
}

// run makes a member run by a request that has been checked.
func (n *Node) run(ctx context.Context, m member, req StartRequest) (*fleet.MemberReport, error) {
	if m.Start != nil && n.begun(m) {
		// What etcd does not look at any more must not be what it is restarted for.
		req.Token, req.Initial, req.Existing = m.Start.Token, m.Start.Initial, m.Start.Existing
	}
	s, err := n.serviceOf(m, req)
	if err != nil {
		return nil, err
	}
	req.After = nil // of this start alone
	m.Start = &req
	if err := n.writeMember(m); err != nil {
		return nil, err
	}
	if err := n.Services.Install(ctx, s); err != nil {
		return nil, err
	}
	if err := n.Services.Start(ctx, m.Member); err != nil {
		return nil, err
	}
	if err := n.ranAsAsked(m); err != nil {
		return nil, err
	}
	if err := n.awaitProof(ctx, m); err != nil {
		return nil, err
	}
	return n.reportOn(ctx, m), nil
}

// serviceOf gives how a member's process is run.
func (n *Node) serviceOf(m member, req StartRequest) (service.Service, error) {
	args, err := n.arguments(m, req)
	if err != nil {
		return service.Service{}, err
	}
	s := service.Service{
		Name:        m.Member,
		Description: "etcd " + req.Version + ", " + m.String(),
		Argv:        append([]string{n.program(req.Version, "etcd")}, args...),
		Writable:    []string{m.onDisk(n)},
		Readable:    []string{n.pkiDir(m.Member)},
		// Where the disk is not, etcd would make an empty data directory and begin anew.
		Requires: []string{m.ownerFile(n)},
	}
	if req.Generation != "" {
		// etcd does not read it. It makes the service another one.
		s.Env = map[string]string{"FLOTILLA_CONFIGURED": req.Generation}
	}
	return s, nil
}

func checkStart(req StartRequest) error {
	if err := checkMember(req.Member); err != nil {
		return err
	}
	resource := resourceOf(req.Member)
	for _, port := range []int{req.ClientPort, req.PeerPort} {
		if port < 1 || port > 65535 {
			return fleet.Errorf(fleet.Invalid, resource, "%d is not a port", port)
		}
	}
	if req.ClientPort == req.PeerPort {
		return fleet.Errorf(fleet.Invalid, resource, "client port and peer port are both %d", req.ClientPort)
	}
	if ip := net.ParseIP(req.Address); ip == nil || ip.IsUnspecified() {
		return fleet.Errorf(fleet.Invalid, resource, "%q is not the IP address of a host", req.Address)
	}
	own := false
	for _, peer := range slices.Concat(req.Initial, req.After) {
		u, err := url.Parse(peer.URL)
		if err != nil || u.Scheme != "https" || u.Host == "" || !memberName.MatchString(peer.Name) {
			return fleet.Errorf(fleet.Invalid, resource, "%q at %q is not a peer with an https URL", peer.Name, peer.URL)
		}
	}
	for _, peer := range req.Initial {
		own = own || peer.Name == req.Member
	}
	if !own {
		return fleet.Errorf(fleet.Invalid, resource, "it is not in the initial cluster that it is to start with")
	}
	err := checkText(resource, "the token", req.Token)
	if req.PeerCN != "" {
		err = errors.Join(err, checkText(resource, "the peers' common name", req.PeerCN))
	}
	if req.Generation != "" {
		err = errors.Join(err, checkText(resource, "the generation", req.Generation))
	}
	return err
}

// checkReady says whether everything is there that the member needs.
func (n *Node) checkReady(m member, req StartRequest) error {
	if err := n.checkDisk(m); err != nil {
		return err
	}
	if err := n.checkOwner(m); errors.Is(err, fs.ErrNotExist) {
		return fleet.Errorf(fleet.Conflict, resourceOf(m.Member), "disk %s has no data directory for it", m.DiskID).WithRemedy("prepare it again")
	} else if err != nil {
		return err
	}
	if err := n.checkInstalled(req.Version); err != nil {
		return err
	}
	return n.checkCertified(req)
}

// checkPorts refuses an address that something else has. What the member itself
// has while it runs, is free for it.
func checkPorts(ctx context.Context, req StartRequest, now *StartRequest, running bool) error {
	for _, port := range []int{req.ClientPort, req.PeerPort} {
		if running && now != nil && now.Address == req.Address && (port == now.ClientPort || port == now.PeerPort) {
			continue
		}
		if err := checkPort(ctx, req, port); err != nil {
			return err
		}
	}
	return nil
}

func checkPort(ctx context.Context, req StartRequest, port int) error {
	address := net.JoinHostPort(req.Address, strconv.Itoa(port))
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	switch {
	case err == nil:
		_ = listener.Close()
		return nil
	case errors.Is(err, unix.EADDRINUSE):
		return fleet.Errorf(fleet.Conflict, resourceOf(req.Member), "%s is in use by another program on this host", address).
			WithRemedy("end that program, or give the member other ports")
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return fleet.Errorf(fleet.Conflict, resourceOf(req.Member), "%s is not an address of this host", req.Address).
			WithRemedy("look which host has it")
	}
	return fleet.Errorf(fleet.Denied, resourceOf(req.Member), "%s cannot be used: %w", address, err)
}

// awaitProof waits until the member's process has lived long enough, or serves
// its peers.
func (n *Node) awaitProof(ctx context.Context, m member) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	ticker := time.NewTicker(startPoll)
	defer ticker.Stop()
	for {
		s, err := n.Services.Status(ctx, m.Member)
		switch proven := s.Running && (time.Since(s.Started) >= provenAfter || n.servesPeers(ctx, m)); {
		case err != nil:
			return err
		case proven:
			return nil
		case s.LastExit != "":
			return fleet.Errorf(fleet.Unavailable, resourceOf(m.Member), "etcd ended right after its start: %s", exitInWords(s)).
				WithRemedy("it is started again and again; see its log on the host")
		}
		select {
		case <-ctx.Done():
			return fleet.Errorf(fleet.Unavailable, resourceOf(m.Member), "etcd does not run yet")
		case <-ticker.C:
		}
	}
}
