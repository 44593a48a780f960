package lock_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/cluster"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
	"gitgate.dev/gitgate/test/testkit/registry"
)

const (
	locked = "harbor" // the app, its namespace, and the first part of the names of what has none
	free   = "meadow" // its twin
	// canary is a secret that must be seen nowhere but in the Secrets that hold it.
	canary = "correct-horse-battery-staple"
	// webhookName is that of the ValidatingWebhookConfiguration.
	webhookName = "gitgate"
	// patience bounds one step of gitgate, on a machine that is busy.
	patience = 2 * time.Minute
)

// An installation is the lab with the lock in force.
type installation struct {
	*lab.Lab
	harbor, meadow *lab.App
	replicas       []*lab.Webhook
	web            registry.Image // signed, in the release
	releases       int
	planted        int // objects that were written into etcd

	// Those who attack.
	alice      *caller // cluster-admin
	reconciler *caller // with the token of the reconciler
}

var started *installation

// shared starts the installation when the first test asks for it.
var shared = sync.OnceValues(func() (*installation, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	started = &installation{}
	return started, started.install(ctx)
})

var prebuilt = flag.String("gitgate", "", "the gitgate `binary` to attack; empty builds it")

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard()) // what clients log is not what is tested
	code := m.Run()
	if err := stop(); err != nil {
		fmt.Fprintln(os.Stderr, "attacks:", err)
		code = 1
	}
	os.Exit(code)
}

func stop() error {
	if started == nil || started.Lab == nil {
		return nil
	}
	return errors.Join(started.unharmed(), started.Close(), os.RemoveAll(started.Dir))
}

// unharmed fails when a process panicked or told a secret.
func (in *installation) unharmed() error {
	files, err := filepath.Glob(filepath.Join(in.Dir, "*.*l*")) // logs and decisions
	errs := []error{err}
	for _, file := range files {
		text, err := os.ReadFile(file)
		errs = append(errs, err)
		for _, bad := range []string{"panic:", "DATA RACE", "fatal error", canary} {
			if i := strings.Index(string(text), bad); i >= 0 {
				errs = append(errs, fmt.Errorf("%s holds %q: …%s", file, bad, text[max(0, i-500):min(len(text), i+1500)]))
			}
		}
	}
	return errors.Join(errs...)
}

func (in *installation) install(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "gitgate-lock-")
	if err != nil {
		return err
	}
	binary := *prebuilt
	if binary == "" {
		if binary, err = lab.Binary(ctx, dir); err != nil {
			return err
		}
	}
	if in.Lab, err = lab.Start(ctx, lab.Options{
		Gitgate: binary, Dir: dir,
		Cluster: cluster.Options{ControllerManager: true, Nodes: 1, JSONStorage: true},
	}); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{in.empower, in.release, in.lock} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// empower gives the attackers all that RBAC can give, before there is a lock.
func (in *installation) empower(ctx context.Context) (err error) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: lab.SystemNamespace, Name: "gitgate-reconciler"}}
	group := func(name string) rbacv1.Subject {
		return rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: name}
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "attackers"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{group("system:serviceaccounts"), group("system:nodes"), group("attackers")},
	}
	// A TrustPolicy or PolicySet may take what it says from these.
	signers := metav1.ObjectMeta{Namespace: lab.SystemNamespace, Name: locked + "-signers"}
	rules := metav1.ObjectMeta{Namespace: lab.SystemNamespace, Name: locked + "-rules"}
	for _, o := range []client.Object{
		account, binding,
		&corev1.Secret{ObjectMeta: signers, StringData: map[string]string{"alice.asc": in.Alice.Public()}},
		&corev1.ConfigMap{ObjectMeta: rules, Data: map[string]string{"rules.rego": "package main\n"}},
	} {
		if err := in.Client.Create(ctx, o); err != nil {
			return err
		}
	}
	hour := int64(3600)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &hour}}
	token, err := in.Cluster.Client().CoreV1().ServiceAccounts(account.Namespace).CreateToken(ctx, account.Name, request, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	admin := in.Cluster.RESTConfig()
	if in.reconciler, err = newCaller(lab.ReconcilerUser, &rest.Config{
		Host: admin.Host, QPS: -1, BearerToken: token.Status.Token, TLSClientConfig: rest.TLSClientConfig{CAData: admin.CAData},
	}); err != nil {
		return err
	}
	in.alice, err = newCaller(cluster.Alice, in.Cluster.ConfigFor(cluster.Alice))
	return err
}

// release has both apps applied.
func (in *installation) release(ctx context.Context) (err error) {
	if in.web, err = in.SignedImage("acme/web"); err != nil {
		return err
	}
	if _, err = in.Serve(ctx, lab.LockArgs()...); err != nil {
		return err
	}
	for _, app := range []struct {
		to   **lab.App
		name string
	}{{&in.harbor, locked}, {&in.meadow, free}} {
		files, err := in.content()
		if err != nil {
			return err
		}
		for name, text := range files {
			files[name] = strings.ReplaceAll(text, locked, app.name)
		}
		if *app.to, err = in.NewApp(ctx, app.name, func(_ *v1alpha1.TrustPolicy, s *v1alpha1.GitSync) {
			s.Spec.Lock = &v1alpha1.Lock{Mode: v1alpha1.ModeOff}
			if app.name == locked {
				s.Spec.Lock = &v1alpha1.Lock{Mode: v1alpha1.ModeEnforce, Namespaces: []string{locked}}
			}
		}); err != nil {
			return err
		}
		hash, err := (*app.to).Commit(gitrepo.Change{Files: files})
		if err != nil {
			return err
		}
		within, cancel := context.WithTimeout(ctx, patience)
		_, err = (*app.to).Accepted(within, hash)
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

// lock starts both replicas and waits until the lock is in force.
func (in *installation) lock(ctx context.Context) error {
	ca, err := in.clusterCA("")
	if err != nil {
		return err
	}
	for _, name := range []string{"one", "two"} {
		w, err := in.ServeWebhook(ctx, name, "--cluster-ca-file", ca)
		if err != nil {
			return err
		}
		in.replicas = append(in.replicas, w)
	}
	return in.inForce(ctx)
}

// inForce waits until the lock refuses what it must refuse.
func (in *installation) inForce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := in.Await(ctx, in.harbor.Key, func(s *v1alpha1.GitSync) bool {
		return s.Status.Lock != nil && len(s.Status.Lock.Replicas) == 2
	}); err != nil {
		return err
	}
	probe := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: locked, Name: "probe"}}
	return wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		err := in.Client.Create(ctx, probe.DeepCopy(), client.DryRunAll)
		return apierrors.IsForbidden(err), nil
	})
}

// as is somebody whom Alice impersonates.
func (in *installation) as(t *testing.T, user string, groups ...string) *caller {
	t.Helper()
	config := in.Cluster.ConfigFor(cluster.Alice)
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: groups}
	c, err := newCaller(user, config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A caller sends requests as somebody.
type caller struct {
	user   string
	host   string
	client *http.Client
}

func newCaller(user string, config *rest.Config) (*caller, error) {
	c, err := rest.HTTPClientFor(config)
	return &caller{user: user, host: config.Host, client: c}, err
}
