package local

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

// The worker that is killed gets its root and its journal from these.
const (
	envWorkerRoot    = "FLOTILLA_TEST_WORKER_ROOT"
	envWorkerJournal = "FLOTILLA_TEST_WORKER_JOURNAL"
)

// recipe is what the worker does, as a workflow would: each step asks and then
// looks until it is so, and is asked again if the worker dies before the journal
// says that it was done.
type recipe struct {
	p        *Provider
	one, two string // hosts
	disk     string
}

func (w *recipe) steps() []func(context.Context) error {
	return []func(context.Context) error{
		w.launch("one", &w.one),
		w.launch("two", &w.two),
		w.create,
		w.host(&w.one, fleet.HostRunning, nil),
		w.host(&w.two, fleet.HostRunning, nil),
		w.attach(&w.one),
		w.run(&w.one, "first"),
		w.run(&w.one, "second"),
		w.detach,
		w.attach(&w.two),
		w.run(&w.two, "third"),
		w.host(&w.one, fleet.HostStopped, func(ctx context.Context) error { return w.p.StopHost(ctx, w.one) }),
		func(ctx context.Context) error { return w.p.ResizeHost(ctx, w.one, "large") },
		w.host(&w.one, fleet.HostRunning, func(ctx context.Context) error { return w.p.StartHost(ctx, w.one) }),
		func(ctx context.Context) error { return w.p.GrowDisk(ctx, w.disk, 2*fleet.GiB) },
		w.run(&w.two, "fourth"),
		w.host(&w.two, fleet.HostTerminated, func(ctx context.Context) error { return w.p.TerminateHost(ctx, w.two) }),
		w.host(&w.one, fleet.HostTerminated, func(ctx context.Context) error { return w.p.TerminateHost(ctx, w.one) }),
	}
}

func (w *recipe) launch(member string, id *string) func(context.Context) error {
	return func(ctx context.Context) error {
		h, err := w.p.LaunchHost(ctx, launchRequest(member))
		*id = h.ID
		return err
	}
}

func (w *recipe) create(ctx context.Context) error {
	d, err := w.p.CreateDisk(ctx, createRequest("one"))
	w.disk = d.ID
	return err
}

func (w *recipe) host(id *string, state fleet.HostState, ask func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if ask != nil {
			if err := ask(ctx); err != nil {
				return err
			}
		}
		for {
			h, err := w.p.Host(ctx, *id)
			if err != nil || h.State == state {
				return err
			}
			if err := wait(ctx, 2*time.Millisecond); err != nil {
				return err
			}
		}
	}
}

func (w *recipe) attach(host *string) func(context.Context) error {
	return func(ctx context.Context) error { return w.p.AttachDisk(ctx, w.disk, *host) }
}

func (w *recipe) detach(ctx context.Context) error {
	for {
		if err := w.p.DetachDisk(ctx, w.disk); err != nil {
			return err
		}
		d, err := w.p.Disk(ctx, w.disk)
		if err != nil || d.State == fleet.DiskAvailable {
			return err
		}
	}
}

// run leaves a line on the disk, so that each run of the script is seen.
func (w *recipe) run(host *string, line string) func(context.Context) error {
	return func(ctx context.Context) error {
		req := iaas.CommandRequest{
			HostID: *host, Token: line, Timeout: time.Minute,
			Script: fmt.Sprintf("echo %s >>$FLOTILLA_NODE_ROOT/disks/%s/log", line, w.disk),
		}
		c, err := w.p.RunCommand(ctx, req)
		for err == nil && c.State == iaas.CommandRunning {
			if err = wait(ctx, 2*time.Millisecond); err == nil {
				c, err = w.p.Command(ctx, c.HostID, c.ID)
			}
		}
		if err == nil && c.State != iaas.CommandSucceeded {
			err = fmt.Errorf("command %s is %s: %s", line, c.State, c.Stderr)
		}
		return err
	}
}

