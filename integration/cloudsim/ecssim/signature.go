package ecssim

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // it is what the protocol signs with
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// clockSkew is how far a request's time may be from the service's ("Common parameters").
const clockSkew = 15 * time.Minute

// checkSignature says what is wrong with a request's signature ("Request signatures").
func checkSignature(method string, form url.Values, secretOf func(string) (string, bool), now time.Time) *fault {
	for _, key := range []string{"Action", "AccessKeyId", "Signature", "SignatureMethod", "SignatureVersion", "SignatureNonce", "Timestamp", "Version"} {
		if form.Get(key) == "" {
			return faultf(http.StatusBadRequest, "MissingParameter", `The input parameter "%s" that is mandatory for processing this request is not supplied.`, key)
		}
	}
	at, err := time.Parse("2006-01-02T15:04:05Z", form.Get("Timestamp"))
	secret, known := secretOf(form.Get("AccessKeyId"))
	switch {
	case form.Get("SignatureMethod") != "HMAC-SHA1":
		return faultf(http.StatusBadRequest, "InvalidParameter", `The specified parameter "SignatureMethod" is not valid.`)
	case form.Get("SignatureVersion") != "1.0":
		return faultf(http.StatusBadRequest, "InvalidParameter", `The specified parameter "SignatureVersion" is not valid.`)
	case err != nil:
		return faultf(http.StatusBadRequest, "IllegalTimestamp", `The input parameter "Timestamp" that is mandatory for processing this request is not supplied.`)
	case now.Sub(at).Abs() > clockSkew:
		return faultf(http.StatusBadRequest, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.")
	case !known:
		return faultf(http.StatusNotFound, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
	}
	if text := stringToSign(method, form); !hmac.Equal([]byte(sign(secret, text)), []byte(form.Get("Signature"))) {
		return faultf(http.StatusBadRequest, "SignatureDoesNotMatch",
			"Specified signature is not matched with our calculation. server string to sign is:%s", text)
	}
	return nil
}

// stringToSign puts a request into the one form that is signed.
func stringToSign(method string, form url.Values) string {
	var pairs []string
	for _, key := range slices.Sorted(maps.Keys(form)) {
		if key != "Signature" {
			pairs = append(pairs, escape(key)+"="+escape(form.Get(key)))
		}
	}
	return method + "&" + escape("/") + "&" + escape(strings.Join(pairs, "&"))
}

func sign(secret, text string) string {
	h := hmac.New(sha1.New, []byte(secret+"&"))
	_, _ = h.Write([]byte(text)) // never fails
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// escape is the encoding of RFC 3986: everything but unreserved characters.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
