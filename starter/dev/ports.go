package dev

import (
	"context"
	"net"
	"strconv"
	"strings"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// loopback is where everything listens: there is no authentication in development.
const loopback = "127.0.0.1"

// portTries is how often a port may be lost to somebody else.
const portTries = 5

func hostPort(port int) string { return net.JoinHostPort(loopback, strconv.Itoa(port)) }

// choosePort gives the wanted port, which must be free, or the first free one of
// the others, or any free one.
func choosePort(ctx context.Context, flag string, wanted int, others ...int) (int, error) {
	if wanted != 0 {
		if !portFree(ctx, wanted) {
			return 0, fleet.Errorf(fleet.Conflict, hostPort(wanted), "is in use by another program").
				WithRemedy("choose another port with %s, or none for any free one", flag)
		}
		return wanted, nil
	}
	for _, port := range others {
		if port != 0 && portFree(ctx, port) {
			return port, nil
		}
	}
	return anyPort(ctx)
}

// withFreePorts starts something again that lost its port to another program in the
// moment between our look and its own: two environments that start at once do.
func withFreePorts(start func() error) error {
	err := start()
	for try := 1; try < portTries && err != nil && strings.Contains(err.Error(), "address already in use"); try++ {
		err = start()
	}
	return err
}

func portFree(ctx context.Context, port int) bool {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", hostPort(port))
	return err == nil && listener.Close() == nil
}

func anyPort(ctx context.Context) (int, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", hostPort(0))
	if err != nil {
		return 0, fleet.Errorf(fleet.Unavailable, loopback, "has no free port: %w", err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	return port, listener.Close()
}
