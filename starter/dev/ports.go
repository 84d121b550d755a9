package dev

import (
	"context"
	"net"
	"strconv"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// loopback is where everything listens: there is no authentication in development.
const loopback = "127.0.0.1"

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
