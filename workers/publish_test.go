package workers

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
)

func TestOpenPublisher(t *testing.T) {
	p, err := openPublisher(t.Context(), "")
	require.NoError(t, err)
	require.Nil(t, p)
	for _, location := range []string{
		"route53://Z0123456789ABC", "route53://Z0123456789ABC?endpoint=https://dns.internal", "alidns://example.com",
		"file://" + t.TempDir(), "exec:///usr/local/bin/publish",
	} {
		p, err := openPublisher(t.Context(), location)
		require.NoError(t, err, location)
		require.NotNil(t, p, location)
	}
	for _, location := range []string{
		"route53://example.com", "alidns://", "dns://example.com", "/directory", "file://host/directory",
		"alidns://example.com?endpoint=http://dns.internal", "route53://key:secret@Z0123456789ABC",
	} {
		_, err := openPublisher(t.Context(), location)
		require.Equal(t, fleet.Invalid, fleet.KindOf(err), "%s: %v", location, err)
	}
}
