package main

import "syscall"

// childAttr has the kernel kill a child when we are gone, and keeps Ctrl-C from
// reaching it before us.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
