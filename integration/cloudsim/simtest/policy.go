package simtest

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
)

// Granted gives the rights that the policies on a page of the documentation grant, which
// are in blocks of JSON and of this version of the cloud's policy language.
func Granted(t *testing.T, page, version string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	all := map[string]bool{}
	blocks := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	require.NotEmpty(t, blocks)
	for _, b := range blocks {
		var policy struct {
			Version   string
			Statement []struct {
				Sid, Effect string
				Action      oneOrMore
				Resource    any
				Condition   map[string]map[string]any
			}
		}
		decoder := json.NewDecoder(strings.NewReader(b[1]))
		decoder.DisallowUnknownFields()
		require.NoError(t, decoder.Decode(&policy), "%s", b[1])
		require.Equal(t, version, policy.Version)
		for _, s := range policy.Statement {
			require.Equal(t, "Allow", s.Effect)
			for _, action := range s.Action {
				require.NotContains(t, action, "*", "least privilege")
				all[action] = true
			}
		}
	}
	return all
}

// oneOrMore is a string, or a list of them.
type oneOrMore []string

func (o *oneOrMore) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*o = oneOrMore{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(o))
}

// RightsAreCalls compares the rights to a service that a page of the documentation names, as in
// `route53:GetChange`, with the calls that were made.
func RightsAreCalls(t *testing.T, page, service string, w *cloudsim.World) {
	t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	named, called := map[string]bool{}, map[string]bool{}
	for _, right := range regexp.MustCompile("`"+service+":([A-Za-z]+)`").FindAllStringSubmatch(string(text), -1) {
		named[right[1]] = true
	}
	for _, c := range w.Calls() {
		called[c.Action] = true
	}
	require.Equal(t, called, named, "called, and named on %s", page)
}
