package harness

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Process is a program that a test started.
type Process struct {
	t       testing.TB
	cmd     *exec.Cmd
	log     string
	ended   chan struct{}
	dead    atomic.Bool
	Metrics string
}

func start(t testing.TB, log string, env []string, program string, args ...string) *Process {
	t.Helper()
	out, err := os.Create(log)
	require.NoError(t, err)
	defer out.Close()
	p := &Process{t: t, log: log, ended: make(chan struct{}), cmd: exec.Command(program, args...)}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, p.cmd.Start())
	go func() {
		_ = p.cmd.Wait()
		p.dead.Store(true)
		close(p.ended)
	}()
	t.Cleanup(p.Kill)
	return p
}

// PID is its process ID.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Alive says whether it has not ended.
func (p *Process) Alive() bool { return !p.dead.Load() }

// Kill ends it as a crash does, with SIGKILL.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// Terminate asks it to end, and gives its exit code.
func (p *Process) Terminate() int { return p.signal(syscall.SIGTERM) }

func (p *Process) signal(s syscall.Signal) int {
	_ = p.cmd.Process.Signal(s)
	select {
	case <-p.ended:
	case <-time.After(Patience):
		p.t.Errorf("%s did not end after %s:\n%s", p.cmd.Path, s, p.Log())
		p.Kill()
	}
	return p.cmd.ProcessState.ExitCode()
}

// Log is what it wrote.
func (p *Process) Log() string {
	data, _ := os.ReadFile(p.log)
	return string(data)
}

func (p *Process) awaitReady(url string) {
	p.t.Helper()
	Eventually(p.t, p.cmd.Path+" is ready", func(ctx context.Context) error {
		if !p.Alive() {
			p.t.Fatalf("%s ended before it was ready:\n%s", p.cmd.Path, p.Log())
		}
		return get(ctx, url)
	})
}

func get(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}

// Eventually waits until check gives no error, and fails the test with the last
// error after Patience.
func Eventually(t testing.TB, what string, check func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	for {
		err := check(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("expected that %s; it is not: %v", what, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// FreeAddress gives a loopback address with a port that is free now.
func FreeAddress(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	return listener.Addr().String()
}

// Temporal is a Temporal server.
type Temporal struct {
	t       testing.TB
	Address string
	db      string
	process *Process
}

func startTemporal(t testing.TB, db string) *Temporal {
	t.Helper()
	s := &Temporal{t: t, Address: FreeAddress(t), db: db}
	s.Restart()
	return s
}

// Kill ends the server as a crash does.
func (s *Temporal) Kill() { s.process.Kill() }

// Restart starts it, again, with the state that is on disk.
func (s *Temporal) Restart() {
	s.t.Helper()
	_, port, err := net.SplitHostPort(s.Address)
	require.NoError(s.t, err)
	s.process = start(s.t, s.db+".log", nil, Tool(s.t, "temporal-server"), "--port", port, "--ui-port", "0", "--db", s.db)
	Eventually(s.t, "Temporal is ready", func(context.Context) error {
		if !s.process.Alive() {
			s.t.Fatalf("Temporal ended before it was ready:\n%s", s.process.Log())
		}
		scanner := bufio.NewScanner(strings.NewReader(s.process.Log()))
		for scanner.Scan() {
			if strings.HasPrefix(scanner.Text(), "ready ") {
				return nil
			}
		}
		return errors.New("starting")
	})
}
