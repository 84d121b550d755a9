package main

import (
	"fmt"
	"os"
	"sync/atomic"

	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/log/tag"
	"go.uber.org/zap"
)

// listenFailed is how the server announces a port that is gone, right before it would
// end the process. A server upgrade that rewords it loses the second try, not the error.
const listenFailed = "Failed to start gRPC listener"

// processLogger is the server's own logger with two differences. A fatal entry becomes
// one line that a person can act on, or another try when only a port was lost that any
// other could replace.
// And what the parts of a server that is ending say about each other is not passed on.
type processLogger struct {
	log.Logger
	given  string // the address that the command line fixed, if it fixed one
	ending *atomic.Bool
}

func newLogger(opts *options) processLogger {
	given := opts.frontendAddress()
	if opts.anyPort {
		given = ""
	}
	zl := log.BuildZapLogger(log.Config{Level: opts.logLevel, Format: opts.logFormat})
	return processLogger{
		// One line per entry: the stacks are those of the RPC framework.
		Logger: log.NewZapLogger(zl.WithOptions(zap.AddStacktrace(zap.DPanicLevel))),
		given:  given,
		ending: new(atomic.Bool),
	}
}

func (l processLogger) Warn(msg string, tags ...tag.Tag) {
	if !l.ending.Load() {
		l.Logger.Warn(msg, tags...)
	}
}

func (l processLogger) Error(msg string, tags ...tag.Tag) {
	if !l.ending.Load() {
		l.Logger.Error(msg, tags...)
	}
}

func (l processLogger) Fatal(msg string, tags ...tag.Tag) {
	err := fmt.Errorf("the server cannot continue: %s", msg)
	replaceable := msg == listenFailed
	for _, t := range tags {
		err = fmt.Errorf("%w, %s=%v", err, t.Key(), t.Value())
		if t.Key() == "address" && t.Value() == l.given {
			replaceable = false
		}
	}
	if replaceable {
		if again := startAgain(); again != nil {
			err = fmt.Errorf("%w; %w", err, again)
		}
	}
	fail(err)
	os.Exit(1)
}
