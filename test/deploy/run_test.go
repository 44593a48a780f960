package deploy

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"gitgate.dev/gitgate/test/testkit/lab"
)

// built is the binary that the tests of this package share.
var built struct {
	sync.Once
	dir, path string
}

func binary(t *testing.T) string {
	t.Helper()
	built.Do(func() {
		var err error
		if built.dir, err = os.MkdirTemp("", "gitgate-deploy-"); err != nil {
			t.Fatal(err)
		}
		if built.path, err = lab.Binary(context.Background(), built.dir); err != nil {
			t.Fatal(err)
		}
	})
	if built.path == "" {
		t.Fatal("the binary could not be built")
	}
	return built.path
}

// A process is the container of a Deployment, run on this machine.
type process struct {
	log    string
	health string
	cmd    *exec.Cmd
	done   chan struct{}
}

// run runs the container of a Deployment as it says: its command line and its
// environment, with a token of its ServiceAccount. What differs is where things are:
// addresses, the directory of data, and how the API server is found.
func run(t *testing.T, l *lab.Lab, d *appsv1.Deployment, extra ...string) *process {
	t.Helper()
	dir := t.TempDir()
	container := d.Spec.Template.Spec.Containers[0]
	if len(container.Command) != 1 || container.Command[0] != "gitgate" {
		t.Fatalf("%s runs %q", d.Name, container.Command)
	}
	p := &process{log: filepath.Join(dir, "log"), health: freeAddress(t), done: make(chan struct{})}
	args := append(container.Args[:len(container.Args):len(container.Args)],
		"--kubeconfig", kubeconfigFor(t, l, d.Spec.Template.Spec.ServiceAccountName),
		"--data-dir", filepath.Join(dir, "data"), // the only place that may be written
		"--metrics-bind-address", freeAddress(t), "--health-probe-bind-address", p.health,
		"--allow-loopback-http")
	p.cmd = exec.CommandContext(t.Context(), l.Gitgate, append(args, extra...)...)
	p.cmd.Dir = "/"
	p.cmd.Env = []string{"HOME=/nonexistent", "TMPDIR=/nonexistent"}
	for _, e := range container.Env {
		p.cmd.Env = append(p.cmd.Env, e.Name+"="+e.Value)
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(os.Interrupt) }
	p.cmd.WaitDelay = 20 * time.Second
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // it is interrupted at the end
		close(p.done)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Signal(os.Interrupt) // it may have ended
		<-p.done
		if t.Failed() {
			t.Logf("%s logged:\n%s", d.Name, p.tail())
		}
	})
	return p
}

func (p *process) tail() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-8<<10):])
}

// awaitReady asks as the readiness probe of the Deployment does.
func (p *process) awaitReady(t *testing.T, d *appsv1.Deployment) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), stepLimit)
	defer cancel()
	url := "http://" + p.health + d.Spec.Template.Spec.Containers[0].ReadinessProbe.HTTPGet.Path
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s does not become ready\n%s", d.Name, p.tail())
		case <-p.done:
			t.Fatalf("%s ended\n%s", d.Name, p.tail())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// kubeconfigFor writes a kubeconfig with a token of one of our accounts.
func kubeconfigFor(t *testing.T, l *lab.Lab, account string) string {
	t.Helper()
	admin := l.Cluster.RESTConfig()
	data, err := clientcmd.Write(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"c": {Server: admin.Host, CertificateAuthorityData: admin.CAData}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"u": {Token: token(t, admin, account)}},
		Contexts:       map[string]*clientcmdapi.Context{"x": {Cluster: "c", AuthInfo: "u"}},
		CurrentContext: "x",
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), account+".kubeconfig")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := lab.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// refusals lists the requests of an account that the API server refused for want of
// rights, each once.
func refusals(t *testing.T, l *lab.Lab, account string) []string {
	t.Helper()
	events, err := l.Cluster.AuditEvents()
	if err != nil {
		t.Fatal(err)
	}
	seen, requests := map[string]bool{}, 0
	var out []string
	for _, e := range events {
		if e.User.Username != userOf(system, account) {
			continue
		}
		requests++
		r := e.ObjectRef
		what := strings.TrimSpace(fmt.Sprintf("%s %s.%s/%s %s/%s", e.Verb, r.Resource, r.APIGroup, r.Subresource, r.Namespace, r.Name))
		if (e.ResponseStatus.Code == http.StatusForbidden || e.ResponseStatus.Code == http.StatusUnauthorized) && !seen[what] {
			seen[what] = true
			out = append(out, fmt.Sprintf("%s: %d", what, e.ResponseStatus.Code))
		}
	}
	if requests == 0 {
		t.Errorf("the audit log shows no request of %s", account)
	}
	return out
}
