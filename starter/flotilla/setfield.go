package main

import (
	"encoding"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// setFields sets fields of a spec by the paths that documents have for them.
func setFields(spec *fleet.Spec, values map[string]string) error {
	for _, path := range slices.Sorted(maps.Keys(values)) {
		if err := setField(reflect.ValueOf(spec).Elem(), path, path, values[path]); err != nil {
			return err
		}
	}
	return nil
}

// setField sets the field at the rest of a path below a struct.
func setField(of reflect.Value, path, rest, value string) error {
	name, below, deeper := strings.Cut(rest, ".")
	fields := documentFields(of)
	field, ok := fields[name]
	if !ok {
		return fmt.Errorf("%s: there is no such field (there are %s)", path, strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
	}
	if deeper && field.Kind() == reflect.Struct {
		return setField(field, path, below, value)
	}
	if text, ok := field.Addr().Interface().(encoding.TextUnmarshaler); ok && !deeper {
		if err := text.UnmarshalText([]byte(value)); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	}
	switch {
	case deeper:
		return fmt.Errorf("%s: %s has no fields", path, name)
	case field.Kind() == reflect.Struct:
		return fmt.Errorf("%s: it has fields of its own (%s)", path, strings.Join(slices.Sorted(maps.Keys(documentFields(field))), ", "))
	case field.CanInt():
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || field.OverflowInt(n) {
			return fmt.Errorf("%s: %q is not a whole number", path, value)
		}
		field.SetInt(n)
	case field.Kind() == reflect.String:
		field.SetString(value)
	default:
		return fmt.Errorf("%s: it cannot be set here; write it in a document and flotilla apply that", path)
	}
	return nil
}

// documentFields gives the fields of a struct by their names in documents, inlined
// ones included.
func documentFields(of reflect.Value) map[string]reflect.Value {
	fields := map[string]reflect.Value{}
	for i := range of.NumField() {
		name, options, _ := strings.Cut(of.Type().Field(i).Tag.Get("yaml"), ",")
		if options == "inline" {
			maps.Copy(fields, documentFields(of.Field(i)))
			continue
		}
		fields[name] = of.Field(i)
	}
	return fields
}
