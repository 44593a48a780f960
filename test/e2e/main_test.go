// Package e2e tests gitgate as its users run it: the real binary against a real
// control plane, Git server and registry.
package e2e

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/cluster"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
)

// shared is the installation that the tests of this package share; each has an
// app of its own in it.
var shared *lab.Lab

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "gitgate-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary, err := lab.Binary(ctx, dir, "-race")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	shared, err = lab.Start(ctx, lab.Options{
		Gitgate: binary, Cluster: cluster.Options{Nodes: 1, AuditLevel: "Metadata"},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer shared.Close()
	if _, err := shared.Serve(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if code != 0 {
		fmt.Fprintf(os.Stderr, "gitgate's log ends:\n%s\n", shared.Server().LogTail(8<<10))
	}
	return code
}

// testContext bounds what one step may take, on a busy machine too.
func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// An app is a lab.App whose failures end the test.
type app struct {
	*lab.App
	t   *testing.T
	ctx context.Context
}

func newApp(t *testing.T, name string, edit ...func(*v1alpha1.TrustPolicy, *v1alpha1.GitSync)) *app {
	t.Helper()
	ctx := testContext(t)
	a, err := shared.NewApp(ctx, name, edit...)
	if err != nil {
		t.Fatal(err)
	}
	return &app{App: a, t: t, ctx: ctx}
}

// push commits files by path below deploy; an empty content deletes.
func (a *app) push(message string, files map[string]string) plumbing.Hash {
	a.t.Helper()
	c := gitrepo.Change{Message: message, Files: map[string]string{}}
	for name, content := range files {
		if content == "" {
			c.Delete = append(c.Delete, "deploy/"+name)
		} else {
			c.Files["deploy/"+name] = content
		}
	}
	h, err := a.Commit(c)
	if err != nil {
		a.t.Fatal(err)
	}
	return h
}

func (a *app) accepted(h plumbing.Hash) *v1alpha1.GitSync {
	a.t.Helper()
	s, err := a.Accepted(a.ctx, h)
	if err != nil {
		a.t.Fatal(err)
	}
	return s
}

// refused returns the first finding.
func (a *app) refused(h plumbing.Hash) v1alpha1.FindingStatus {
	a.t.Helper()
	s, err := a.Refused(a.ctx, h)
	if err != nil {
		a.t.Fatal(err)
	}
	return s.Status.LastVerdict.Findings[0]
}

func (a *app) await(what string, holds func(*v1alpha1.GitSync) bool) *v1alpha1.GitSync {
	a.t.Helper()
	s, err := a.Await(a.ctx, a.Key, holds)
	if err != nil {
		a.t.Fatalf("%s: %v", what, err)
	}
	return s
}

func (a *app) update(edit func(*v1alpha1.GitSync)) {
	a.t.Helper()
	if err := a.Update(a.ctx, edit); err != nil {
		a.t.Fatal(err)
	}
}

func (a *app) get(o client.Object, name string) error {
	return a.Client.Get(a.ctx, client.ObjectKey{Namespace: a.Namespace, Name: name}, o)
}

// gone waits until an object does not exist.
func (a *app) gone(o client.Object, name string) {
	a.t.Helper()
	eventually(a.t, a.ctx, name+" to be gone", func() bool { return apierrors.IsNotFound(a.get(o, name)) })
}

func eventually(t *testing.T, ctx context.Context, what string, holds func() bool) {
	t.Helper()
	err := wait.PollUntilContextCancel(ctx, 20*time.Millisecond, true, func(context.Context) (bool, error) { return holds(), nil })
	if err != nil {
		t.Fatalf("waiting for %s: %v", what, err)
	}
}
