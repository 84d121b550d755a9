package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

// format is what -o asks for.
type format string

const (
	asTable format = "table"
	asJSON  format = "json"
	asYAML  format = "yaml"
)

var formats = []string{string(asTable), string(asJSON), string(asYAML)}

// String, Set and Type make format a flag.
func (f *format) String() string { return string(*f) }

// Type gives the name of the value in help texts.
func (f *format) Type() string { return "format" }

// Set takes one of the formats.
func (f *format) Set(value string) error {
	if !slices.Contains(formats, value) {
		return fmt.Errorf("%q is not one of %s", value, strings.Join(formats, ", "))
	}
	*f = format(value)
	return nil
}

func outputFlag(cmd *cobra.Command) *format {
	f := asTable
	cmd.Flags().VarP(&f, "output", "o", "table, json or yaml")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	return &f
}

// print writes a value in a format; table gives it as text for a person.
func (a *app) print(f format, value any, table func() string) error {
	var text string
	switch f {
	case asJSON:
		data, err := json.MarshalIndent(value, "", "  ")
		if err != nil {
			return err
		}
		text = string(data) + "\n"
	case asYAML:
		data, err := toYAML(value)
		if err != nil {
			return err
		}
		text = data
	default:
		text = table()
	}
	_, err := fmt.Fprint(a.out, text)
	return err
}

// toYAML writes a value under its JSON names, in the order of its JSON.
func toYAML(value any) (string, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return "", err
	}
	var node yaml.Node
	if err := yaml.Unmarshal(data, &node); err != nil { // JSON is YAML in flow style
		return "", err
	}
	blockStyle(&node)
	var b bytes.Buffer
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(&node); err != nil {
		return "", err
	}
	return b.String(), encoder.Close()
}

func blockStyle(node *yaml.Node) {
	node.Style &^= yaml.FlowStyle
	if node.Kind == yaml.ScalarNode && node.Tag == "!!str" {
		node.Style = 0 // the encoder quotes what would be read as something else
	}
	for _, child := range node.Content {
		blockStyle(child)
	}
}
