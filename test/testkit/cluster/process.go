package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
)

// A Process names one program of a cluster.
type Process string

// The processes of a cluster. Nodes have one each, see [Node].
const (
	Etcd              Process = "etcd"
	APIServer         Process = "kube-apiserver"
	ControllerManager Process = "kube-controller-manager"
	Scheduler         Process = "kube-scheduler"
)

// Node names the process that simulates the i-th node, counted from zero. It
// acts for the node of the same name.
func Node(i int) Process { return Process(fmt.Sprintf("node-%d", i)) }

// ErrNotRunning means that a process is not part of the cluster or has ended.
var ErrNotRunning = errors.New("cluster: process is not running")

// A command is what it takes to start a process, any number of times.
type command struct {
	name Process
	path string
	args []string
	dir  string // working directory, home and place of the log
}

func (c command) logPath() string { return filepath.Join(c.dir, string(c.name)+".log") }

// A process is one run of a command.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has been waited for
	err  error         // what Wait returned; read it after done
}

// start runs c and returns once the program has been executed.
func (c command) start() (*process, error) {
	log, err := os.OpenFile(c.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own copy
	cmd := exec.Command(c.path, c.args...)
	cmd.Dir = c.dir
	// The caller's proxies and feature switches are not the cluster's.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + c.dir, "TMPDIR=" + c.dir}
	cmd.Stdout, cmd.Stderr = log, log
	p, err := startTied(cmd)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", c.name, err)
	}
	return p, nil
}

// startTied starts cmd so that it dies with this program.
func startTied(cmd *exec.Cmd) (*process, error) {
	cmd.SysProcAttr = childAttr()
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// The kernel watches the thread that forked, not the program: keep the
		// thread for as long as the child lives.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		p.err = cmd.Wait()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// exited reports whether the process has ended.
func (p *process) exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// kill ends the process by SIGKILL and waits until it is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // fails only when it has ended already
	<-p.done
}

// killGroup is kill for the process and all that it has started.
func (p *process) killGroup() {
	if !p.exited() {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // as above
	}
	<-p.done
}

// tail returns up to the last n bytes of a file, whole lines only.
func tail(path string, n int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return "", err
	}
	from := max(0, size-n)
	data := make([]byte, size-from)
	if _, err := f.ReadAt(data, from); err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if _, rest, ok := bytes.Cut(data, []byte("\n")); ok && from > 0 {
		data = rest
	}
	return string(data), nil
}
