// Package docs_test holds the documentation to the project: links lead somewhere,
// the tests that it names exist, commands and flags that it shows are there, and
// every field of the cluster document is described.
package docs_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workers"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// pages gives the text of every page, by its path from the root of the project.
func pages(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	add := func(path string) {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		all[filepath.Clean(path)] = string(data)
	}
	for _, page := range []string{"README.md", "CONTRIBUTING.md", "SECURITY.md", "docker/README.md", "tools/README.md"} {
		add(filepath.Join("..", page))
	}
	require.NoError(t, filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".md" {
			add(path)
		}
		return err
	}))
	return all
}

func page(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(data)
}

var (
	link    = regexp.MustCompile(`\[([^]]*)\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
)

func TestLinksLeadSomewhere(t *testing.T) {
	for path, text := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target, anchor, _ := strings.Cut(m[2], "#")
			if strings.Contains(target, "://") {
				continue
			}
			if target == "" {
				target = filepath.Base(path)
			}
			file := filepath.Join(filepath.Dir(path), target)
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s links to %s, which is not there", path, m[2])
				continue
			}
			if anchor != "" && !slices.Contains(anchors(page(t, file)), anchor) {
				t.Errorf("%s links to %s, which has no such heading", path, m[2])
			}
			if strings.HasPrefix(m[1], "Test") && !strings.Contains(page(t, file), "func "+m[1]+"(") {
				t.Errorf("%s names %s, which is not in %s", path, m[1], file)
			}
		}
	}
}

// anchors gives those of a page's headings, as GitHub makes them.
func anchors(text string) []string {
	drop := regexp.MustCompile(`[^a-z0-9 _-]`)
	var all []string
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		all = append(all, strings.ReplaceAll(drop.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return all
}

func TestEveryFieldOfTheDocumentIsDescribed(t *testing.T) {
	text := page(t, "spec.md")
	fields := fieldsOf(reflect.TypeFor[fleet.Spec](), "")
	for _, field := range fields {
		if !strings.Contains(text, "| `"+field+"` |") {
			t.Errorf("spec.md does not describe %s", field)
		}
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-zA-Z.]+)` \\|").FindAllStringSubmatch(text, -1) {
		if !slices.Contains(fields, m[1]) {
			t.Errorf("spec.md describes %s, which a document does not have", m[1])
		}
	}
}

// fieldsOf gives the paths of the fields that hold a value.
func fieldsOf(of reflect.Type, under string) []string {
	var all []string
	for i := range of.NumField() {
		field := of.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		path := under + name
		switch {
		case options == "inline":
			all = append(all, fieldsOf(field.Type, under)...)
		case field.Type.Kind() == reflect.Struct:
			all = append(all, fieldsOf(field.Type, path+".")...)
		default:
			all = append(all, path)
		}
	}
	return all
}

func TestDocumentsInPagesAreGood(t *testing.T) {
	block := regexp.MustCompile("(?s)```yaml\n(name: .*?)```")
	found := 0
	for path, text := range pages(t) {
		for _, m := range block.FindAllStringSubmatch(text, -1) {
			found++
			_, err := fleet.ParseSpec([]byte(m[1]), path)
			require.NoError(t, err)
		}
	}
	require.NotZero(t, found)
	_, err := fleet.ParseSpec([]byte(page(t, "examples/orders.yaml")), "orders.yaml")
	require.NoError(t, err)
}

// The requests for the temporal CLI are read as the entity reads them.
func TestRequestsAreGood(t *testing.T) {
	for _, file := range []string{"create.json", "decommission.json"} {
		var request workflows.SubmitRequest
		decoder := json.NewDecoder(strings.NewReader(page(t, "examples/"+file)))
		decoder.DisallowUnknownFields()
		require.NoError(t, decoder.Decode(&request), file)
		require.NotEmpty(t, request.RequestID, file)
		if request.Spec != nil {
			require.Empty(t, request.Spec.WithDefaults().Validate(), file)
		}
	}
	require.Contains(t, page(t, "temporal-cli.md"), page(t, "examples/create.json"), "the request should be shown as it is in examples/create.json")
}

func TestEverySettingOfTheWorkerIsDescribed(t *testing.T) {
	text := page(t, "workers.md")
	new(workers.Config).Flags().VisitAll(func(f *pflag.Flag) {
		if !strings.Contains(text, "`--"+f.Name+"`") {
			t.Errorf("workers.md does not describe --%s", f.Name)
		}
	})
}

func TestEveryStepIsDescribed(t *testing.T) {
	text := page(t, "operations.md")
	source := page(t, "../fleet/step.go")
	steps := regexp.MustCompile(`(?m)^\s+(\w+)\s+StepKind\s+=`).FindAllStringSubmatch(source, -1)
	require.NotEmpty(t, steps)
	for _, m := range steps {
		if !strings.Contains(text, "| "+m[1]+" |") {
			t.Errorf("operations.md does not describe %s", m[1])
		}
	}
}

var (
	command = regexp.MustCompile(`flotilla ((?:[a-z][a-z-]*)(?: [a-z][a-z-]*)*)((?: +[^ |` + "`" + `#&;)]+)*)`)
	flag    = regexp.MustCompile(`(?:^| )(--?[a-z][a-z-]*)`)
)

// TestCommandsAreThere asks the built program for the help of each command that a
// page shows. It is skipped where nothing was built.
func TestCommandsAreThere(t *testing.T) {
	program, err := filepath.Abs("../bin/flotilla")
	require.NoError(t, err)
	if _, err := os.Stat(program); err != nil {
		t.Skip("bin/flotilla is not built")
	}
	help := func(words ...string) string {
		out, _ := exec.CommandContext(t.Context(), program, append(words, "--help")...).CombinedOutput()
		return string(out)
	}
	helps := map[string]string{}
	for path, text := range pages(t) {
		for _, shown := range shownCommands(text) {
			m := command.FindStringSubmatch(shown)
			if m == nil {
				continue
			}
			words := strings.Fields(m[1])
			// What is below a command is named in its help; what is not, is an argument.
			known := help()
			if _, ok := helps[words[0]]; !ok {
				helps[words[0]] = help(words[0])
			}
			if !lists(known, words[0]) {
				t.Errorf("%s shows %q; there is no command %s", path, shown, words[0])
				continue
			}
			text := helps[words[0]]
			for i := 1; i < len(words) && lists(text, words[i]); i++ {
				key := strings.Join(words[:i+1], " ")
				if _, ok := helps[key]; !ok {
					helps[key] = help(words[:i+1]...)
				}
				text = helps[key]
			}
			for _, f := range flag.FindAllStringSubmatch(m[2], -1) {
				if !regexp.MustCompile(`(?m)(^|\s)` + regexp.QuoteMeta(f[1]) + `[\s,=]`).MatchString(text) {
					t.Errorf("%s shows %q; there is no flag %s", path, shown, f[1])
				}
			}
		}
	}
	require.NotEmpty(t, helps)
}

// shownCommands gives what stands in code and begins with flotilla.
func shownCommands(text string) []string {
	var all []string
	for _, m := range regexp.MustCompile("`(flotilla [^`]+)`").FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	for _, m := range regexp.MustCompile(`(?m)^(?:\$ )?(flotilla [a-z].*)$`).FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

// lists says that a help has a line for a command.
func lists(help, command string) bool {
	return regexp.MustCompile(`(?m)^  ` + regexp.QuoteMeta(command) + `\s`).MatchString(help)
}
