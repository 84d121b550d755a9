package integration

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/integration/harness"
	"github.com/flotilla-etcd/flotilla/pki"
)

// TestStrangersAreRefused tries to get in without the right certificate: at the
// client port without any, with another authority's and in plain text, and at the
// peer port with a good client's.
func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	e := harness.Start(t)
	e.StartWorker("flotilla-worker")
	spec := harness.Spec("orders", 1, "3.7.3")
	e.Create(spec)

	key, csr, err := pki.NewKeyAndRequest("tester")
	require.NoError(t, err)
	reply, err := e.Client.Credentials(t.Context(), spec.Name, "tester", csr, time.Hour)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM([]byte(reply.CA)))
	good, err := tls.X509KeyPair([]byte(reply.Certificate), key)
	require.NoError(t, err)
	stranger, err := pki.NewAuthority("strangers", "0", time.Now())
	require.NoError(t, err)
	foreign, err := stranger.ClientTLS("tester", time.Now())
	require.NoError(t, err)

	endpoint := reply.Endpoints[0]
	with := func(certificates ...tls.Certificate) *tls.Config {
		return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: certificates}
	}
	require.NoError(t, version(t.Context(), endpoint.ClientURL(), with(good)), "a good certificate at the client port")
	for what, err := range map[string]error{
		"no certificate":                         version(t.Context(), endpoint.ClientURL(), with()),
		"another authority's certificate":        version(t.Context(), endpoint.ClientURL(), with(foreign.Certificates...)),
		"plain text":                             version(t.Context(), "http://"+net.JoinHostPort(endpoint.Address, fmt.Sprint(endpoint.ClientPort)), nil),
		"a good certificate, but no trust":       version(t.Context(), endpoint.ClientURL(), foreign),
		"a client's certificate among the peers": version(t.Context(), endpoint.PeerURL(), with(good)),
	} {
		require.Error(t, err, "%s was expected to be refused by %s", what, spec.Name)
	}
}

// version asks etcd for its version.
func version(ctx context.Context, url string, config *tls.Config) error {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: config}}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/version", nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s", response.Status)
	}
	return nil
}
