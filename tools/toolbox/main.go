// Program toolbox builds what runs beside Flotilla in development and tests, from
// pinned Go modules, and keeps it in a cache that all clones of one user share: three
// etcd releases, a Temporal server and its CLI, an S3 server, and linters.
//
// It needs nothing but Go and a module proxy: no container engine, no package manager,
// no download of binaries.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

const usage = `Usage: go -C tools run ./toolbox [flags] TARGET...
       go -C tools run ./toolbox list | path TARGET | clean

Builds each target that is not in the cache yet.

Targets: etcd-3.7  etcd-3.6  etcd-3.5  temporal-server  s3  temporal-cli  lint
Groups:  run   what the demo needs: temporal-server and the three etcds
         test  run, s3 and temporal-cli
         all   test and lint

  list         the targets: version, cached or not, size
  path TARGET  the directory with the target's programs
  clean        remove versions that this clone does not pin, and what killed builds left

The cache is $FLOTILLA_CACHE, or flotilla in the user's cache directory.

Flags:
`

// errReported ends the program with a failure that is on the screen already.
var errReported = errors.New("already reported")

func main() { os.Exit(exitCode()) }

func exitCode() int {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	switch err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case !errors.Is(err, errReported):
		fmt.Fprintln(os.Stderr, "toolbox:", err)
	}
	return 1
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("toolbox", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		_, _ = fmt.Fprint(stderr, usage)
		fs.PrintDefaults()
	}
	out := fs.String("out", "", "write tools.json and releases.yaml into this `directory`")
	verbose := fs.Bool("v", false, "say one line for a target that is cached, too")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errReported
	}
	if fs.NArg() == 0 {
		fs.Usage()
		return errors.New("no target given")
	}
	c, err := openCache(".")
	if err != nil {
		return err
	}
	switch command := fs.Arg(0); command {
	case "list":
		return c.list(stdout)
	case "path":
		if fs.NArg() != 2 {
			return errors.New("path takes one target")
		}
		return c.path(stdout, fs.Arg(1))
	case "clean":
		return c.clean(stdout)
	}

	targets, err := resolve(fs.Args())
	if err != nil {
		return err
	}
	b := builder{cache: c, screen: newScreen(stderr), verbose: *verbose}
	buildErr := b.all(ctx, targets)
	// Also after a failure: what was built before it is worth having.
	if *out != "" {
		if err := c.writeCatalogue(*out); err != nil {
			return errors.Join(buildErr, err)
		}
	}
	return buildErr
}
