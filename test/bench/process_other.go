//go:build !linux

package main

import "syscall"

// childAttr keeps Ctrl-C from reaching a child before us.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
