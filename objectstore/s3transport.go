package objectstore

import (
	"errors"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/signer"
)

// How long parts of a request to S3 may take. There is no limit for a whole one:
// a snapshot may be gigabytes, and who waits for it has a context.
const (
	// dialTimeout: a server in the same region is there in milliseconds; this
	// leaves room for two lost SYNs.
	dialTimeout = 5 * time.Second
	// answerTimeout: from the last byte sent to the first of the answer. Joining
	// the parts of a large upload can take S3 some tens of seconds.
	answerTimeout = time.Minute
	// metadataTimeout: the machine's metadata service is a local hop, or absent.
	metadataTimeout = 2 * time.Second
)

// newTransport gives minio-go's own transport with a dial timeout that lets a
// caller know soon that nobody is there.
func newTransport(secure bool) (*http.Transport, error) {
	t, err := minio.DefaultTransport(secure)
	if err != nil {
		return nil, err
	}
	t.DialContext = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext
	t.ResponseHeaderTimeout = answerTimeout
	return t, nil
}

// errNoCredentials says that nothing was found to sign with.
var errNoCredentials = errors.New("no credentials were found")

// required is minio-go's credential chain, except that finding nothing is an
// error: the chain would go on without a signature, and the server's "access
// denied" sends people looking in the wrong place.
type required struct{ credentials.Chain }

// findCredentials gives the chain that Open documents. Variables of the store's own
// environment come first.
func findCredentials(region, environment string) *credentials.Credentials {
	var own []credentials.Provider
	if environment != "" {
		own = append(own, &credentials.Static{Value: credentials.Value{
			AccessKeyID: os.Getenv(environment + "AWS_ACCESS_KEY_ID"), SecretAccessKey: os.Getenv(environment + "AWS_SECRET_ACCESS_KEY"),
			SessionToken: os.Getenv(environment + "AWS_SESSION_TOKEN"), SignerType: credentials.SignatureV4,
		}})
		if file := os.Getenv(environment + "AWS_SHARED_CREDENTIALS_FILE"); file != "" {
			own = append(own, &credentials.FileAWSCredentials{Filename: file, Profile: os.Getenv(environment + "AWS_PROFILE")})
		}
	}
	return credentials.New(&required{credentials.Chain{Providers: append(own,
		&credentials.EnvAWS{},
		&credentials.FileAWSCredentials{},
		&credentials.EnvMinio{},
		&credentials.IAM{Client: &http.Client{Timeout: metadataTimeout}, Region: region},
	)}})
}

func (r *required) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	v, err := r.Chain.RetrieveWithCredContext(cc)
	if err == nil && v.AccessKeyID == "" {
		return v, errNoCredentials
	}
	return v, err
}

func (r *required) Retrieve() (credentials.Value, error) { return r.RetrieveWithCredContext(nil) }

// ossTransport makes a conditional put one that OSS understands: it answers
// If-None-Match with 501 and has a header of its own for it. Both are part of
// the signature, so the request is signed again.
//
// OSS ignores its header in a bucket with versioning on or suspended (PutObject,
// x-oss-forbid-overwrite): such a bucket must not be used for PutIfAbsent.
type ossTransport struct {
	next   http.RoundTripper
	creds  *credentials.Credentials
	region string
}

// RoundTrip sends a request on.
func (t *ossTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodPut || req.Header.Get("If-None-Match") != "*" {
		return t.next.RoundTrip(req)
	}
	value, err := t.creds.GetWithContext(nil)
	if err != nil {
		return nil, err
	}
	again := req.Clone(req.Context())
	again.Header.Del("If-None-Match")
	again.Header.Del("Authorization")
	again.Header.Set("X-Oss-Forbid-Overwrite", "true")
	return t.next.RoundTrip(signer.SignV4(*again, value.AccessKeyID, value.SecretAccessKey, value.SessionToken, t.region))
}
