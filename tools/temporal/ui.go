package main

import (
	"context"
	"fmt"
	"net"
	"time"

	uiserver "github.com/temporalio/ui-server/v2/server"
	uiconfig "github.com/temporalio/ui-server/v2/server/config"
	uioptions "github.com/temporalio/ui-server/v2/server/server_options"
)

// webUI is Temporal's Web UI, or nothing when it was not asked for.
type webUI struct {
	server *uiserver.Server
}

// startUI returns once the UI accepts connections, so that the ready line can be clicked.
func startUI(ctx context.Context, opts *options) (*webUI, error) {
	if opts.uiPort == 0 {
		return &webUI{}, nil
	}
	ui := &webUI{server: uiserver.NewServer(uioptions.WithConfigProvider(&uiconfig.Config{
		TemporalGRPCAddress: opts.frontendAddress(),
		Host:                bracketed(opts.ip),
		Port:                opts.uiPort,
		EnableUI:            true,
		DefaultNamespace:    defaultNamespace,
		// Plain HTTP on loopback: some browsers drop a secure cookie there.
		CORS: uiconfig.CORS{CookieInsecure: true},
		// A development server works without a network and asks nobody for news.
		DisableNewsFetch: true,
		HideLogs:         true,
	}))}
	failed := make(chan error, 1)
	go func() { failed <- ui.server.Start() }()

	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", opts.uiAddress())
		if err == nil {
			return ui, conn.Close()
		}
		select {
		case err := <-failed:
			return nil, fmt.Errorf("web UI on %s: ended at once: %w", opts.uiAddress(), err)
		case <-ctx.Done():
			return nil, fmt.Errorf("web UI on %s does not answer: %w", opts.uiAddress(), err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (u *webUI) Stop() {
	if u.server != nil {
		u.server.Stop()
	}
}

func bracketed(ip string) string {
	if net.ParseIP(ip).To4() == nil {
		return "[" + ip + "]"
	}
	return ip
}
