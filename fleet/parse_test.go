package fleet_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// least is the shortest spec that is valid.
const least = `name: orders
provider: local
region: local-1
zones: [a, b, c]
etcd:
  version: 3.7.3
machine:
  type: small
  disk:
    category: ssd
`

// with is the shortest spec with one line of it replaced, or one added at the end.
func with(old, new string) string {
	if old == "" {
		return least + new + "\n"
	}
	if !strings.Contains(least, old) {
		panic("the spec has no " + old)
	}
	return strings.Replace(least, old, new, 1)
}

func problemsOf(t *testing.T, document string) fleet.Problems {
	t.Helper()
	_, err := fleet.ParseSpecs([]byte(document), "bad.yaml")
	require.Error(t, err)
	require.Equal(t, fleet.Invalid, fleet.KindOf(err), err)
	var problems fleet.Problems
	require.True(t, errors.As(err, &problems), "no problems in %v", err)
	return problems
}

func TestParseSpecFillsInDefaults(t *testing.T) {
	spec, err := fleet.ParseSpec([]byte(least), "orders.yaml")
	require.NoError(t, err)
	want := fleet.Spec{
		Name: "orders", Provider: "local", Region: "local-1", Zones: []string{"a", "b", "c"}, Voters: 3,
		Etcd: fleet.EtcdSpec{Version: "3.7.3", EtcdSettings: fleet.EtcdSettings{
			Quota: 2 * fleet.GiB, SnapshotCount: 10000, HeartbeatInterval: fleet.DefaultHeartbeat, ElectionTimeout: fleet.DefaultElection,
			AutoCompaction: fleet.AutoCompaction{Mode: "off"}, MaxLearners: 1, MaxRequest: 1536 * fleet.KiB, MaxTxnOps: 128,
		}},
		Machine: fleet.MachineSpec{Type: "small", Disk: fleet.DiskSpec{Size: 20 * fleet.GiB, Category: "ssd"}},
		Class:   fleet.Burstable,
	}
	require.Equal(t, want, spec)
	require.Equal(t, want, want.WithDefaults(), "defaults of what is complete change nothing")

	spec, err = fleet.ParseSpec([]byte(with("", "learners: 2")), "orders.yaml")
	require.NoError(t, err)
	require.Equal(t, 3, spec.Etcd.MaxLearners, "one more learner is allowed than are asked for, to replace voters through")
}

// Every field of the document is wrong, and each problem is told, where it stands.
func TestParseSpecTellsEveryProblem(t *testing.T) {
	file := filepath.Join("testdata", "everything-wrong.yaml")
	document, err := os.ReadFile(file)
	require.NoError(t, err)
	var got strings.Builder
	line := 0
	for _, p := range problemsOf(t, string(document)) {
		fmt.Fprintf(&got, "%d: %s\n", p.Line, p)
		require.GreaterOrEqual(t, p.Line, line, "%s is out of the document's order", p)
		line = p.Line
	}
	want, err := os.ReadFile(filepath.Join("testdata", "everything-wrong.txt"))
	if os.Getenv("REWRITE") != "" {
		require.NoError(t, os.WriteFile(filepath.Join("testdata", "everything-wrong.txt"), []byte(got.String()), 0o644))
		return
	}
	require.NoError(t, err)
	require.Equal(t, string(want), got.String())
}

func TestParseSpecRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		document string
		want     string // a problem, with its line
	}{
		"other case":           {with("", "Voters: 3"), "11 Voters: there is no such field; did you mean voters?"},
		"misspelt":             {with("provider:", "provder:"), "2 provder: there is no such field; did you mean provider?"},
		"other style":          {with("", "deletion_protection: true"), "11 deletion_protection: there is no such field; did you mean deletionProtection?"},
		"misplaced":            {with("  version: 3.7.3", "  version: 3.7.3\n  size: 3GiB"), "7 etcd.size: there is no such field (there are autoCompaction, electionTimeout,"},
		"given twice":          {with("", "name: other"), "11 name: is given twice"},
		"label given twice":    {with("", "labels: {a: x, a: y}"), "11 labels.a: is given twice"},
		"label not text":       {with("", "labels: {a: [x]}"), "11 labels.a: must be text"},
		"label of ours":        {with("", "labels:\n  flotilla:uid: x"), "12 labels.flotilla:uid: a label has a name"},
		"quota without unit":   {with("  version: 3.7.3", "  version: 3.7.3\n  quota: 4"), "7 etcd.quota: 4 needs a unit, as in 20GiB"},
		"size with half a GiB": {with("    category: ssd", "    category: ssd\n    size: 1.5GiB"), "11 machine.disk.size: \"1.5GiB\" is not a whole number of GiB"},
		"decimal unit":         {with("    category: ssd", "    category: ssd\n    size: 20GB"), "11 machine.disk.size: \"20GB\" is not a whole number of B"},
		"time without unit":    {with("  version: 3.7.3", "  version: 3.7.3\n  electionTimeout: 1000"), "7 etcd.electionTimeout: 1000 needs a unit, as in 500ms"},
		"negative time":        {with("  version: 3.7.3", "  version: 3.7.3\n  electionTimeout: -1s"), "7 etcd.electionTimeout: -1s is negative"},
		"number as text":       {with("", "voters: three"), `11 voters: "three" is not a whole number`},
		"number too large":     {with("", "voters: 99999999999999999999"), `11 voters: "99999999999999999999" is not a whole number`},
		"even":                 {with("", "voters: 4"), "11 voters: 4 must be odd (1, 3, 5, 7)"},
		"zone twice":           {with("[a, b, c]", "[a, b, a]"), `4 zones[2]: "a" is named twice`},
		"zone not text":        {with("[a, b, c]", "[a, [b]]"), "4 zones[1]: must be text"},
		"zones not a list":     {with("[a, b, c]", "a"), "4 zones: must be a list"},
		"machine not a map":    {with("machine:\n  type: small\n  disk:\n    category: ssd\n", "machine: small\n"), "7 machine: must be a mapping of fields"},
		"missing":              {with("  type: small\n", ""), "7 machine.type: is missing"},
		"etcd not supported":   {with("3.7.3", "3.4.30"), "6 etcd.version: 3.4.30 is not supported: the minors are 3.5, 3.6, 3.7"},
		"two learners on 3.5":  {with("3.7.3", "3.5.35\nlearners: 2"), "5 etcd.maxLearners: etcd 3.5 allows one learner at a time"},
		"recursive":            {with("machine:", "machine: &m\n  disk: *m"), "10 machine.disk: is given twice"},
		"merge key":            {with("machine:", "machine:\n  <<: {type: large}"), "8 machine.<<: merge keys are not understood"},
		"a list":               {"- orders", "1 must be a mapping of fields"},
		"a word":               {"orders", "1 must be a mapping of fields"},
		"broken":               {"name: [", "0 is not YAML: line 1:"},
		"unknown anchor":       {"name: *orders", "0 is not YAML: unknown anchor 'orders' referenced"},
		"second document bad":  {least + "---\n" + with("", "voters: 2"), "22 voters: 2 must be odd"},
	} {
		t.Run(name, func(t *testing.T) {
			var told strings.Builder
			for _, p := range problemsOf(t, c.document) {
				fmt.Fprintf(&told, "%d %s\n", p.Line, p)
			}
			require.Contains(t, told.String(), c.want)
		})
	}
}

// A default stands for what was left out, never for a zero that was written down.
func TestDefaultsHideNoZero(t *testing.T) {
	for path, document := range map[string]string{
		"voters":                 with("", "voters: 0"),
		"class":                  with("", "class: ''"),
		"etcd.quota":             with("  version: 3.7.3", "  version: 3.7.3\n  quota: 0B"),
		"etcd.snapshotCount":     with("  version: 3.7.3", "  version: 3.7.3\n  snapshotCount: 0"),
		"etcd.heartbeatInterval": with("  version: 3.7.3", "  version: 3.7.3\n  heartbeatInterval: 0s"),
		"etcd.electionTimeout":   with("  version: 3.7.3", "  version: 3.7.3\n  electionTimeout: 0s"),
		"etcd.maxLearners":       with("  version: 3.7.3", "  version: 3.7.3\n  maxLearners: 0"),
		"etcd.maxRequest":        with("  version: 3.7.3", "  version: 3.7.3\n  maxRequest: 0B"),
		"etcd.maxTxnOps":         with("  version: 3.7.3", "  version: 3.7.3\n  maxTxnOps: 0"),
		"machine.disk.size":      with("    category: ssd", "    category: ssd\n    size: 0B"),
	} {
		problems := problemsOf(t, document)
		require.Len(t, problems, 1, "%s: 0 of the document gives %v", path, problems)
		require.Equal(t, path, problems[0].Path)
	}
	spec, err := fleet.ParseSpec([]byte(with("", "voters: null")), "orders.yaml")
	require.NoError(t, err)
	require.Equal(t, 3, spec.Voters, "null is as if it were left out")
}

func TestParseSpecReadsManyShapes(t *testing.T) {
	want, err := fleet.ParseSpec([]byte(least), "orders.yaml")
	require.NoError(t, err)
	inJSON := `{"name": "orders", "provider": "local", "region": "local-1", "zones": ["a", "b", "c"],
	"etcd": {"version": "3.7.3"}, "machine": {"type": "small", "disk": {"category": "ssd"}}}`
	for name, document := range map[string]string{
		"JSON":                    inJSON,
		"JSON indented by tabs":   strings.ReplaceAll(inJSON, "\n", "\n\t\t"),
		"anchors":                 with("provider: local\nregion: local-1", "provider: &p local\nregion: local-1\nlabels: {from: *p}"),
		"empty documents beside":  "---\n---\n" + least + "---\n# nothing\n",
		"carriage returns":        strings.ReplaceAll(least, "\n", "\r\n"),
		"a byte order mark first": "\ufeff" + least,
	} {
		spec, err := fleet.ParseSpec([]byte(document), name)
		require.NoError(t, err, name)
		spec.Labels = nil
		require.Equal(t, want, spec, name)
	}
}

