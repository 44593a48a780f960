package main

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"unsafe"
)

// A cpuSet is a set of processors, as sched_setaffinity(2) takes it.
type cpuSet [16]uint64

func oneCPU(cpu int) cpuSet {
	var s cpuSet
	s[cpu/64] = 1 << (cpu % 64)
	return s
}

// setAffinity confines a thread, 0 being the one that calls, and what it starts.
func setAffinity(tid int, s cpuSet) error {
	_, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, uintptr(tid), unsafe.Sizeof(s), uintptr(unsafe.Pointer(&s)))
	if errno != 0 {
		return fmt.Errorf("sched_setaffinity: %w", errno)
	}
	return nil
}

// usableCPUs lists the processors that we may run on.
func usableCPUs() ([]int, error) {
	var s cpuSet
	_, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_GETAFFINITY, 0, unsafe.Sizeof(s), uintptr(unsafe.Pointer(&s)))
	if errno != 0 {
		return nil, fmt.Errorf("sched_getaffinity: %w", errno)
	}
	var cpus []int
	for cpu := range len(s) * 64 {
		if s[cpu/64]&(1<<(cpu%64)) != 0 {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, nil
}

// confine confines every thread of this process, and so whatever it starts.
func confine(cpu int) error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range threads {
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			return err
		}
		if err := setAffinity(tid, oneCPU(cpu)); err != nil {
			return err
		}
	}
	return nil
}

// childAttr has the kernel kill a child when we are gone.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
