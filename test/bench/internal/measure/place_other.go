//go:build !linux

package measure

import (
	"errors"
	"syscall"
)

type cpuSet struct{}

var errPlace = errors.New("only on Linux can programs be given a processor and a priority")

func oneCPU(int) cpuSet             { return cpuSet{} }
func setAffinity(int, cpuSet) error { return errPlace }
func setNice(int, int) error        { return errPlace }

// UsableCPUs lists the processors that we may run on.
func UsableCPUs() ([]int, error) { return nil, errPlace }

// Confine confines this process and whatever it starts to a processor.
func Confine(int) error { return errPlace }

// Hurry gives this process and whatever it starts a priority.
func Hurry(int) error { return errPlace }

// childAttr keeps Ctrl-C from reaching a child before us.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
