package node

import (
	"context"
	"net"
	"strconv"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// turnPatience is how long a start waits for each member that is to start before it:
// about as long as three that start together wait for each other (below). Of those that
// take longer, because their data is so large or because they do not come, the next
// begins beside them.
const turnPatience = 15 * time.Second

// awaitTurn waits until the members that start before this one serve their peers.
//
// Before it serves, a member with data compares it with each of its peers', one after
// the other (InitialCorruptCheck). A peer that does not run refuses at once. One that
// itself is starting has its port open, and answers nobody before its own comparison is
// over: it is waited for, 7 s (5 s and two election timeouts). So members that start
// together wait in vain, 14 s where they are three and 42 s where they are seven, and
// then serve without having been compared with anybody. In turn, each finds those before
// it, and who differs from them does not serve.
func (n *Node) awaitTurn(ctx context.Context, m member, req StartRequest) error {
	if !n.begun(m) { // without data there is nothing to compare
		return nil
	}
	ticker := time.NewTicker(startPoll)
	defer ticker.Stop()
	for _, before := range req.After {
		for deadline := time.Now().Add(turnPatience); time.Now().Before(deadline) && !n.servesPeersAt(ctx, m, before.URL); {
			select {
			case <-ctx.Done():
				return fleet.Errorf(fleet.Unavailable, resourceOf(m.Member), "was not started yet: it waits for %s to serve: %w", before.Name, ctx.Err())
			case <-ticker.C:
			}
		}
	}
	return nil
}

// servesPeers says whether the member answers on its peer port, and soon. That it listens
// there, or speaks TLS, would prove nothing: etcd does both first. It answers after
// it has read its files, checked its data and started, and then nothing is left
// that a start could fail by.
func (n *Node) servesPeers(ctx context.Context, m member) bool {
	ctx, cancel := context.WithTimeout(ctx, proofTimeout)
	defer cancel()
	return n.servesPeersAt(ctx, m, "https://"+net.JoinHostPort(m.Start.Address, strconv.Itoa(m.Start.PeerPort)))
}

// servesPeersAt says so of whoever is at a peer URL, asked as by a peer.
func (n *Node) servesPeersAt(ctx context.Context, m member, url string) bool {
	client, err := n.probeClient(m, peerCert, peerKey)
	if err != nil {
		return false
	}
	defer client.CloseIdleConnections()
	_, _, err = ask(ctx, client, url+"/version")
	return err == nil
}
