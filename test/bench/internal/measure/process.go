package measure

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A Program is what [Start] starts.
type Program struct {
	Name string // in messages
	Path string
	Args []string
	// Env is its environment, beside a PATH that is ours, and a HOME and a TMPDIR
	// that are the directory of Log.
	Env []string
	// Log is the file that takes what it prints. It runs in the directory of it.
	Log string
	// Place says where it runs. Nil is wherever the kernel wants.
	Place *Place
	// Grace is how long it has to end when it is asked to; zero means ten seconds.
	Grace time.Duration
}

// A Place is where a program runs: on one processor, with a priority.
type Place struct{ CPU, Nice int }

// A Process is a program that runs on and is being measured.
type Process struct {
	program Program
	cmd     *exec.Cmd
	done    chan struct{}
}

// Start starts a program that dies with us.
func Start(p Program) (*Process, error) {
	out, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close() // the child has its own copy
	cmd := exec.Command(p.Path, p.Args...)
	cmd.Dir = filepath.Dir(p.Log)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + cmd.Dir, "TMPDIR=" + cmd.Dir}, p.Env...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = childAttr()
	running := &Process{program: p, cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// The thread is ours alone, and goes with this goroutine: its place is for the
		// child, and the kernel ends the child when it ends.
		runtime.LockOSThread()
		err := p.Place.take()
		if err == nil {
			err = cmd.Start()
		}
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its log
			close(running.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", p.Name, err)
	}
	return running, nil
}

// take puts the thread that calls into the place.
func (p *Place) take() error {
	if p == nil {
		return nil
	}
	if err := setAffinity(0, oneCPU(p.CPU)); err != nil || p.Nice == 0 {
		return err
	}
	return setNice(0, p.Nice)
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Stop ends the process, gracefully if it can be had within its grace.
func (p *Process) Stop() {
	grace := p.program.Grace
	if grace == 0 {
		grace = 10 * time.Second
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // fails only when it has ended
	select {
	case <-p.done:
	case <-time.After(grace):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// Tail returns the end of what the process printed.
func (p *Process) Tail() string {
	data, err := os.ReadFile(p.program.Log)
	if err != nil {
		return err.Error()
	}
	const most = 4 << 10
	if len(data) > most {
		data = data[len(data)-most:]
		if _, rest, ok := bytes.Cut(data, []byte("\n")); ok {
			data = rest
		}
	}
	return fmt.Sprintf("==> end of the log of %s\n%s", p.program.Name, data)
}

// Explain adds the end of what the process printed to an error.
func (p *Process) Explain(err error) error { return fmt.Errorf("%w\n%s", err, p.Tail()) }

// Memory is what the process has in memory now.
func (p *Process) Memory() (Memory, error) {
	m, err := memoryOf(p.cmd.Process.Pid)
	if err != nil {
		err = fmt.Errorf("%s: %w", p.program.Name, err)
	}
	return m, err
}

// A Memory is what the kernel says of a process, in MiB.
type Memory struct {
	Resident  float64 // all that is in memory
	Anonymous float64 // of this what is not a page of the program's file
	Most      float64 // resident at its highest
}

// memoryOf reads proc(5). A process that has ended has no memory, and is an error.
func memoryOf(pid int) (Memory, error) {
	var m Memory
	file := fmt.Sprintf("/proc/%d/status", pid)
	data, err := os.ReadFile(file)
	if err != nil {
		return m, err
	}
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(line, ":")
		kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
		if err != nil {
			continue
		}
		switch name {
		case "VmRSS":
			m.Resident = kib / 1024
		case "RssAnon":
			m.Anonymous = kib / 1024
		case "VmHWM":
			m.Most = kib / 1024
		}
	}
	if m.Resident == 0 {
		return m, fmt.Errorf("no VmRSS in %s", file)
	}
	return m, nil
}

// clockTicks is how the kernel counts processor time on every Linux platform of Go.
const clockTicks = 100

// CPU is the processor time used so far.
func (p *Process) CPU() (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	// The name in parentheses may hold anything; utime and stime are the 14th
	// and 15th fields of the line, the 12th and 13th after it (proc(5)).
	_, rest, ok := bytes.Cut(data, []byte(") "))
	fields := strings.Fields(string(rest))
	if !ok || len(fields) < 13 {
		return 0, errors.New("unexpected /proc/<pid>/stat")
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / clockTicks, nil
}

// Output runs a command to its end in dir and returns what it prints. An error
// has what it said on stderr.
func Output(ctx context.Context, dir string, env []string, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	cmd.WaitDelay = 10 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.Bytes(), nil
}
