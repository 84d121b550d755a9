package node

import (
	"os/exec"
	"syscall"
)

// endWithParent has the kernel end the process when this one is killed.
func endWithParent(process *exec.Cmd) {
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
