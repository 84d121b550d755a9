package ec2sim

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// What is wrong with a signature. IAM user guide, "AWS Signature Version 4 for API
// requests": how one is made; the errors are each service's own.
type signatureProblem string

const (
	notSigned  signatureProblem = "the request has no signature"
	incomplete signatureProblem = "the signature is incomplete"
	unknownKey signatureProblem = "there is no such access key"
	expired    signatureProblem = "the signature is too old or of the future"
	wrongScope signatureProblem = "the signature is of another region or service"
	wrong      signatureProblem = "the signature does not match"
)

// clockSkew is how far a request's time may be from the service's.
const clockSkew = 5 * time.Minute

const timeFormat = "20060102T150405Z"

// checkSignature says what is wrong with a request's signature; empty if nothing is.
func checkSignature(r *http.Request, body []byte, region, service string, secretOf func(string) (string, bool), now time.Time) signatureProblem {
	text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !ok {
		return notSigned
	}
	fields := map[string]string{}
	for part := range strings.SplitSeq(text, ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		fields[key] = value
	}
	scope := strings.Split(fields["Credential"], "/")
	at, err := time.Parse(timeFormat, r.Header.Get("X-Amz-Date"))
	if len(scope) != 5 || fields["Signature"] == "" || err != nil {
		return incomplete
	}
	key, day := scope[0], scope[1]
	signed := strings.Split(fields["SignedHeaders"], ";")
	if !slices.Contains(signed, "host") || !slices.Contains(signed, "x-amz-date") || !slices.IsSorted(signed) {
		return incomplete
	}
	secret, ok := secretOf(key)
	switch {
	case !ok:
		return unknownKey
	case now.Sub(at).Abs() > clockSkew || day != at.Format("20060102"):
		return expired
	case scope[2] != region || scope[3] != service || scope[4] != "aws4_request":
		return wrongScope
	}
	canonical := canonicalRequest(r, body, signed)
	toSign := strings.Join([]string{
		"AWS4-HMAC-SHA256", at.Format(timeFormat), strings.Join(scope[1:], "/"), hexOf(sum(canonical)),
	}, "\n")
	derived := []byte("AWS4" + secret)
	for _, part := range scope[1:] {
		derived = mac(derived, part)
	}
	if !hmac.Equal([]byte(hexOf(mac(derived, toSign))), []byte(fields["Signature"])) {
		return wrong
	}
	return ""
}

// canonicalRequest puts a request into the one form that is signed.
func canonicalRequest(r *http.Request, body []byte, signed []string) string {
	var b strings.Builder
	path := r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	b.WriteString(r.Method + "\n" + path + "\n" + canonicalQuery(r.URL.Query()) + "\n")
	for _, name := range signed {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = r.Header.Get("Content-Length")
			if value == "" {
				value = itoa(int64(len(body)))
			}
		}
		b.WriteString(name + ":" + strings.Join(strings.Fields(value), " ") + "\n")
	}
	b.WriteString("\n" + strings.Join(signed, ";") + "\n" + hexOf(sum(string(body))))
	return b.String()
}

func canonicalQuery(query url.Values) string {
	var pairs []string
	for key, values := range query {
		for _, value := range values {
			pairs = append(pairs, escape(key)+"="+escape(value))
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

// escape is the URI encoding of signatures: everything but unreserved characters.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

func sum(s string) []byte {
	h := sha256.Sum256([]byte(s))
	return h[:]
}

func mac(key []byte, s string) []byte {
	h := hmac.New(sha256.New, key)
	_, _ = h.Write([]byte(s)) // never fails
	return h.Sum(nil)
}

func hexOf(b []byte) string { return hex.EncodeToString(b) }
