package cluster

import "syscall"

// soReusePort is missing from package syscall on most Linux architectures.
const soReusePort = 0xf

// childAttr puts a child into a process group of its own, so that Ctrl-C
// reaches us alone, and has the kernel kill it when the thread that started
// it ends.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
