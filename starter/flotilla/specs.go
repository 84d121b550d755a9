package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// sourced is a spec with the name of the document it came from.
type sourced struct {
	fleet.Spec
	source string
}

// readSpecs reads and validates all documents of all files; what is wrong in any of
// them is reported before anything is asked of the control plane.
func (a *app) readSpecs(cmd *cobra.Command, files []string) ([]sourced, error) {
	if len(files) == 0 {
		return nil, usageError(cmd, errors.New("no spec is given: name a file with -f, or - for standard input"))
	}
	var specs []sourced
	var bad []error
	names := map[string]string{}
	for _, file := range files {
		data, source, err := a.readFile(file)
		if err != nil {
			return nil, err
		}
		list, err := fleet.ParseSpecs(data, source)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		for _, spec := range list {
			if other, taken := names[spec.Name]; taken {
				bad = append(bad, fleet.Errorf(fleet.Invalid, source, "name: %s is specified in %s already", spec.Name, other))
			}
			names[spec.Name] = source
			specs = append(specs, sourced{Spec: spec, source: source})
		}
	}
	if len(bad) == 0 {
		return specs, nil
	}
	if len(bad) == 1 {
		return nil, bad[0]
	}
	for _, err := range bad {
		a.report(err)
	}
	return nil, &exitError{code: exitInput, err: errors.Join(bad...), said: true}
}

func (a *app) readFile(file string) (data []byte, source string, err error) {
	if file == "-" {
		data, err = io.ReadAll(a.in)
		return data, "standard input", err
	}
	data, err = os.ReadFile(file)
	if err != nil {
		return nil, file, &exitError{code: exitInput, err: fmt.Errorf("the spec cannot be read: %w", err)}
	}
	return data, file, nil
}
