package lab

import (
	"runtime"
	"syscall"
)

// childAttributes ends the child when the thread that started it ends.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

func lockThread() { runtime.LockOSThread() }
