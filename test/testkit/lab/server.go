package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// A Server is a running gitgate process.
type Server struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
	// Log is the file with what it logged, Decisions that of its decision log.
	Log, Decisions string
	// Metrics and Health are the addresses that it serves.
	Metrics, Health string
}

// Binary builds gitgate into dir and returns its path. Flags are those of go
// build, as -race. By go run, because that keeps what it has linked, as go build does
// not, and a dozen packages ask for it.
func Binary(ctx context.Context, dir string, flags ...string) (string, error) {
	out := filepath.Join(dir, "gitgate")
	args := append(append([]string{"run", "-ldflags=-s -w", "-exec", "cp"}, flags...), "./cmd/gitgate", out)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = ModuleRoot()
	if !slices.Contains(flags, "-race") {
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is shipped
	}
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go run: %w\n%s", err, text)
	}
	return out, nil
}

// Serve starts gitgate as a process and waits until it is ready. A server that
// ran before must have been stopped.
func (l *Lab) Serve(ctx context.Context, args ...string) (*Server, error) {
	s, err := l.newServer("gitgate", "decisions.jsonl")
	if err != nil {
		return nil, err
	}
	args = append([]string{"serve", "--leader-elect=false", "--data-dir", filepath.Join(l.Dir, "data")}, args...)
	if err := l.launch(s, ReconcilerUser, args); err != nil {
		return nil, err
	}
	l.server = s
	return s, s.awaitReady(ctx)
}

// newServer makes a server that is not started. Its files are named after it.
func (l *Lab) newServer(name, decisions string) (*Server, error) {
	metrics, err := FreeAddress()
	if err != nil {
		return nil, err
	}
	health, err := FreeAddress()
	if err != nil {
		return nil, err
	}
	return &Server{
		Log: filepath.Join(l.Dir, name+".log"), Decisions: filepath.Join(l.Dir, decisions),
		Metrics: metrics, Health: health, done: make(chan struct{}),
	}, nil
}

// launch starts a server with the flags that every one has, as a user.
func (l *Lab) launch(s *Server, user string, args []string) error {
	kubeconfig := filepath.Join(l.Dir, args[0]+".kubeconfig")
	if err := l.Cluster.KubeconfigFor(kubeconfig, user, "system:masters"); err != nil {
		return err
	}
	args = append([]string{
		args[0], "--kubeconfig", kubeconfig, "--namespace", SystemNamespace,
		"--metrics-bind-address", s.Metrics, "--health-probe-bind-address", s.Health,
		"--decision-log", s.Decisions, "--allow-loopback-http",
	}, args[1:]...)
	log, err := os.OpenFile(s.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd = exec.Command(l.Gitgate, args...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = childAttributes()
	return s.start()
}

// start starts the process and waits for it from one thread, so that the kernel
// ends it with ours.
func (s *Server) start() error {
	started := make(chan error)
	go func() {
		lockThread()
		err := s.cmd.Start()
		started <- err
		if err == nil {
			s.err = s.cmd.Wait()
			close(s.done)
		}
	}()
	return <-started
}

func (s *Server) awaitReady(ctx context.Context) error {
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Health+"/readyz", nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("gitgate did not become ready: %w\n%s", ctx.Err(), s.LogTail(2<<10))
		case <-s.done:
			return fmt.Errorf("gitgate ended: %w\n%s", s.err, s.LogTail(2<<10))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// PID is the id of the process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Alive reports whether the process runs.
func (s *Server) Alive() bool {
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

// Kill ends the process at once, as a crash does.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill() // it may have ended
	<-s.done
}

// Stop asks the process to end and waits. A second call does nothing.
func (s *Server) Stop() error {
	if !s.Alive() {
		return nil
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-s.done:
		var exit *exec.ExitError
		if errors.As(s.err, &exit) && exit.ProcessState.Sys().(syscall.WaitStatus).Signaled() {
			return nil // killed by a test
		}
		return s.err
	case <-time.After(40 * time.Second):
		s.Kill()
		return errors.New("gitgate did not stop within 40 s and was killed")
	}
}

// LogTail returns the last bytes of the log.
func (s *Server) LogTail(n int) string {
	log, err := os.ReadFile(s.Log)
	if err != nil {
		return err.Error()
	}
	return string(log[max(0, len(log)-n):])
}

// Scrape returns the metrics.
func (s *Server) Scrape(ctx context.Context) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Metrics+"/metrics", nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	_, err = io.Copy(&b, io.LimitReader(resp.Body, 16<<20))
	return b.String(), err
}

// FreeAddress returns an address of this machine that nobody listens on, to listen on it
// more than once. The kernel gives its port to no outgoing connection meanwhile: it takes
// those from 32768 on by default.
func FreeAddress() (string, error) {
	const lowest, highest = 10_000, 32_767
	for {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", lowest+rand.IntN(highest-lowest)))
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			continue
		case err != nil:
			return "", err
		}
		return l.Addr().String(), l.Close()
	}
}

// Server is the gitgate that was started last.
func (l *Lab) Server() *Server { return l.server }
