// Package form reads the parameters of a call as the clouds' query protocols have them:
// flat, with lists as name.1, name.2 and so on. It remembers what was read, so that a
// face can refuse what it does not model.
package form

import (
	"fmt"
	"maps"
	"net/url"
	"slices"

	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
)

// Form is the parameters of a call.
type Form struct {
	Values url.Values
	read   map[string]bool
}

// New gives the form of a call; common are parameters that any call may have.
func New(values url.Values, common ...string) *Form {
	f := &Form{values, map[string]bool{}}
	for _, key := range common {
		f.read[key] = true
	}
	return f
}

// Text reads a parameter, "" if it is missing.
func (f *Form) Text(key string) string {
	f.read[key] = true
	return f.Values.Get(key)
}

// Bool reads a parameter that is true or false.
func (f *Form) Bool(key string) bool { return f.Text(key) == "true" }

// Has says whether there is a parameter, and does not read it.
func (f *Form) Has(key string) bool { return f.Values.Has(key) }

// List reads prefix.1, prefix.2 and so on.
func (f *Form) List(prefix string) []string {
	var all []string
	for n := 1; f.Has(fmt.Sprintf("%s.%d", prefix, n)); n++ {
		all = append(all, f.Text(fmt.Sprintf("%s.%d", prefix, n)))
	}
	return all
}

// Pairs reads prefix.1.Key and prefix.1.Value and so on, in their order.
func (f *Form) Pairs(prefix string) [][2]string {
	var all [][2]string
	for n := 1; f.Has(fmt.Sprintf("%s.%d.Key", prefix, n)); n++ {
		all = append(all, [2]string{f.Text(fmt.Sprintf("%s.%d.Key", prefix, n)), f.Text(fmt.Sprintf("%s.%d.Value", prefix, n))})
	}
	return all
}

// Unread gives the first parameter that was not read, or "".
func (f *Form) Unread() string {
	for _, key := range slices.Sorted(maps.Keys(f.Values)) {
		if !f.read[key] {
			return key
		}
	}
	return ""
}

// Fingerprint is what a client token is good for: all parameters but these.
func (f *Form) Fingerprint(but ...string) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(f.Values)) {
		if !slices.Contains(but, key) {
			parts = append(parts, key, f.Values.Get(key))
		}
	}
	return cloudsim.Fingerprint(parts...)
}
