// Program flotilla is the command line of Flotilla: it shows what will happen to a
// cluster before it happens, what is happening while it happens, and what to do
// when it does not. It talks to the control plane through package starter only.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := newApp().run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}
