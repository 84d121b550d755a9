package ec2sim

import (
	"net/http"
	"time"
)

// Signed says what is wrong with a request's signature (version 4), for faces of other
// services; empty if nothing is.
func Signed(r *http.Request, body []byte, region, service string, secretOf func(string) (string, bool), now time.Time) string {
	return string(checkSignature(r, body, region, service, secretOf, now))
}
