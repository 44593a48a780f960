package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// startLimit bounds a start in [New] once the binaries are there. It is far
// more than an idle machine needs.
const startLimit = 3 * time.Minute

// A Cluster is a running control plane. Its methods may be called from several
// goroutines.
type Cluster struct {
	opts Options
	bin  Bin
	dir  *runDir
	pki  *pki

	etcdPort, peerPort, apiPort *port

	admin    *rest.Config
	client   kubernetes.Interface // as admin
	etcdTLS  *tls.Config
	etcdHTTP *http.Client

	mu       sync.Mutex // guards what follows
	commands []command  // in the order of starting
	running  map[Process]*process
	stopped  bool
}

// New starts a cluster that stops when the test ends. It fails the test if
// that does not work, and shows the ends of the logs of a failed test.
func New(t testing.TB, o Options) *Cluster {
	t.Helper()
	if o.Progress == nil {
		o.Progress = os.Stderr
	}
	full, err := o.complete()
	if err != nil {
		t.Fatal(err)
	}
	bin, err := ensure(t.Context(), full.tools(), o.Progress)
	if err != nil {
		t.Fatalf("control plane binaries: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	c, err := startWith(ctx, full, bin)
	if err != nil {
		t.Fatalf("starting a control plane: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.Logs())
		}
		if err := c.Stop(); err != nil {
			t.Errorf("stopping the control plane: %v", err)
		}
	})
	return c
}

// Start starts a cluster and returns when it is ready: the API server serves,
// controllers work, every node accepts Pods. ctx bounds the start only; end
// the cluster with [Cluster.Stop].
func Start(ctx context.Context, o Options) (*Cluster, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	bin, err := ensure(ctx, o.tools(), o.Progress)
	if err != nil {
		return nil, err
	}
	return startWith(ctx, o, bin)
}

// startWith starts a cluster of completed options.
func startWith(ctx context.Context, o Options, bin Bin) (*Cluster, error) {
	dir, err := newRunDir(ctx, o.Dir)
	if err != nil {
		return nil, err
	}
	c := &Cluster{opts: o, bin: bin, dir: dir, running: map[Process]*process{}}
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("%w\n%s", err, c.Logs()), c.Stop())
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context) error {
	if err := c.prepare(); err != nil {
		return err
	}
	if err := c.launch(c.etcdCommand()); err != nil {
		return err
	}
	if err := c.waitEtcd(ctx); err != nil {
		return err
	}
	if err := c.launchFrom(c.apiServerCommand); err != nil {
		return err
	}
	if err := c.waitAPI(ctx); err != nil {
		return err
	}
	if err := c.createAccess(ctx); err != nil {
		return err
	}
	return c.startWorkers(ctx)
}

// prepare makes everything that exists before the first process.
func (c *Cluster) prepare() error {
	var err error
	if c.pki, err = newPKI(c.dir.path); err != nil {
		return err
	}
	for _, p := range []**port{&c.etcdPort, &c.peerPort, &c.apiPort} {
		if *p, err = reservePort(); err != nil {
			return err
		}
	}
	if c.etcdTLS, err = etcdClientTLS(c.pki.ca); err != nil {
		return err
	}
	c.etcdHTTP = &http.Client{Transport: &http.Transport{TLSClientConfig: c.etcdTLS.Clone()}}
	if c.admin, err = c.configFor("kubernetes-admin", mastersGroup); err != nil {
		return err
	}
	if c.client, err = kubernetes.NewForConfig(c.admin); err != nil {
		return err
	}
	return writeKubeconfig(c.Kubeconfig(), "kubernetes-admin", c.admin)
}

// startWorkers starts what the options ask for beyond the API server.
func (c *Cluster) startWorkers(ctx context.Context) error {
	if c.opts.ControllerManager {
		if err := c.launchFrom(c.controllerManagerCommand); err != nil {
			return err
		}
	}
	if c.opts.Nodes > 0 {
		if err := c.launchFrom(c.schedulerCommand); err != nil {
			return err
		}
	}
	for i := range c.opts.Nodes {
		if err := c.createNode(ctx, i); err != nil {
			return err
		}
		if err := c.launchFrom(func() (command, error) { return c.nodeCommand(i) }); err != nil {
			return err
		}
	}
	return c.waitWorkers(ctx)
}

func (c *Cluster) launchFrom(prepare func() (command, error)) error {
	cmd, err := prepare()
	if err != nil {
		return err
	}
	return c.launch(cmd)
}

// launch starts a process that was not part of the cluster so far.
func (c *Cluster) launch(cmd command) error {
	p, err := cmd.start()
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.commands = append(c.commands, cmd)
	c.running[cmd.name] = p
	return nil
}

// Stop kills all processes and removes the cluster's directory. It may be
// called more than once.
func (c *Cluster) Stop() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return nil
	}
	c.stopped = true
	// In reverse, so that nobody sees the server behind it vanish. The state is
	// thrown away: there is nothing to end gracefully.
	for _, cmd := range slices.Backward(c.commands) {
		c.running[cmd.name].kill()
	}
	for _, p := range []*port{c.etcdPort, c.peerPort, c.apiPort} {
		if p != nil {
			p.release()
		}
	}
	if c.etcdHTTP != nil {
		c.etcdHTTP.CloseIdleConnections()
	}
	return c.dir.remove()
}

// Logs returns the end of what every process has printed.
func (c *Cluster) Logs() string {
	c.mu.Lock()
	commands := slices.Clone(c.commands)
	c.mu.Unlock()
	var b strings.Builder
	for _, cmd := range commands {
		text, err := tail(cmd.logPath(), 4<<10)
		if err != nil {
			text = err.Error()
		}
		fmt.Fprintf(&b, "==> %s\n%s\n", cmd.name, strings.TrimSuffix(text, "\n"))
	}
	return b.String()
}

// LogPath returns the file with all that a process has printed. It is gone
// when the cluster stops.
func (c *Cluster) LogPath(p Process) string { return c.command(p, "", nil).logPath() }

// Client returns a client for [Cluster.RESTConfig].
func (c *Cluster) Client() kubernetes.Interface { return c.client }
