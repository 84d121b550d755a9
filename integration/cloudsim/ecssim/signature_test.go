package ecssim

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/integration/cloudsim/simtest"
)

// The request, the string that is signed and the signature are those of "Request
// signatures" in the API reference (DescribeRegions by testid).
func TestSignature(t *testing.T) {
	const signed = "GET&%2F&AccessKeyId%3Dtestid%26Action%3DDescribeRegions%26Format%3DXML%26SignatureMethod%3DHMAC-SHA1" +
		"%26SignatureNonce%3D3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf%26SignatureVersion%3D1.0" +
		"%26Timestamp%3D2016-02-23T12%253A46%253A24Z%26Version%3D2014-05-26"
	request := func() url.Values {
		return url.Values{
			"Timestamp": {"2016-02-23T12:46:24Z"}, "Format": {"XML"}, "AccessKeyId": {"testid"}, "Action": {"DescribeRegions"},
			"SignatureMethod": {"HMAC-SHA1"}, "SignatureNonce": {"3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf"}, "Version": {"2014-05-26"},
			"SignatureVersion": {"1.0"}, "Signature": {"OLeaidS1JvxuMvnyHOwuJ+uX5qY="},
		}
	}
	require.Equal(t, signed, stringToSign(http.MethodGet, request()))
	secretOf := func(id string) (string, bool) { return "testsecret", id == "testid" }
	at := time.Date(2016, 2, 23, 12, 46, 24, 0, time.UTC)
	require.Nil(t, checkSignature(http.MethodGet, request(), secretOf, at.Add(14*time.Minute)))
	for name, c := range map[string]struct {
		code   string
		method string
		later  time.Duration
		change func(url.Values)
	}{
		"another method":    {"SignatureDoesNotMatch", http.MethodPost, 0, func(url.Values) {}},
		"another parameter": {"SignatureDoesNotMatch", http.MethodGet, 0, func(v url.Values) { v.Set("Action", "DescribeZones") }},
		"one more":          {"SignatureDoesNotMatch", http.MethodGet, 0, func(v url.Values) { v.Set("x", "") }},
		"later":             {"InvalidTimeStamp.Expired", http.MethodGet, 16 * time.Minute, func(url.Values) {}},
		"earlier":           {"InvalidTimeStamp.Expired", http.MethodGet, -16 * time.Minute, func(url.Values) {}},
		"no time":           {"IllegalTimestamp", http.MethodGet, 0, func(v url.Values) { v.Set("Timestamp", "now") }},
		"another key":       {"InvalidAccessKeyId.NotFound", http.MethodGet, 0, func(v url.Values) { v.Set("AccessKeyId", "x") }},
		"another way":       {"InvalidParameter", http.MethodGet, 0, func(v url.Values) { v.Set("SignatureMethod", "HMAC-SHA256") }},
		"unsigned":          {"MissingParameter", http.MethodGet, 0, func(v url.Values) { v.Del("Signature") }},
	} {
		v := request()
		c.change(v)
		e := checkSignature(c.method, v, secretOf, at.Add(c.later))
		require.NotNil(t, e, name)
		require.Equal(t, c.code, e.code, name)
	}
}

// A request that was heard cannot be sent again, whoever does.
func TestNonceIsUsedOnce(t *testing.T) {
	cfg := Region("cn-hangzhou")
	f := New(simtest.Bodiless(t, cfg))
	now := time.Now().UTC()
	v := url.Values{
		"Action": {"DescribeZones"}, "Version": {version}, "AccessKeyId": {"LTAIEXAMPLE"}, "SignatureMethod": {"HMAC-SHA1"},
		"SignatureVersion": {"1.0"}, "SignatureNonce": {"once"}, "Timestamp": {now.Format(time.RFC3339)},
	}
	v.Set("Signature", sign(cfg.Keys["LTAIEXAMPLE"], stringToSign(http.MethodPost, v)))
	require.Nil(t, f.admit(http.MethodPost, v, now))
	e := f.admit(http.MethodPost, v, now)
	require.NotNil(t, e)
	require.Equal(t, "SignatureNonceUsed", e.code)
}
