package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

const (
	// alonePatience is how long a member may take until it serves alone: it applies the
	// end of its log, and reads its whole store, which is at most 16 GiB.
	alonePatience = 4 * time.Minute
	// aloneEnd is how long it may take to end.
	aloneEnd = 30 * time.Second
)

// forceAlone runs a member once on a copy of its data with --force-new-cluster, until it
// serves, and ends it. It listens where no client and no peer looks for it. It is not kept
// running: a second start with that flag would throw its new peers out. The report is of the
// data before.
func (n *Node) forceAlone(ctx context.Context, m member, start StartRequest, dir string, before *fleet.DataReport) error {
	client, peer, err := freePorts(ctx)
	if err != nil {
		return onHost(resourceOf(m.Member), err)
	}
	args, err := n.arguments(m, start)
	if err != nil {
		return err
	}
	d, err := dialectOf(start.Version)
	if err != nil {
		return err
	}
	args = slices.DeleteFunc(args, func(arg string) bool {
		name, _, _ := strings.Cut(arg, "=")
		// There are no peers to compare the data with.
		return slices.Contains([]string{"--data-dir", "--listen-client-urls", "--listen-peer-urls", "--heartbeat-interval", "--election-timeout", "--snapshot-count"}, name) ||
			slices.Contains(d.corruptionChecks, arg)
	})
	args = append(args, "--data-dir="+dir, "--force-new-cluster=true",
		"--listen-client-urls="+loopbackURL(client), "--listen-peer-urls="+loopbackURL(peer),
		// It elects itself, and would wait for others until an election is due.
		"--heartbeat-interval=10", "--election-timeout=100",
		// It takes one raft snapshot, behind all that it finds in its log: the next start need not
		// read that again.
		fmt.Sprintf("--snapshot-count=%d", max(1, before.Last.Index-before.RaftSnapshot.Index)),
		// What it writes is synced as a whole when it has ended; what a power cut leaves is begun anew.
		"--unsafe-no-fsync=true")
	output := &lastOutput{}
	process := exec.CommandContext(ctx, n.program(start.Version, "etcd"), args...)
	process.Env, process.Stdout, process.Stderr = []string{}, output, output
	process.Cancel = func() error { return process.Process.Signal(syscall.SIGTERM) }
	process.WaitDelay = aloneEnd
	endWithParent(process)
	runtime.LockOSThread() // the parent is a thread
	defer runtime.UnlockOSThread()
	if err := process.Start(); err != nil {
		return onHost(resourceOf(m.Member), err)
	}
	ended := make(chan struct{})
	go func() {
		_ = process.Wait() // what it wrote says how it ended
		close(ended)
	}()
	ready := n.awaitAlone(ctx, m, start, client, ended)
	if errors.Is(ready, errEnded) {
		return fleet.Errorf(fleet.Unavailable, resourceOf(m.Member), "etcd ended before it served alone: %s", lastWords(string(output.text))).
			WithRemedy("see what it says; the data is as it was")
	}
	_ = process.Process.Signal(syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(aloneEnd):
		_ = process.Process.Kill()
		<-ended
	}
	if ready != nil {
		return fleet.Errorf(fleet.Unavailable, resourceOf(m.Member), "etcd did not serve alone within %s (%w): %s", alonePatience, ready, lastWords(string(output.text))).
			WithRemedy("see what it says; the data is as it was")
	}
	return nil
}

var errEnded = errors.New("it ended")

// awaitAlone waits until the member answers a linearizable read: it has applied all that
// is committed then.
func (n *Node) awaitAlone(ctx context.Context, m member, start StartRequest, port int, ended <-chan struct{}) error {
	client, err := n.probeClient(m, serverCert, serverKey)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	setServerName(client, start.Address)
	ctx, cancel := context.WithTimeout(ctx, alonePatience)
	defer cancel()
	ticker := time.NewTicker(startPoll)
	defer ticker.Stop()
	var said error
	for {
		status, body, err := ask(ctx, client, loopbackURL(port)+"/readyz")
		switch {
		case err == nil && status == http.StatusOK:
			return nil
		case err == nil:
			said = errors.New(failingChecks(body))
		default:
			said = err
		}
		select {
		case <-ctx.Done():
			return said
		case <-ended:
			return errEnded
		case <-ticker.C:
		}
	}
}

// setServerName has a client expect the certificate that the member has for its own
// address.
func setServerName(client *http.Client, address string) {
	if transport, ok := client.Transport.(*http.Transport); ok {
		if transport.TLSClientConfig == nil {
			transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		transport.TLSClientConfig.ServerName = address
	}
}

func loopbackURL(port int) string {
	return "https://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// freePorts gives two ports that nothing has right now.
func freePorts(ctx context.Context) (one, two int, err error) {
	var ports [2]int
	for i := range ports {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return 0, 0, err
		}
		defer listener.Close()
		ports[i] = listener.Addr().(*net.TCPAddr).Port
	}
	return ports[0], ports[1], nil
}

// lastOutput keeps the end of what a process writes.
type lastOutput struct{ text []byte }

func (o *lastOutput) Write(p []byte) (int, error) {
	const most = 64 << 10
	o.text = append(o.text, p...)
	o.text = o.text[max(0, len(o.text)-most):]
	return len(p), nil
}
