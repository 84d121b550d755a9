// Command check reads the top docker-compose.yml as Compose does, strictly, and
// looks whether every file that it names is there. It needs no Docker.
//
//	go -C docker/check run . ../../docker-compose.yml
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/compose-spec/compose-go/v2/cli"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: check docker-compose.yml")
		os.Exit(2)
	}
	if err := check(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "check:", err)
		os.Exit(1)
	}
}

// secrets are made by docker/setup.sh and are never in the repository.
var secrets = map[string]bool{"fleet_key": true, "postgres_password": true, "s3_credentials": true, "grafana_password": true}

func check(file string) error {
	options, err := cli.NewProjectOptions([]string{file},
		cli.WithWorkingDirectory(filepath.Dir(file)))
	if err != nil {
		return err
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		return err
	}
	var problems []error
	need := func(who, path string) {
		if _, err := os.Stat(path); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", who, err))
		}
	}
	for name, service := range project.Services {
		if service.Build != nil {
			need(name, filepath.Join(service.Build.Context, service.Build.Dockerfile))
		}
		for _, v := range service.Volumes {
			if v.Type == "bind" {
				need(name, v.Source)
			}
		}
		for _, p := range service.Ports {
			if p.HostIP != "127.0.0.1" {
				problems = append(problems, fmt.Errorf("%s publishes port %s on more than the loopback", name, p.Published))
			}
		}
		if service.Image == "" || service.Restart == "" {
			problems = append(problems, fmt.Errorf("%s has no image or no restart policy", name))
		}
	}
	for name := range project.Secrets {
		if !secrets[name] {
			problems = append(problems, fmt.Errorf("secret %s is not made by docker/setup.sh", name))
		}
	}
	fmt.Printf("%d services\n", len(project.Services))
	return errors.Join(problems...)
}
