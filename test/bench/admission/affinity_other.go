//go:build !linux

package main

import (
	"errors"
	"syscall"
)

type cpuSet struct{}

var errPinning = errors.New("servers can be pinned to a core on Linux only")

func oneCPU(int) cpuSet             { return cpuSet{} }
func setAffinity(int, cpuSet) error { return errPinning }
func usableCPUs() ([]int, error)    { return nil, errPinning }
func setNice(int, int) error        { return errPinning }
func confine(int) error             { return errPinning }
func hurry(int) error               { return errPinning }

func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }
