package fleet

import (
	"encoding"
	"errors"
	"io"
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
	decoder := yaml.NewDecoder(strings.NewReader(string(data)))
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

func decodeSpec(document *yaml.Node) (Spec, Problems) {
	var spec Spec
	d := decoder{lines: map[string]int{}}
	d.decode(document.Content[0], reflect.ValueOf(&spec).Elem(), "")
	if _, given := d.lines["voters"]; given && spec.Voters == 0 && len(d.problems) == 0 {
		d.problems.add("voters", "0 must be 1, 3, 5 or 7") // a default would hide it
	}
	spec = spec.WithDefaults()
	problems := d.problems
	for _, p := range spec.Validate() {
		// A field that could not be read is zero; what validation says of that adds nothing.
		if !slices.ContainsFunc(d.problems, func(seen Problem) bool { return seen.Path == p.Path }) {
			problems = append(problems, p)
		}
	}
	for i := range problems {
		problems[i].Line = d.lines[problems[i].Path]
	}
	slices.SortStableFunc(problems, func(a, b Problem) int { return a.Line - b.Line })
	return spec, problems
}

// decoder fills a struct from YAML nodes and goes on after a wrong field, which
// yaml's own decoding does not do with a path for each.
type decoder struct {
	problems Problems
	lines    map[string]int
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
		case !known:
			d.lines[at] = key.Line
			d.problems.add(at, "there is no such field%s", didYouMean(key.Value, fields))
		case seen[key.Value]:
			d.problems.add(at, "is given twice")
		default:
			seen[key.Value] = true
			d.decode(value, field, at)
		}
	}
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
		reflect.String: "text", reflect.Map: "a mapping of text to text",
	}[into.Kind()]
	if node.Kind != yaml.ScalarNode {
		return "must be " + what
	}
	return strconv.Quote(node.Value) + " is not " + what
}

func didYouMean(key string, fields map[string]reflect.Value) string {
	names := make([]string, 0, len(fields))
	for name := range fields {
		if strings.EqualFold(strings.ReplaceAll(strings.ReplaceAll(key, "_", ""), "-", ""), name) {
			return "; did you mean " + name + "?"
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return " (there are " + strings.Join(names, ", ") + ")"
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
