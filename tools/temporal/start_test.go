package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func holdPort(address string) (net.Listener, error) { return net.Listen("tcp", address) }

func TestManyAtOnce(t *testing.T) {
	var servers []*process
	for range 5 {
		servers = append(servers, launch(t, "server", flags(t)...))
	}
	for _, p := range servers {
		p.awaitReady()
	}
}

func TestTriesAgainWhenAnInternalPortIsLost(t *testing.T) {
	p := start(t, "clash", flags(t)...)
	if took, err := p.terminate(); err != nil {
		t.Errorf("clean end after a second try: %v after %s", err, took)
	}
}

func TestCleanEnd(t *testing.T) {
	p := start(t, "server", flags(t)...)
	took, err := p.terminate()
	if err != nil || took > stopTimeout+time.Second {
		t.Errorf("SIGTERM: ended with %v after %s, want success within %s", err, took, stopTimeout)
	}
	if p.stderr.Len() > 0 {
		t.Errorf("unexpected log at the level error:\n%s", p.stderr)
	}
}

func TestStartErrors(t *testing.T) {
	held, err := holdPort("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = held.Close() })
	_, heldPort, _ := net.SplitHostPort(held.Addr().String())

	dir := t.TempDir()
	inUse := filepath.Join(dir, "in-use.db")
	start(t, "server", "--port", "0", "--ui-port", "0", "--db", inUse)
	garbage := filepath.Join(dir, "garbage.db")
	write(t, garbage, []byte(strings.Repeat("this is no database ", 1000)))
	cut := filepath.Join(dir, "cut.db")
	whole := start(t, "server", "--port", "0", "--ui-port", "0", "--db", cut)
	if _, err := whole.terminate(); err != nil {
		t.Fatal(err)
	}
	truncate(t, cut)

	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"port in use":           {[]string{"--port", heldPort}, "is in use by another program"},
		"UI port in use":        {[]string{"--ui-port", heldPort}, "choose another port with --ui-port"},
		"same port twice":       {[]string{"--port", "17999", "--ui-port", "17999"}, "are both 17999"},
		"open to the network":   {[]string{"--ip", "0.0.0.0"}, "want a loopback address"},
		"no directory":          {[]string{"--db", filepath.Join(dir, "none", "x.db")}, "its directory does not exist"},
		"directory":             {[]string{"--db", dir}, "cannot be written"},
		"not writable":          {[]string{"--db", "/proc/x.db"}, "cannot be written"},
		"not a database":        {[]string{"--db", garbage}, "damaged or no SQLite file"},
		"damaged":               {[]string{"--db", cut}, "damaged or no SQLite file"},
		"database in use":       {[]string{"--db", inUse}, "another flotilla-temporal is using it"},
		"unknown setting":       {[]string{"--dynamic-config", "no.such=1"}, "unregistered key"},
		"setting of a bad type": {[]string{"--dynamic-config", "history.transferProcessorMaxPollRPS=many"}, "validation failed"},
		"short retention":       {[]string{"--retention", "1m"}, "want 1h0m0s or more"},
		"bad namespace":         {[]string{"--namespace", "a b"}, "-namespace"},
	} {
		t.Run(name, func(t *testing.T) {
			p := launch(t, "server", append(flags(t), tc.args...)...)
			line := p.await()
			err := <-p.ended
			text := strings.TrimSpace(p.stderr.String())
			if err == nil || line != "" || !strings.Contains(text, tc.want) || strings.Contains(text, "\n") {
				t.Errorf("%v: ended with %v, stdout %q, stderr %q; want one line with %q", tc.args, err, line, text, tc.want)
			}
		})
	}
}

func TestDynamicConfig(t *testing.T) {
	start(t, "server", flags(t, "--dynamic-config", "history.transferProcessorMaxPollRPS=50",
		"--dynamic-config", "system.namespaceCacheRefreshInterval=5s")...)
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// truncate keeps the header, so that the file still looks like a database.
func truncate(t *testing.T, path string) {
	t.Helper()
	for _, suffix := range []string{"-wal", "-shm"} {
		_ = os.Remove(path + suffix)
	}
	if err := os.Truncate(path, 8192); err != nil {
		t.Fatal(err)
	}
}
