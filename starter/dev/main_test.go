package dev

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestMain lets this program stand in for the ones that are supervised: they are
// links to it, and it goes by the name that it was started with.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "flotilla-worker":
		standIn("health-address")
	case "flotilla-temporal":
		standIn("port")
	}
	os.Exit(m.Run())
}

// standIn listens where one of its flags says, until SIGTERM.
func standIn(listenAt string) {
	values := map[string]*string{}
	flags := flag.NewFlagSet("stand-in", flag.ExitOnError)
	for _, name := range []string{"address", "namespace", "provider", "region", "zones", "data", "node-binary", "object-store",
		"fleet-key", "releases", "metrics-address", "health-address", "log-format", "ip", "port", "ui-port", "db", "log-level"} {
		values[name] = flags.String(name, "", "")
	}
	_ = flags.Parse(os.Args[1:])
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	address := *values[listenAt]
	if listenAt == "port" {
		address = net.JoinHostPort(*values["ip"], address)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(filepath.Dir(*values["db"])), "refuse")); err == nil && listenAt == "port" {
		stop()
		fmt.Println("the database is locked")
		os.Exit(1)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		stop()
		fmt.Println(err)
		os.Exit(1)
	}
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	go func() { _ = server.Serve(listener) }()
	fmt.Println("ready frontend=" + address)
	<-ctx.Done()
	stop()
	fmt.Println("ended cleanly")
	os.Exit(0)
}
