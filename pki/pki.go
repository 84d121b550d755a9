// Package pki is the trust of a cluster: one certificate authority per cluster,
// the leaf certificates it signs from requests, and the sealing of what must be
// kept secret at rest with the fleet's key (age, https://age-encryption.org/v1).
//
// An authority is replaced through a bundle of the old one and a new one
// (replace.go), and one that something else made can be taken over (import.go).
//
// Private keys of members are made on the host that uses them (NewKeyAndRequest)
// and never come here: an Authority sees only their requests. Where sealed bytes
// are stored, and when certificates are renewed, is not decided here.
//
// Nothing in this package puts a secret into an error or into what fmt prints.
package pki

import "time"

const (
	// AuthorityValidity is how long a cluster's authority lasts. It is longer than
	// any release of etcd is supported, so that a cluster moves to a new authority
	// because somebody wants it, not because the old one ends.
	AuthorityValidity = 10 * 365 * 24 * time.Hour
	// LeafValidity is how long a member's certificate lasts. Renewing one costs no
	// restart, so it could be hours; a year is for the other side: a control plane
	// that is down for months must not take its clusters with it.
	LeafValidity = 365 * 24 * time.Hour
	// MaxClientValidity is the longest life of a client's certificate: longer than a
	// quarter is a key that will be forgotten somewhere.
	MaxClientValidity = 90 * 24 * time.Hour
	// OwnClientValidity is how long the control plane's own client certificate
	// lasts. It lives in memory only and is made anew for each piece of work.
	OwnClientValidity = time.Hour
	// Backdating is how far before now a certificate begins, for hosts whose
	// clocks run behind.
	Backdating = 5 * time.Minute
)

// PeerName gives the one common name that peers of a cluster may have. etcd is
// told it as --peer-cert-allowed-cn, so that a client's certificate, which the
// same authority signs, opens nothing at the peer port.
func PeerName(cluster, uid string) string { return "flotilla-peer." + cluster + "." + uid }
