package simtest

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files of requests anew")

// Wire is an endpoint with fixed answers, written as a cloud's reference has them, so that
// a provider is held to the reference and not to our own idea of it. What it was asked is
// compared with a file that a person can hold against the reference, too.
type Wire struct {
	URL     string
	t       *testing.T
	mu      sync.Mutex
	answers map[string]string // by action
	asked   strings.Builder
}

// NewWire gives an endpoint that answers with 200 and nothing else.
func NewWire(t *testing.T) *Wire {
	w := &Wire{t: t, answers: map[string]string{}}
	server := httptest.NewServer(w)
	t.Cleanup(server.Close)
	w.URL = server.URL
	return w
}

// Answers sets what an action is answered with.
func (w *Wire) Answers(action, body string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers[action] = body
}

// passing are the parameters of ECS's that no two requests share, that are secret, or that
// all have.
var passing = []string{"Signature", "SignatureNonce", "Timestamp", "AccessKeyId", "Format", "SignatureMethod", "SignatureType", "SignatureVersion"}

// ServeHTTP notes a request, in a form or in JSON, and answers it.
func (w *Wire) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // the test sees what is missing
	values := r.URL.Query()
	_, action, isJSON := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	if isJSON {
		var fields map[string]any
		_ = json.Unmarshal(body, &fields)
		for key, value := range fields {
			text, _ := json.Marshal(value)
			values.Set(key, string(text))
		}
	} else {
		form, _ := url.ParseQuery(string(body))
		maps.Copy(values, form)
		action = values.Get("Action")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	fmt.Fprintf(&w.asked, "%s %s\n", r.Method, action)
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if key != "Action" && !slices.Contains(passing, key) {
			fmt.Fprintf(&w.asked, "  %s=%s\n", key, strings.ReplaceAll(values.Get(key), "\n", `\n`))
		}
	}
	rw.Header().Set("Content-Type", map[bool]string{true: "application/json", false: "text/xml"}[strings.HasPrefix(w.answers[action], "{")])
	_, _ = io.WriteString(rw, w.answers[action])
}

// Asked compares all requests so far with a file; -rewrite writes it.
func (w *Wire) Asked(golden string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if *rewrite {
		require.NoError(w.t, os.WriteFile(golden, []byte(w.asked.String()), 0o644)) //nolint:gosec // it is part of the project
	}
	want, err := os.ReadFile(golden)
	require.NoError(w.t, err)
	require.Equal(w.t, string(want), w.asked.String(), "run the test with -rewrite, and hold the difference against the reference")
}
