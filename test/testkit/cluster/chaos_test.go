package cluster_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gitgate.dev/gitgate/test/testkit/cluster"
)

// childEnv makes the test binary start a cluster in the directory that it
// names and then wait to be killed.
const childEnv = "CLUSTER_TEST_CHILD_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		os.Exit(child(dir))
	}
	os.Exit(m.Run())
}

// child prints the directory of its cluster and one process id a line, then an
// empty line, and sleeps.
func child(dir string) int {
	c, err := cluster.Start(context.Background(), cluster.Options{ControllerManager: true, Dir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(filepath.Dir(c.Kubeconfig()))
	for _, p := range c.Processes() {
		fmt.Println(c.PID(p))
	}
	fmt.Println()
	time.Sleep(time.Hour)
	return 0
}

// TestKilled kills a program with a cluster: its processes must die with it,
// and the next cluster must remove its directory.
func TestKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for s := bufio.NewScanner(out); s.Scan() && s.Text() != ""; {
		lines = append(lines, s.Text())
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if len(lines) != 4 {
		t.Fatalf("child said %q, want a directory and three processes", lines)
	}
	runDir, pids := lines[0], lines[1:]
	eventually(t, "processes gone", func(context.Context) bool {
		for _, pid := range pids {
			if alive(pid) {
				return false
			}
		}
		return true
	})
	if _, err := os.Stat(runDir); err != nil {
		t.Fatalf("who removed the directory already? %v", err)
	}
	_ = cluster.New(t, cluster.Options{Dir: dir})
	if _, err := os.Stat(runDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("directory of the killed program: %v, want it to be gone", err)
	}
}

// alive reports whether a process exists that has not become a zombie.
func alive(pid string) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

func TestStopRemovesDirectory(t *testing.T) {
	t.Parallel()
	c, err := cluster.Start(t.Context(), cluster.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Dir(c.Kubeconfig())); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("directory: %v, want it to be gone", err)
	}
	if err := c.Restart(t.Context(), cluster.Etcd); !errors.Is(err, cluster.ErrNotRunning) {
		t.Errorf("restart after stop: %v", err)
	}
}

func TestChaos(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, cluster.Options{})
	get := func(timeout time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		_, err := c.Client().CoreV1().Namespaces().Get(ctx, "kept", metav1.GetOptions{})
		return err
	}
	if err := c.EnsureNamespace(t.Context(), "kept"); err != nil {
		t.Fatal(err)
	}

	if err := c.Signal(cluster.APIServer, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	// Each of its threads stops when the kernel comes to it: one may answer once more.
	for deadline := time.Now().Add(patience); get(time.Second) == nil; {
		if time.Now().After(deadline) {
			t.Fatal("a frozen API server answers")
		}
	}
	if err := c.Signal(cluster.APIServer, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := get(patience); err != nil {
		t.Errorf("after thawing: %v", err)
	}

	if err := c.Signal(cluster.Etcd, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-c.Exited(cluster.Etcd)
	if err := c.Signal(cluster.Etcd, syscall.SIGCONT); !errors.Is(err, cluster.ErrNotRunning) {
		t.Errorf("signal to a dead process: %v, want %v", err, cluster.ErrNotRunning)
	}
	if err := c.Restart(t.Context(), cluster.Etcd); err != nil {
		t.Fatal(err)
	}
	if err := c.RestartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := get(patience); err != nil {
		t.Errorf("after restarting: %v", err)
	}
}
