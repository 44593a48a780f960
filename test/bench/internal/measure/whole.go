package measure

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// A Command is a program that is run from its start to its end.
type Command struct {
	Name string   `json:"name"` // in messages
	Path string   `json:"path"`
	Args []string `json:"args"`
	Dir  string   `json:"dir"`
	// Stdout is the file that takes what it prints. What it says on stderr goes to
	// the same name with .err.
	Stdout string `json:"stdout"`
}

// A Usage is what a whole run of a program cost.
type Usage struct {
	Seconds float64 `json:"seconds"` // of the clock
	CPU     float64 `json:"cpu"`     // seconds of processors
	// Peak is the resident memory at its highest, in MiB, as wait4(2) tells it.
	Peak float64 `json:"peak"`
	// Anonymous is the same without the pages of files, the program's own being
	// most of them. The kernel keeps no record of it: it is the highest of what was
	// seen every few milliseconds.
	Anonymous float64 `json:"anonymous"`
	Exit      int     `json:"exit"`
}

// sampling is how often Anonymous is looked at.
const sampling = 4 * time.Millisecond

// Run runs a command in a small process that does nothing else: the kernel counts
// the memory of who starts a program as the program's own until it runs. launcher is
// a program, with its first arguments, that calls [Launch].
func (c Command) Run(ctx context.Context, launcher ...string) (Usage, error) {
	var u Usage
	order, err := json.Marshal(c)
	if err != nil {
		return u, err
	}
	cmd := exec.CommandContext(ctx, launcher[0], launcher[1:]...)
	cmd.Stdin = bytes.NewReader(order)
	cmd.WaitDelay = 10 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return u, fmt.Errorf("%s: %w: %s", c.Name, errors.Join(context.Cause(ctx), err), bytes.TrimSpace(stderr.Bytes()))
	}
	return u, json.Unmarshal(stdout.Bytes(), &u)
}

// Launch runs the command that it reads from in, with a PATH, a HOME in the
// directory of its output and nothing else in its environment, and writes what it
// cost to out. How the command ends is part of the answer, and no error.
func Launch(in io.Reader, out io.Writer) error {
	var c Command
	if err := json.NewDecoder(in).Decode(&c); err != nil {
		return err
	}
	stdout, err := os.Create(c.Stdout)
	if err != nil {
		return err
	}
	defer stdout.Close()
	stderr, err := os.Create(c.Stdout + ".err")
	if err != nil {
		return err
	}
	defer stderr.Close()
	cmd := exec.Command(c.Path, c.Args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.Dir, stdout, stderr
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Dir(c.Stdout)}
	cmd.SysProcAttr = childAttr()
	runtime.LockOSThread() // the kernel ends the child when this thread ends
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	seen := watch(cmd.Process.Pid)
	_ = cmd.Wait() // its exit code tells
	u := Usage{Seconds: time.Since(start).Seconds(), Exit: cmd.ProcessState.ExitCode()}
	u.CPU = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	u.Anonymous, u.Peak = seen()
	if peak := maxResident(cmd.ProcessState); peak > ownPeak() {
		u.Peak = peak // else it may be ours
	}
	return json.NewEncoder(out).Encode(u)
}

// watch looks at the memory of a process until the answer is asked for, which is
// after its end.
func watch(pid int) (highest func() (anonymous, peak float64)) {
	var anonymous, peak float64
	ended, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(sampling)
		defer tick.Stop()
		for {
			if m, err := memoryOf(pid); err == nil {
				anonymous, peak = max(anonymous, m.Anonymous), max(peak, m.Most)
			}
			select {
			case <-ended:
				return
			case <-tick.C:
			}
		}
	}()
	return func() (float64, float64) {
		close(ended)
		<-stopped
		return anonymous, peak
	}
}

// maxResident is ru_maxrss in MiB; Linux counts in KiB.
func maxResident(s *os.ProcessState) float64 {
	usage, ok := s.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	return float64(usage.Maxrss) / 1024
}

// ownPeak is how much memory this process has had.
func ownPeak() float64 {
	m, err := memoryOf(os.Getpid())
	if err != nil {
		return 0
	}
	return m.Most
}
