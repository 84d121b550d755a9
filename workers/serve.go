package workers

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/flotilla-etcd/flotilla/fleet"
)

const (
	// readyTimeout bounds a readiness check: whoever asks has a timeout too.
	readyTimeout = 2 * time.Second
	// closeTimeout is how long requests in hand may take at the end.
	closeTimeout = 2 * time.Second
)

// servers are the listeners of a worker.
type servers []*http.Server

// serve opens the metrics and the health endpoint; either may be left out, and
// both may be at one address.
func serve(ctx context.Context, c Config, m *metrics, ready func(context.Context) error) (servers, error) {
	muxes := map[string]*http.ServeMux{}
	at := func(address string) *http.ServeMux {
		if muxes[address] == nil {
			muxes[address] = http.NewServeMux()
		}
		return muxes[address]
	}
	if c.MetricsAddress != "" {
		at(c.MetricsAddress).Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	}
	if c.HealthAddress != "" {
		mux := at(c.HealthAddress)
		mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
		mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
			defer cancel()
			if err := ready(ctx); err != nil {
				http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
				return
			}
			_, _ = w.Write([]byte("ok\n"))
		})
	}
	var all servers
	for address, mux := range muxes {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err != nil {
			all.close(ctx)
			return nil, fleet.Errorf(fleet.Invalid, "worker", "cannot listen on %s: %w", address, err).
				WithRemedy("choose other addresses with --metrics-address and --health-address")
		}
		server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
		go func() {
			if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
				_ = listener.Close()
			}
		}()
		all = append(all, server)
	}
	return all, nil
}

// close ends the listeners, also when ctx has ended: that is when it is called.
func (s servers) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	for _, server := range s {
		_ = server.Shutdown(ctx)
	}
}