func TestParseSpecWantsOneDocument(t *testing.T) {
	for document, want := range map[string]string{
		"":                          "orders.yaml: is empty; ",
		"# later\n":                 "orders.yaml: is empty; ",
		"---\n":                     "orders.yaml: is empty; ",
		least + "---\n" + least:     "orders.yaml: holds 2 documents where one is wanted",
		with("", "voters: 2\na: 1"): "orders.yaml: 2 problems:\n  voters: 2 must be odd",
	} {
		_, err := fleet.ParseSpec([]byte(document), "orders.yaml")
		require.ErrorContains(t, err, want)
		require.Equal(t, fleet.Invalid, fleet.KindOf(err))
	}
	specs, err := fleet.ParseSpecs([]byte(least+"---\n"+strings.Replace(least, "orders", "carts", 1)), "two.yaml")
	require.NoError(t, err)
	require.Len(t, specs, 2)
	require.Equal(t, "carts", specs[1].Name)
}

// survives says that a spec is the same after it was written and read again, in
// every way in which specs are kept.
func survives(t *testing.T, spec fleet.Spec) {
	t.Helper()
	require.Empty(t, spec.Validate())
	inYAML, err := yaml.Marshal(spec)
	require.NoError(t, err)
	inJSON, err := json.Marshal(spec)
	require.NoError(t, err)
	for _, document := range [][]byte{inYAML, inJSON} {
		again, err := fleet.ParseSpec(document, "again")
		require.NoError(t, err, "%s", document)
		require.True(t, spec.Equal(again), "%s\nis read as %+v", document, again)
	}
	var fromJSON, fromYAML fleet.Spec
	require.NoError(t, json.Unmarshal(inJSON, &fromJSON))
	require.NoError(t, yaml.Unmarshal(inYAML, &fromYAML))
	require.True(t, spec.Equal(fromJSON), "JSON without ParseSpec: %s", inJSON)
	require.True(t, spec.Equal(fromYAML), "YAML without ParseSpec: %s", inYAML)
}

// Nothing makes ParseSpec panic, and what it accepts is valid and can be kept.
func FuzzParseSpec(f *testing.F) {
	f.Add([]byte(least))
	f.Add([]byte(with("", "learners: 1\nlabels: {team: '1', \"null\": ~, a: '# no'}\ndeletionProtection: true")))
	f.Add([]byte(with("  version: 3.7.3", "  version: 3.7.3\n  autoCompaction: {mode: periodic, retention: 1h30m}\n  quota: 512 MiB")))
	f.Add([]byte("{\n\t\"name\": \"orders\"}"))
	f.Add([]byte("a: &a [*a]\nmachine: &m {disk: *m}\n? [x]\n: y\n"))
	f.Fuzz(func(t *testing.T, document []byte) {
		if spec, err := fleet.ParseSpec(document, "fuzz"); err == nil {
			survives(t, spec)
		}
	})
}

func TestParsePolicy(t *testing.T) {
	policy, err := fleet.ParsePolicy([]byte("approval: destructive\nsoak: 30s\nwindows: ['daily 01:00-05:00']\n"), "policy.yaml")
	require.NoError(t, err)
	require.Equal(t, fleet.Policy{
		Approval: fleet.ApprovalDestructive, Soak: fleet.Duration(30 * time.Second), Windows: []string{"daily 01:00-05:00"},
	}, policy)
	policy, err = fleet.ParsePolicy([]byte("# nothing yet\n"), "policy.yaml")
	require.NoError(t, err)
	require.Equal(t, fleet.Policy{}, policy)

	_, err = fleet.ParsePolicy([]byte("soak: 30\napproval: perhaps\nwindow: []\nwindows: [never]\n"), "policy.yaml")
	require.Equal(t, fleet.Invalid, fleet.KindOf(err))
	var problems fleet.Problems
	require.True(t, errors.As(err, &problems))
	lines := map[string]int{}
	for _, p := range problems {
		lines[p.Path] = p.Line
	}
	require.Equal(t, map[string]int{"policy.soak": 1, "policy.approval": 2, "policy.window": 3, "policy.windows[0]": 4}, lines)
	for _, text := range []string{"a: [", "- soak: 1s", "soak"} {
		_, err = fleet.ParsePolicy([]byte(text), "policy.yaml")
		require.Equal(t, fleet.Invalid, fleet.KindOf(err), "%q: %v", text, err)
	}
}
