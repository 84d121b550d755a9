package etcdtest

import (
	"os/exec"
	"syscall"
)

// endWithParent lets the kernel end the process when a test binary dies without
// its cleanups, as it does at a panic or a timeout.
func endWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
