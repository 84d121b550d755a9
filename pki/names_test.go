package pki

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A server's certificate is good for the name that clients connect by, a peer's never.
func TestServersHaveTheNameOfClients(t *testing.T) {
	a, now := authority(t), time.Now()
	_, csr, err := NewKeyAndRequest("orders-1")
	require.NoError(t, err)
	server, err := a.SignServer(csr, "orders-1", loopback, now, "orders.example.com")
	require.NoError(t, err)
	require.NoError(t, parse(t, server).VerifyHostname("orders.example.com"))
	require.NoError(t, parse(t, server).VerifyHostname("127.0.0.1"))
	require.Error(t, parse(t, server).VerifyHostname("users.example.com"))
	peer, err := a.SignPeer(csr, "orders-1", loopback, now)
	require.NoError(t, err)
	require.Empty(t, parse(t, peer).DNSNames)
}
