//go:build !linux

package node

import "os/exec"

// endWithParent does nothing where a process cannot be tied to its parent.
func endWithParent(*exec.Cmd) {}
