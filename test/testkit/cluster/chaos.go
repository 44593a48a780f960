package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
)

// Signal sends a signal to a process: SIGSTOP and SIGCONT to freeze and thaw
// it, SIGKILL to crash it. It wraps [ErrNotRunning] if there is nobody to
// signal.
func (c *Cluster) Signal(name Process, sig os.Signal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.running[name]
	if p == nil || p.exited() {
		return fmt.Errorf("%w: %s", ErrNotRunning, name)
	}
	err := p.cmd.Process.Signal(sig)
	if errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("%w: %s", ErrNotRunning, name)
	}
	return err
}

// Exited returns a channel that is closed when the process, in its present
// run, has ended. It is closed already if the cluster has no such process.
func (c *Cluster) Exited(name Process) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.running[name]; p != nil {
		return p.done
	}
	none := make(chan struct{})
	close(none)
	return none
}

// Processes lists the processes of the cluster in the order they were started,
// those included that have ended since.
func (c *Cluster) Processes() []Process {
	c.mu.Lock()
	defer c.mu.Unlock()
	names := make([]Process, 0, len(c.commands))
	for _, cmd := range c.commands {
		names = append(names, cmd.name)
	}
	return names
}

// PID returns the process id, or 0 if the process is not running.
func (c *Cluster) PID(name Process) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.running[name]; p != nil && !p.exited() {
		return p.cmd.Process.Pid
	}
	return 0
}

// Restart crashes a process with SIGKILL, if it still runs, and starts it
// again with the arguments, addresses and log it had. For etcd and
// kube-apiserver it waits until they serve again.
//
// kube-controller-manager and kube-scheduler cannot give back their leader
// leases when they are killed: the new one idles for up to 15 seconds, unless
// ControllerManagerArgs turn leader election off.
func (c *Cluster) Restart(ctx context.Context, name Process) error {
	if err := c.restart(name); err != nil {
		return err
	}
	switch name {
	case Etcd:
		return c.waitEtcd(ctx)
	case APIServer:
		return c.waitAPI(ctx)
	}
	return nil
}

// RestartAPIServer is Restart for kube-apiserver.
func (c *Cluster) RestartAPIServer(ctx context.Context) error { return c.Restart(ctx, APIServer) }

func (c *Cluster) restart(name Process) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.commands, func(cmd command) bool { return cmd.name == name })
	if c.stopped || i < 0 {
		return fmt.Errorf("%w: %s", ErrNotRunning, name)
	}
	c.running[name].kill()
	p, err := c.commands[i].start()
	if err != nil {
		return err
	}
	c.running[name] = p
	return nil
}
