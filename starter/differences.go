package starter

import (
	"encoding"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// Difference is a field in which two specs differ, with both values as a document
// writes them. A field that a document leaves out is empty.
type Difference struct {
	Path   string `json:"path"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// Differences gives the fields in which two specs differ, in the order of the document.
func Differences(before, after fleet.Spec) []Difference {
	var all []Difference
	was := fields(reflect.ValueOf(before), "")
	for i, is := range fields(reflect.ValueOf(after), "") {
		if was[i].text != is.text {
			all = append(all, Difference{Path: is.path, Before: was[i].text, After: is.text})
		}
	}
	return labels(all, before.Labels, after.Labels)
}

// field is a field of a document with its value as text.
type field struct{ path, text string }

// fields gives those that hold a value, always the same ones in the same order.
func fields(of reflect.Value, under string) []field {
	var all []field
	for i := range of.NumField() {
		name, options, _ := strings.Cut(of.Type().Field(i).Tag.Get("yaml"), ",")
		value, path := of.Field(i), under+name
		switch {
		case options == "inline":
			all = append(all, fields(value, under)...)
		case value.Kind() == reflect.Struct:
			all = append(all, fields(value, path+".")...)
		case value.Kind() != reflect.Map: // labels are told one by one
			all = append(all, field{path, text(value)})
		}
	}
	return all
}

func text(value reflect.Value) string {
	if value.IsZero() && value.Kind() != reflect.Int && value.Kind() != reflect.Bool {
		return ""
	}
	if marshaler, ok := value.Interface().(encoding.TextMarshaler); ok {
		if data, err := marshaler.MarshalText(); err == nil {
			return string(data)
		}
	}
	if list, ok := value.Interface().([]string); ok {
		return strings.Join(list, ", ")
	}
	return fmt.Sprint(value.Interface())
}

func labels(all []Difference, before, after map[string]string) []Difference {
	union := maps.Clone(before)
	if union == nil {
		union = map[string]string{}
	}
	maps.Copy(union, after)
	for _, key := range slices.Sorted(maps.Keys(union)) {
		if before[key] != after[key] {
			all = append(all, Difference{Path: "labels." + key, Before: before[key], After: after[key]})
		}
	}
	return all
}
