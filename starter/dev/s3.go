package dev

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter/devenv"
)

const bucket = "flotilla"

// startS3 runs an S3 server over the directory that holds the objects otherwise,
// and gives what its clients need in their environment. The credentials are in a
// file that only the user can read; no command line and no record has them.
func (e *environment) startS3(ctx context.Context) ([]string, error) {
	program, err := e.programs.Tool("versitygw")
	if err != nil {
		return nil, err
	}
	root := filepath.Join(e.config.DataDir, "s3")
	// A bucket of its posix backend is a directory.
	if err := os.MkdirAll(filepath.Join(root, bucket), 0o700); err != nil {
		return nil, fleet.Errorf(fleet.Denied, root, "cannot be made: %w", err)
	}
	file := filepath.Join(e.config.DataDir, "s3.credentials")
	access, secret, err := s3Credentials(file)
	if err != nil {
		return nil, err
	}
	port, err := anyPort(ctx)
	if err != nil {
		return nil, err
	}
	address := hostPort(port)
	e.record.ObjectStore = "s3://" + bucket + "?endpoint=http://" + address + "&region=us-east-1&pathStyle=true"
	client := append(withoutAWS(), "AWS_SHARED_CREDENTIALS_FILE="+file)
	return client, e.up(ctx, &service{
		name: "s3", program: program, args: []string{"--port", address, "--health", "/health", "--quiet", "posix", root},
		env:   append(childEnvironment(), "ROOT_ACCESS_KEY="+access, "ROOT_SECRET_KEY="+secret),
		ready: func(ctx context.Context) error { return connects(ctx, address) }, readyIn: s3Ready, grace: temporalGrace,
	}, devenv.Process{Health: "http://" + address + "/health"})
}

// withoutAWS unsets what would name other credentials than the file's.
func withoutAWS() []string {
	return []string{"AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=", "AWS_SESSION_TOKEN=", "AWS_PROFILE="}
}

// s3Credentials reads the credentials that were made at the first start, or makes them.
func s3Credentials(path string) (access, secret string, err error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		data = fmt.Appendf(nil, "[default]\naws_access_key_id = dev%s\naws_secret_access_key = %s\n", rand.Text(), rand.Text())
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		return "", "", fleet.Errorf(fleet.Denied, path, "cannot be used: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(line, "=")
		switch strings.TrimSpace(name) {
		case "aws_access_key_id":
			access = strings.TrimSpace(value)
		case "aws_secret_access_key":
			secret = strings.TrimSpace(value)
		}
	}
	if slices.Contains([]string{access, secret}, "") {
		return "", "", fleet.Errorf(fleet.Lost, path, "holds no credentials").WithRemedy("remove the file: new ones are made")
	}
	return access, secret, nil
}

func connects(ctx context.Context, address string) error {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}
