//go:build !linux

package cluster

import "syscall"

const soReusePort = syscall.SO_REUSEPORT

// childAttr puts a child into a process group of its own, so that Ctrl-C
// reaches us alone. Only Linux can tie its life to ours.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
