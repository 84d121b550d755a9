package ec2sim

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The requests and signatures are those of AWS's own test suite for Signature Version 4
// (get-vanilla, post-vanilla) and of its documentation's example (ListUsers of IAM).
func TestSignature(t *testing.T) {
	const secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	cases := map[string]struct {
		method, url, service, headers, signature string
		contentType                              string
	}{
		"get-vanilla": {
			"GET", "http://example.amazonaws.com/", "service", "host;x-amz-date",
			"5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31", "",
		},
		"post-vanilla": {
			"POST", "http://example.amazonaws.com/", "service", "host;x-amz-date",
			"5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b", "",
		},
		"ListUsers": {
			"GET", "http://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08", "iam", "content-type;host;x-amz-date",
			"5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7", "application/x-www-form-urlencoded; charset=utf-8",
		},
	}
	at := time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)
	secretOf := func(id string) (string, bool) { return secret, id == "AKIDEXAMPLE" }
	for name, c := range cases {
		request := func() *http.Request {
			r, err := http.NewRequest(c.method, c.url, nil)
			require.NoError(t, err)
			r.Header.Set("X-Amz-Date", "20150830T123600Z")
			if c.contentType != "" {
				r.Header.Set("Content-Type", c.contentType)
			}
			r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/"+c.service+
				"/aws4_request, SignedHeaders="+c.headers+", Signature="+c.signature)
			return r
		}
		check := func(r *http.Request, body, region string, now time.Time) signatureProblem {
			return checkSignature(r, []byte(body), region, c.service, secretOf, now)
		}
		require.Empty(t, check(request(), "", "us-east-1", at), name)
		require.Equal(t, wrong, check(request(), "x", "us-east-1", at), "%s: another body", name)
		require.Equal(t, wrongScope, check(request(), "", "us-east-2", at), "%s: another region", name)
		require.Equal(t, expired, check(request(), "", "us-east-1", at.Add(6*time.Minute)), "%s: later", name)
		r := request()
		r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "AKIDEXAMPLE", "AKIDOTHER", 1))
		require.Equal(t, unknownKey, check(r, "", "us-east-1", at), name)
		r = request()
		r.Header.Del("Authorization")
		require.Equal(t, notSigned, check(r, "", "us-east-1", at), name)
	}
}
