package workers

import (
	"context"
	"net/url"

	"github.com/flotilla-etcd/flotilla/endpoints"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas/aliyun"
	"github.com/flotilla-etcd/flotilla/iaas/aws"
)

// openPublisher opens what --publish names; nil for nothing. A cloud's credentials are
// those of its SDK's default chain, and ?endpoint=https://… is for an endpoint of one's own.
func openPublisher(ctx context.Context, location string) (endpoints.Publisher, error) {
	if location == "" {
		return nil, nil //nolint:nilnil // nothing is published
	}
	if p, known, err := endpoints.Open(location); known {
		return p, err
	}
	wrong := fleet.Errorf(fleet.Invalid, "--publish "+location, "is not like route53://Z0123456789ABC, alidns://example.com, file:///directory or exec:///program")
	u, err := url.Parse(location)
	if err != nil || u.Host == "" || u.Path != "" || u.User != nil {
		return nil, wrong
	}
	endpoint := u.Query().Get("endpoint")
	switch u.Scheme {
	case "route53":
		return aws.OpenRecords(ctx, aws.RecordsConfig{Zone: u.Host, Endpoint: endpoint})
	case "alidns":
		return aliyun.OpenRecords(aliyun.RecordsConfig{Domain: u.Host, Endpoint: endpoint})
	}
	return nil, wrong
}
