// Package lock tests that the lock holds nothing legitimate up: the real gitgate
// with two replicas of its webhook, before a control plane with its real
// controllers, an attacker beside them, and faults.
//
// The mixed run makes one pass; GITGATE_LOCK_RUN=10m repeats it for that long.
package lock

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/cluster"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
)

const (
	closed = "depot" // the app, its namespace, and the first part of the names of what has none
	// patience bounds one step, on a machine that is busy.
	patience = 3 * time.Minute
	// attackers is the group that marks each request of an attack, also where it is
	// made under a stolen name.
	attackers = "attackers"
	// operator is a controller that nobody of Kubernetes knows.
	operator = "system:serviceaccount:yard:ship-operator"
)

// An installation is the lab with the lock in force.
type installation struct {
	*lab.Lab
	app    *lab.App
	images [2]string // by digest, signed
	alice  kubernetes.Interface
	// replicas of the webhook by name; whoever restarts one puts it here.
	replicas map[string]*lab.Webhook
	commits  int   // by the test of faults
	berth    int64 // that the operator wrote last
}

var started *installation

// shared starts the installation when the first test asks for it.
var shared = sync.OnceValues(func() (*installation, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	started = &installation{}
	return started, started.install(ctx)
})

var prebuilt = flag.String("gitgate", "", "the gitgate `binary` to test; empty builds it")

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard()) // what clients log is not what is tested
	code := m.Run()
	if err := stop(code != 0); err != nil {
		fmt.Fprintln(os.Stderr, "lock:", err)
		code = 1
	}
	os.Exit(code)
}

func stop(failed bool) error {
	if started == nil || started.Lab == nil {
		return nil
	}
	if s := started.Server(); failed && s != nil {
		fmt.Fprintf(os.Stderr, "gitgate's log ends:\n%s\n", s.LogTail(8<<10))
	}
	return errors.Join(started.Close(), os.RemoveAll(started.Dir))
}

// begin returns the installation.
func begin(t *testing.T) *installation {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a control plane")
	}
	in, err := shared()
	if err != nil {
		t.Fatalf("no installation: %v", err)
	}
	return in
}

func (in *installation) install(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "gitgate-mixed-")
	if err != nil {
		return err
	}
	binary := *prebuilt
	if binary == "" {
		if binary, err = lab.Binary(ctx, dir); err != nil {
			return err
		}
	}
	if in.Lab, err = lab.Start(ctx, lab.Options{Gitgate: binary, Dir: dir, Cluster: cluster.Options{
		Nodes: 1, ControllerManagerArgs: []string{"--horizontal-pod-autoscaler-sync-period=2s"},
	}}); err != nil {
		return err
	}
	if in.alice, err = kubernetes.NewForConfig(in.quiet(in.Cluster.ConfigFor(cluster.Alice))); err != nil {
		return err
	}
	for i := range in.images {
		image, err := in.SignedImage(fmt.Sprintf("acme/web:1.%d", i))
		if err != nil {
			return err
		}
		in.images[i] = image.Pinned()
	}
	// What an attacker would like to have a token of.
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: lab.SystemNamespace, Name: "gitgate-reconciler"}}
	if err := in.Client.Create(ctx, account); err != nil {
		return err
	}
	if _, err := in.Serve(ctx, lab.LockArgs()...); err != nil {
		return err
	}
	in.replicas = map[string]*lab.Webhook{}
	for _, replica := range []string{"one", "two"} {
		w, err := in.ServeWebhook(ctx, replica, "--log-allowed")
		if err != nil {
			return err
		}
		in.replicas[replica] = w
	}
	return in.lock(ctx)
}

// first is the version that everything begins with and goes back to.
func (in *installation) first() version { return version{"1", in.images[0], 2} }

// lock has a first release applied under a lock, and waits until it is in force.
func (in *installation) lock(ctx context.Context) (err error) {
	if in.app, err = in.NewApp(ctx, closed, func(_ *v1alpha1.TrustPolicy, s *v1alpha1.GitSync) {
		s.Spec.Lock = &v1alpha1.Lock{
			Mode: v1alpha1.ModeEnforce, Namespaces: []string{closed},
			Delegations: []v1alpha1.Delegation{{
				Writer: operator, Paths: []string{"/spec/berth", "/metadata/annotations"},
				Target: &v1alpha1.DelegationTarget{Group: "depot.example.com", Kind: "Ship"},
			}},
		}
	}); err != nil {
		return err
	}
	if err := in.release(ctx, content(in.first())); err != nil {
		return err
	}
	probe := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: closed, Name: "attack-probe"}}
	eve, err := in.attacker()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		_, err := eve.CoreV1().ConfigMaps(closed).Create(ctx, probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return apierrors.IsForbidden(err), nil
	})
}

// release commits files and waits until they are applied.
func (in *installation) release(ctx context.Context, files map[string]string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	hash, err := in.app.Commit(gitrepo.Change{Files: files})
	if err != nil {
		return err
	}
	_, err = in.app.Accepted(ctx, hash)
	return err
}

// quiet has a client wait for nobody, and not print what it is warned of.
func (in *installation) quiet(c *rest.Config) *rest.Config {
	c.WarningHandler = rest.NoWarnings{}
	c.Timeout = 45 * time.Second
	return c
}

// attacker is above authorization and marked as an attacker.
func (in *installation) attacker() (kubernetes.Interface, error) {
	return kubernetes.NewForConfig(in.quiet(in.Cluster.ConfigFor("eve", "system:masters", attackers)))
}

// thief is the attacker under a stolen name.
func (in *installation) thief(user string, groups ...string) (kubernetes.Interface, error) {
	c := in.quiet(in.Cluster.ConfigFor("eve", "system:masters", attackers))
	c.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: append(groups, "system:masters", attackers)}
	return kubernetes.NewForConfig(c)
}

// as is somebody who is who they say.
func (in *installation) as(t *testing.T, user string) *rest.Config {
	t.Helper()
	return in.quiet(in.Cluster.ConfigFor(user, "system:masters"))
}

func must(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// eventually waits until something holds. An error is what it lacks.
func eventually(t *testing.T, what string, holds func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		err := holds(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waiting for %s: %v", what, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// get reads an object of the closed namespace.
func (in *installation) get(ctx context.Context, name string, o client.Object) error {
	return in.Client.Get(ctx, client.ObjectKey{Namespace: closed, Name: name}, o)
}
