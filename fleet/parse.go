package fleet

import (
	"bytes"
	"cmp"
	"encoding"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// ParseSpec reads a spec from a YAML (or JSON) document, fills in the defaults
// and validates it. It is strict: unknown and repeated fields, missing units and
// impossible combinations are all reported, at once. source names the document
// in errors; the error is of kind Invalid and holds Problems.
func ParseSpec(data []byte, source string) (Spec, error) {
	specs, err := ParseSpecs(data, source)
	if err != nil {
		return Spec{}, err
	}
	if len(specs) != 1 {
		return Spec{}, Errorf(Invalid, source, "holds %d documents where one is wanted", len(specs))
	}
	return specs[0], nil
}

// ParseSpecs reads all the documents of a YAML stream as ParseSpec does.
func ParseSpecs(data []byte, source string) ([]Spec, error) {
	var specs []Spec
	var problems Problems
	if json.Valid(data) {
		data = bytes.ReplaceAll(data, []byte("\t"), []byte(" ")) // JSON may be indented by tabs, YAML may not
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var node yaml.Node
		err := decoder.Decode(&node)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			problems.add("", "is not YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
			return nil, problems.Err(source)
		}
		if node.Content[0].Tag == "!!null" {
			continue // nothing between two separators
		}
		spec, bad := decodeSpec(&node)
		problems = append(problems, bad...)
		specs = append(specs, spec)
	}
	if len(specs) == 0 {
		return nil, Errorf(Invalid, source, "is empty").WithRemedy("flotilla create --help shows an example")
	}
	if err := problems.Err(source); err != nil {
		return nil, err
	}
	return specs, nil
}

// ParsePolicy reads a policy from a YAML (or JSON) document, as strictly as a spec is
// read. What it does not say stays open; an empty document is a policy too.
func ParsePolicy(data []byte, source string) (Policy, error) {
	const root = "policy"
	var policy Policy
	var node yaml.Node
	if err := yaml.Unmarshal(data, &node); err != nil {
		return policy, Errorf(Invalid, source, "is not YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(node.Content) == 0 {
		return policy, nil
	}
	d := decoder{lines: map[string]int{}}
	d.decode(node.Content[0], reflect.ValueOf(&policy).Elem(), root)
	problems := slices.Concat(d.problems, policy.Validate(root))
	for i := range problems {
		problems[i].Line = cmp.Or(problems[i].Line, d.line(problems[i].Path))
	}
	return policy, problems.Err(source)
}

func decodeSpec(document *yaml.Node) (Spec, Problems) {
	var spec Spec
	problems := decodeDocument(document, &spec, &spec, nil)
	return spec, problems
}

// decodeDocument reads a document that holds a spec, fills in the spec's defaults and
// gives all that is wrong, in the order of the document. rest validates what is in the
// document besides the spec.
func decodeDocument(document *yaml.Node, into any, spec *Spec, rest func() Problems) Problems {
	target := reflect.ValueOf(into).Elem()
	d := decoder{lines: map[string]int{}}
	d.decode(document.Content[0], target, "")
	if document.Content[0].Kind != yaml.MappingNode { // not a spec at all
		d.problems[0].Line = d.line("")
		return d.problems
	}
	*spec = spec.WithDefaults()
	// Once more over the defaults, so that they hide no zero that was written down.
	again := decoder{lines: map[string]int{}}
	again.decode(document.Content[0], target, "")
	problems, found := d.problems, spec.Validate()
	if rest != nil {
		found = append(found, rest()...)
	}
	for _, p := range found {
		// A field that could not be read is zero; what validation says of that adds nothing.
		if !slices.ContainsFunc(d.problems, func(seen Problem) bool { return seen.Path == p.Path && seen.Line == 0 }) {
			problems = append(problems, p)
		}
	}
	for i := range problems {
		if problems[i].Line == 0 {
			problems[i].Line = d.line(problems[i].Path)
		}
	}
	slices.SortStableFunc(problems, func(a, b Problem) int { return a.Line - b.Line })
	return problems
}

// decoder fills a struct from YAML nodes and goes on after a wrong field, which
// yaml's own decoding does not do with a path for each.
type decoder struct {
	problems Problems
	lines    map[string]int
}

// line gives where a field stands, or where what it is missing from begins.
func (d *decoder) line(path string) int {
	for {
		if line, ok := d.lines[path]; ok || path == "" {
			return line
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
}

func (d *decoder) decode(node *yaml.Node, into reflect.Value, path string) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	d.lines[path] = node.Line
	if node.Tag == "!!null" {
		return // as if it were left out
	}
	if text, ok := into.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if node.Kind != yaml.ScalarNode {
			d.problems.add(path, "must be one value")
		} else if err := text.UnmarshalText([]byte(node.Value)); err != nil {
			d.problems.add(path, "%s", err)
		}
		return
	}
	switch into.Kind() {
	case reflect.Struct:
		d.decodeStruct(node, into, path)
	case reflect.Slice:
		if node.Kind != yaml.SequenceNode {
			d.problems.add(path, "must be a list, as in [a, b, c]")
			return
		}
		list := reflect.MakeSlice(into.Type(), len(node.Content), len(node.Content))
		for i, item := range node.Content {
			d.decode(item, list.Index(i), path+"["+strconv.Itoa(i)+"]")
		}
		into.Set(list)
	case reflect.Map:
		d.decodeMap(node, into, path)
	default:
		if err := node.Decode(into.Addr().Interface()); err != nil {
			d.problems.add(path, "%s", wanted(node, into))
		}
	}
}

func (d *decoder) decodeStruct(node *yaml.Node, into reflect.Value, path string) {
	if node.Kind != yaml.MappingNode {
		d.problems.add(path, "must be a mapping of fields")
		return
	}
	fields := structFields(into)
	seen := map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		at := join(path, key.Value)
		field, known := fields[key.Value]
		switch {
		case key.Tag == "!!merge":
			d.lines[at] = key.Line
			d.problems.add(at, "merge keys are not understood; write the fields out")
		case !known:
			d.lines[at] = key.Line
			d.problems.add(at, "there is no such field%s", didYouMean(key.Value, fields))
		case seen[key.Value]:
			d.twice(key, at)
		default:
			seen[key.Value] = true
			d.decode(value, field, at)
			d.lines[at] = key.Line
		}
	}
}

// twice tells of a repeated key where it is repeated; the first one stands.
func (d *decoder) twice(key *yaml.Node, path string) {
	d.problems = append(d.problems, Problem{Path: path, Line: key.Line, Message: "is given twice"})
}

// decodeMap reads a mapping of text to text.
func (d *decoder) decodeMap(node *yaml.Node, into reflect.Value, path string) {
	if node.Kind != yaml.MappingNode {
		d.problems.add(path, "must be a mapping of text to text")
		return
	}
	entries := map[string]string{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		at := join(path, key.Value)
		var text string
		if _, twice := entries[key.Value]; twice {
			d.twice(key, at)
			continue
		}
		d.decode(value, reflect.ValueOf(&text).Elem(), at)
		entries[key.Value] = text
	}
	into.Set(reflect.ValueOf(entries))
}

// structFields gives the fields of a struct by their YAML names, inlined ones included.
func structFields(v reflect.Value) map[string]reflect.Value {
	fields := map[string]reflect.Value{}
	for i := range v.NumField() {
		name, options, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		if options == "inline" {
			for k, f := range structFields(v.Field(i)) {
				fields[k] = f
			}
			continue
		}
		fields[name] = v.Field(i)
	}
	return fields
}

func wanted(node *yaml.Node, into reflect.Value) string {
	what := map[reflect.Kind]string{
		reflect.Int: "a whole number", reflect.Int64: "a whole number", reflect.Bool: "true or false",
		reflect.String: "text",
	}[into.Kind()]
	if node.Kind != yaml.ScalarNode {
		return "must be " + what
	}
	return strconv.Quote(node.Value) + " is not " + what
}

// didYouMean suggests the field that is nearest, when one is near, or names them all.
func didYouMean(key string, fields map[string]reflect.Value) string {
	names := slices.Sorted(maps.Keys(fields))
	plain := strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(key))
	best, nearest := 3, ""
	for _, name := range names {
		if d := distance(plain, strings.ToLower(name)); d < best && d < len(name)/2 {
			best, nearest = d, name
		}
	}
	if nearest != "" {
		return "; did you mean " + nearest + "?"
	}
	return " (there are " + strings.Join(names, ", ") + ")"
}

// distance is how many letters must be added, dropped or changed to get from a to b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
