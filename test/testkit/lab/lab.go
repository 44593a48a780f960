// Package lab puts a whole installation together from real parts on this machine:
// a control plane, a Git server, a registry, people with keys, and gitgate itself
// as the process that its users run. End-to-end tests, the attacks and the demo
// are built on it.
//
// Nothing here depends on the testing package; [New] adds what tests need.
package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/cluster"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/gitserver"
	"gitgate.dev/gitgate/test/testkit/registry"
	"gitgate.dev/gitgate/test/testkit/sopskit"
)

// Names that every lab uses.
const (
	SystemNamespace = "gitgate-system"
	Namespace       = "shop" // what the GitSync applies into
	SyncName        = "shop"
	RepoName        = "shop.git"
	Branch          = "main"
	TrustName       = "production"
	PolicyName      = "baseline"
	GitSecret       = "git-auth"
	KeySecret       = "sops-keys"
	username        = "gitgate"
)

// Options say what lab to build. The zero value of each field is a default.
type Options struct {
	// Gitgate is the binary to run. It is mandatory for [Lab.Serve].
	Gitgate string
	// Cluster says what control plane to start. Nodes are simulated.
	Cluster cluster.Options
	// Dir is an empty directory for everything; a temporary one by default.
	Dir string
	// Progress, when set, is told of each step.
	Progress io.Writer
}

// People are those who sign.
type People struct {
	// Alice is trusted, with an OpenPGP key.
	Alice *gitrepo.OpenPGPKey
	// Bob is trusted, with an SSH key.
	Bob *gitrepo.SSHKey
	// Mallory is not.
	Mallory *gitrepo.OpenPGPKey
}

// A Lab is a running installation. Close it.
type Lab struct {
	Options
	People
	Cluster  *cluster.Cluster
	Git      *gitserver.Server
	Repo     *gitrepo.Repo
	Root     string // the commit from which history counts
	Registry *registry.Registry
	// Release signs images that are trusted.
	Release *registry.Key
	// Age reads the encrypted secrets.
	Age *sopskit.Age
	// Client is cluster-admin.
	Client client.Client

	password string
	ownDir   bool
	server   *Server
	webhooks []*Webhook
	front    *front // before the webhooks
}

// Scheme knows every kind that a lab uses.
func Scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme, apiextensionsv1.AddToScheme} {
		if err := add(s); err != nil {
			panic(err) // a programming error
		}
	}
	return s
}

// Start builds a lab: everything but gitgate runs when it returns.
func Start(ctx context.Context, o Options) (l *Lab, err error) {
	ctrllog.SetLogger(logr.Discard()) // our own client has nothing to say
	l = &Lab{Options: o, password: "canary-git-password"}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	if l.Dir == "" {
		if l.Dir, err = os.MkdirTemp("", "gitgate-lab-"); err != nil {
			return l, err
		}
		l.ownDir = true
	}
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"making keys for people, images and secrets", l.makeKeys},
		{"starting a Git server and a registry", l.startServers},
		{"starting the control plane", l.startCluster},
		{"installing the CRDs", l.installCRDs},
		{"creating namespaces, trust and policies", l.configure},
	} {
		l.say("%s", step.what)
		if err := step.do(ctx); err != nil {
			return l, fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return l, nil
}

// New starts a lab for a test and closes it at the end.
func New(t testing.TB, o Options) *Lab {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	l, err := Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() && l.server != nil {
			t.Logf("gitgate's log ends:\n%s", l.server.LogTail(8<<10))
		}
		for _, w := range l.webhooks {
			if t.Failed() {
				t.Logf("the log of webhook %s ends:\n%s", w.Replica, w.LogTail(8<<10))
			}
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// Close stops everything.
func (l *Lab) Close() error {
	var errs []error
	if l.server != nil {
		errs = append(errs, l.server.Stop())
	}
	for _, w := range l.webhooks {
		errs = append(errs, w.Resume(), w.Stop())
	}
	if l.front != nil {
		errs = append(errs, l.front.close())
	}
	if l.Cluster != nil {
		errs = append(errs, l.Cluster.Stop())
	}
	if l.Git != nil {
		errs = append(errs, l.Git.Close())
	}
	if l.Registry != nil {
		l.Registry.Close()
	}
	if l.ownDir {
		errs = append(errs, os.RemoveAll(l.Dir))
	}
	return errors.Join(errs...)
}

func (l *Lab) say(format string, args ...any) {
	if l.Progress != nil {
		fmt.Fprintf(l.Progress, format+"\n", args...)
	}
}

func (l *Lab) makeKeys(context.Context) (err error) {
	if l.Alice, err = gitrepo.NewOpenPGP(gitrepo.OpenPGPOptions{Name: "Alice", Email: "alice@example.com"}); err != nil {
		return err
	}
	if l.Bob, err = gitrepo.NewSSH("Bob", "bob@example.com", gitrepo.SSHEd25519); err != nil {
		return err
	}
	if l.Mallory, err = gitrepo.NewOpenPGP(gitrepo.OpenPGPOptions{Name: "Mallory", Email: "mallory@example.com"}); err != nil {
		return err
	}
	if l.Release, err = registry.NewKey(registry.ECDSAP256); err != nil {
		return err
	}
	l.Age, err = sopskit.NewAge()
	return err
}

func (l *Lab) startServers(context.Context) (err error) {
	l.Registry = registry.Start(registry.Options{})
	l.Git, err = gitserver.Start(gitserver.Options{
		Root: filepath.Join(l.Dir, "git"), Username: username, Password: l.password, TLS: true, AllowPush: true,
	})
	if err != nil {
		return err
	}
	dir, err := l.Git.CreateRepo(RepoName)
	if err != nil {
		return err
	}
	if l.Repo, err = gitrepo.InitBare(dir); err != nil {
		return err
	}
	root, err := l.Repo.Commit(gitrepo.Change{
		Files: map[string]string{"README.md": "# shop\n"}, Message: "start of history", Author: l.Alice.Person(), Sign: l.Alice,
	})
	l.Root = root.String()
	return err
}

func (l *Lab) startCluster(ctx context.Context) (err error) {
	o := l.Options.Cluster
	if o.Progress == nil {
		o.Progress = l.Progress
	}
	if l.Cluster, err = cluster.Start(ctx, o); err != nil {
		return err
	}
	l.Client, err = client.New(l.Cluster.RESTConfig(), client.Options{Scheme: Scheme()})
	return err
}

// EnsureNamespace creates a namespace.
func (l *Lab) EnsureNamespace(ctx context.Context, name string) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	return client.IgnoreAlreadyExists(l.Client.Create(ctx, ns))
}
