package ecssim

import (
	"net/url"
	"time"
)

// Signed says what is wrong with a call's signature, for faces of other services: the
// code of the error, or nothing.
func Signed(method string, form url.Values, secretOf func(string) (string, bool), now time.Time) (code string) {
	if e := checkSignature(method, form, secretOf, now); e != nil {
		return e.code
	}
	return ""
}
