// Command flotilla-node is the host side of Flotilla: one static binary that the
// control plane calls through the cloud's run-command service, JSON in and JSON
// out. Package node does the work; this is only the command line.
package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// version is set when a release is built (-ldflags -X main.version=…).
var version = ""

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	err := command().ExecuteContext(ctx)
	stop()
	if err != nil {
		if !errors.Is(err, errReplied) {
			_, _ = os.Stderr.WriteString("flotilla-node: " + err.Error() + "\n")
		}
		os.Exit(1)
	}
}

// programVersion gives the version that was set, or what Go knows of the build.
func programVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

// newLog writes to standard error: standard output is for replies.
func newLog(level zapcore.Level) *zap.Logger {
	config := zap.NewProductionConfig()
	config.Level = zap.NewAtomicLevelAt(level)
	config.EncoderConfig.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	config.DisableStacktrace = true
	config.DisableCaller = true
	config.Sampling = nil
	log, err := config.Build()
	if err != nil {
		return zap.NewNop()
	}
	return log
}
