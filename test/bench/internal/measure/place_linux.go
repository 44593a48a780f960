package measure

import (
	"errors"
	"fmt"
	"io/fs"
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

// setNice sets the priority of a thread, 0 being the one that calls, and of what
// it starts. Only root may raise it.
func setNice(tid, nice int) error {
	if err := syscall.Setpriority(syscall.PRIO_PROCESS, tid, nice); err != nil {
		return fmt.Errorf("-nice %d: %w", nice, err)
	}
	return nil
}

// UsableCPUs lists the processors that we may run on.
func UsableCPUs() ([]int, error) {
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

// Confine confines every thread of this process, and so whatever it starts.
func Confine(cpu int) error {
	return eachThread(func(tid int) error { return setAffinity(tid, oneCPU(cpu)) })
}

// Hurry gives every thread of this process a priority, and the session that it
// is in: where the kernel groups programs by session (sched(7), autogroup), one of
// a thread counts within the group only.
func Hurry(nice int) error {
	err := os.WriteFile("/proc/self/autogroup", []byte(strconv.Itoa(nice)), 0o644)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return eachThread(func(tid int) error { return setNice(tid, nice) })
}

func eachThread(do func(tid int) error) error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range threads {
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			return err
		}
		if err := do(tid); err != nil {
			return err
		}
	}
	return nil
}

// childAttr has the kernel kill a child when we are gone, and keeps Ctrl-C from
// reaching it before us.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