// playWorker does what the journal says is left of the recipe.
func playWorker() int {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	binary, env := nodeUnderTest()
	p, err := Open(Config{Root: os.Getenv(envWorkerRoot), NodeBinary: binary, Env: env})
	if err != nil {
		fmt.Println(err)
		return 2
	}
	path := os.Getenv(envWorkerJournal)
	data, _ := os.ReadFile(path)
	done := strings.Count(string(data), "\n")
	journal, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		fmt.Println(err)
		return 2
	}
	w := &recipe{p: p,
		one:  idOf("h-", "host", launchRequest("one").Token),
		two:  idOf("h-", "host", launchRequest("two").Token),
		disk: idOf("d-", "disk", createRequest("one").Token),
	}
	fmt.Println("ready")
	for i, step := range w.steps() {
		if i < done {
			continue
		}
		if err := step(ctx); err != nil {
			fmt.Printf("step %d: %v\n", i, err)
			return 1
		}
		if _, err := fmt.Fprintln(journal, i); err != nil {
			return 2
		}
	}
	return 0
}

// A worker is killed at random instants, again and again, until it gets through.
// Nothing is lost by that, nothing doubled, and nothing left over.
func TestWorkerKilledAtRandom(t *testing.T) {
	for round := range 4 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			t.Parallel()
			chance := seed(t)
			p := newProvider(t)
			journal := filepath.Join(t.TempDir(), "journal")

			watching, stop := context.WithCancel(t.Context())
			watched := make(chan error, 1)
			go func() { watched <- watch(watching, p) }()

			kills := 0
			for {
				// Twice a typical step at most: so each is hit, and yet got through.
				after := time.Duration(chance.Int64N(int64(60 * time.Millisecond)))
				if killWorker(t, p.root, journal, after) {
					break
				}
				kills++
				done, _ := os.ReadFile(journal)
				require.Less(t, kills, 400, "the worker never gets through; it did %q", done)
			}
			stop()
			require.NoError(t, <-watched)
			t.Logf("the worker was killed %d times", kills)
			checkNothingLostOrDoubled(t, p)
		})
	}
}

// killWorker starts a worker and kills it; true: it was through before.
func killWorker(t *testing.T, root, journal string, after time.Duration) bool {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), quickExit, envPart+"="+partWorker, envWorkerRoot+"="+root, envWorkerJournal+"="+journal)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan())
	require.Equal(t, "ready", lines.Text())
	timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	var said []string
	for lines.Scan() {
		said = append(said, lines.Text())
	}
	err = cmd.Wait()
	timer.Stop()
	if err == nil {
		return true
	}
	require.Equal(t, -1, cmd.ProcessState.ExitCode(), "the worker failed by itself: %v", said)
	return false
}

// watch looks all the time, as sweeps of other workers do.
func watch(ctx context.Context, p *Provider) error {
	for ctx.Err() == nil {
		hosts, err := p.ListHosts(ctx, nil)
		if err == nil && len(hosts) > 2 {
			err = fmt.Errorf("%d hosts where two were bought", len(hosts))
		}
		if err == nil {
			_, err = p.ListDisks(ctx, nil)
		}
		if err == nil {
			err = wait(ctx, 5*time.Millisecond)
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

func checkNothingLostOrDoubled(t *testing.T, p *Provider) {
	t.Helper()
	hosts, err := p.allHosts()
	require.NoError(t, err)
	require.Len(t, hosts, 2)
	for _, h := range hosts {
		require.Equal(t, fleet.HostTerminated, h.State)
		require.NoDirExists(t, p.hostDir(h.ID))
	}
	disks, err := p.ListDisks(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, disks, 1)
	require.Equal(t, fleet.DiskAvailable, disks[0].State)
	require.Equal(t, 2*fleet.GiB, disks[0].Size)
	log, err := os.ReadFile(filepath.Join(p.diskData(disks[0].ID), "log"))
	require.NoError(t, err)
	require.Equal(t, "first\nsecond\nthird\nfourth\n", string(log), "each command ran once")
	left, err := withMarker([]string{envRoot + "=" + p.root})
	require.NoError(t, err)
	require.Empty(t, left, "no process outlives its host")
	var files []string
	for _, dir := range []string{"hosts", "disks"} {
		found, err := filepath.Glob(filepath.Join(p.root, dir, "*.tmp"))
		require.NoError(t, err)
		files = append(files, found...)
	}
	require.Empty(t, files, "no half-written file is left")
}
