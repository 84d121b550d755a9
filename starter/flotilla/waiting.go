package main

import (
	"time"

	"github.com/spf13/cobra"
)

// waiting is what the commands that start or watch operations have in common.
type waiting struct {
	wait, noWait bool
	// approval keeps watching while a person has to approve.
	approval  bool
	timeout   time.Duration
	requestID string
}

// waitFlags are the flags of commands that start an operation.
func waitFlags(cmd *cobra.Command, w *waiting) {
	flags := cmd.Flags()
	flags.BoolVar(&w.wait, "wait", true, "watch until it ends; with --wait=false the answer is that it has begun")
	flags.BoolVar(&w.noWait, "no-wait", false, "the same as --wait=false")
	flags.StringVar(&w.requestID, "request-id", "", "`id` of this request: the same one twice is one operation")
	watchFlags(cmd, w)
}

// watchFlags are the flags of commands that watch one.
func watchFlags(cmd *cobra.Command, w *waiting) {
	flags := cmd.Flags()
	flags.DurationVar(&w.timeout, "timeout", 0, "watch no longer than this; the operation goes on (0: until it ends)")
	flags.BoolVar(&w.approval, "wait-approval", false, "keep watching while a person has to approve it, instead of ending with 5")
}
