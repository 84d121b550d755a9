package main

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
)

// roleVariable makes the test binary behave as the program itself, so that the tests
// drive a real process, signals and all, without a second link of 150 MB.
const roleVariable = "FLOTILLA_TEMPORAL_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "":
		os.Exit(m.Run())
	case "clash":
		if os.Getenv(attemptVariable) == "" {
			startWithLostPort()
		}
	}
	main()
}

// process is one flotilla-temporal under test.
type process struct {
	t       testing.TB
	cmd     *exec.Cmd
	address string // of the frontend, from the ready line
	ready   string
	stderr  *bytes.Buffer
	await   func() string
	ended   chan error
}

// start returns once the process says that it is ready.
func start(t testing.TB, role string, args ...string) *process {
	t.Helper()
	p := launch(t, role, args...)
	return p.awaitReady()
}

// launch does not wait; more of them come up at the same time.
func launch(t testing.TB, role string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(os.Args[0], args...), stderr: new(bytes.Buffer), ended: make(chan error, 1)}
	p.cmd.Env = append(os.Environ(), roleVariable+"="+role)
	p.cmd.Stderr = p.stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(stdout).ReadString('\n')
		line <- strings.TrimSpace(text)
		p.ended <- p.cmd.Wait()
		close(p.ended)
	}()
	p.await = func() string { return <-line }
	return p
}

func (p *process) awaitReady() *process {
	p.t.Helper()
	p.ready = p.await()
	for field := range strings.FieldsSeq(p.ready) {
		if address, ok := strings.CutPrefix(field, "frontend="); ok {
			p.address = address
			return p
		}
	}
	p.t.Fatalf("no ready line but %q; stderr:\n%s", p.ready, p.stderr)
	return nil
}

// kill is kill -9: no handler of the process runs.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	for range p.ended { // until it is closed, read or not
	}
}

// terminate asks for a clean end and returns how long it took.
func (p *process) terminate() (time.Duration, error) {
	begin := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return 0, err
	}
	err := <-p.ended
	return time.Since(begin), err
}

func (p *process) client(namespace string) client.Client {
	p.t.Helper()
	c, err := client.Dial(client.Options{
		HostPort: p.address, Namespace: namespace, Logger: log.NewStructuredLogger(quiet()),
	})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(c.Close)
	return c
}

// flags are for a server of its own: any port, no UI, a fresh database.
func flags(t testing.TB, more ...string) []string {
	return append([]string{"--port", "0", "--ui-port", "0", "--db", filepath.Join(t.TempDir(), "temporal.db")}, more...)
}

// lostPort is held here because a listener that nobody refers to is closed.
var lostPort net.Listener

// startWithLostPort is the program, up to the point where somebody else has taken one of
// the internal ports that it chose.
func startWithLostPort() {
	opts, err := parseOptions(os.Args[1:], os.Stderr)
	if err == nil {
		err = opts.choosePorts(context.Background())
	}
	if err == nil {
		lostPort, err = holdPort(opts.address(opts.internal.matching))
	}
	var db *database
	if err == nil {
		db, err = openDatabase(context.Background(), opts.db)
	}
	if err == nil {
		_, err = startServer(context.Background(), opts, db)
	}
	fail(err)
	os.Exit(1)
}
