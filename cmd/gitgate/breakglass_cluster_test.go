package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/cluster"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/webhook/breakglass"
)

// A grantSite is a real API server with our kinds, a trust in alice and bob, and a
// Book that follows the cluster.
type grantSite struct {
	t          *testing.T
	ctx        context.Context
	client     client.Client
	cluster    *cluster.Cluster
	kubeconfig string
	dir        string
	book       *breakglass.Book
}

func newGrantSite(t *testing.T) *grantSite {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	c := cluster.New(t, cluster.Options{})
	s := &grantSite{t: t, ctx: ctx, cluster: c, kubeconfig: c.Kubeconfig(), dir: t.TempDir()}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, corev1.AddToScheme, apiextensionsv1.AddToScheme} {
		s.check(add(scheme))
	}
	var err error
	s.client, err = client.New(c.RESTConfig(), client.Options{Scheme: scheme})
	s.check(err)
	s.install("breakglasses", "trustpolicies")
	trust := &v1alpha1.TrustPolicy{ObjectMeta: metav1.ObjectMeta{Name: "production"}, Spec: v1alpha1.TrustPolicySpec{
		Repositories: []v1alpha1.TrustedRepository{{URL: "https://git.example.com/shop.git", Refs: []string{"main"}, Root: strings.Repeat("1", 40)}},
		Namespaces:   []string{"shop"},
		BreakGlass:   &v1alpha1.BreakGlassTrust{AllowedSigners: s.key("alice") + s.key("bob")},
	}}
	trust.Spec.Commits.Signers = []v1alpha1.CommitSigner{{Name: "alice", SSH: &v1alpha1.SSHSigner{AllowedSigners: trust.Spec.BreakGlass.AllowedSigners}}}
	s.check(s.client.Create(ctx, trust))
	s.follow(scheme)
	return s
}

func (s *grantSite) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *grantSite) install(kinds ...string) {
	s.t.Helper()
	for _, kind := range kinds {
		raw, err := os.ReadFile(filepath.Join("..", "..", "deploy", "crds", "gitgate.dev_"+kind+".yaml"))
		s.check(err)
		var crd apiextensionsv1.CustomResourceDefinition
		s.check(yaml.UnmarshalStrict(raw, &crd))
		s.check(s.client.Create(s.ctx, &crd))
		s.eventually("the kind is served", func() bool {
			list := &metav1.PartialObjectMetadataList{}
			list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(crd.Spec.Names.ListKind))
			return s.client.List(s.ctx, list) == nil
		})
	}
}

// key makes a key, writes it to a file and returns its allowed_signers line.
func (s *grantSite) key(name string) string {
	s.t.Helper()
	k := gitrepo.SSH(s.t, name, name+"@example.com", "")
	private, err := k.Private()
	s.check(err)
	s.check(os.WriteFile(s.file(name), []byte(private), 0o600))
	return k.AllowedSigner()
}

func (s *grantSite) file(name string) string { return filepath.Join(s.dir, name) }

// follow starts the Book, as a replica of the webhook does.
func (s *grantSite) follow(scheme *runtime.Scheme) {
	s.t.Helper()
	uid, err := clusterID(s.ctx, s.client)
	s.check(err)
	s.book, err = breakglass.NewBook(breakglass.Config{Cluster: uid, System: "gitgate-system", Signers: grantSigners})
	s.check(err)
	informers, err := cache.New(s.cluster.RESTConfig(), cache.Options{Scheme: scheme})
	s.check(err)
	stopped := make(chan error, 1)
	ctx, cancel := context.WithCancel(s.ctx)
	s.t.Cleanup(func() { cancel(); <-stopped })
	go func() { stopped <- informers.Start(ctx) }()
	s.check(s.book.Feed(ctx, informers))
}

func (s *grantSite) eventually(what string, is func() bool) {
	s.t.Helper()
	err := wait.PollUntilContextTimeout(s.ctx, 20*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) { return is(), nil })
	if err != nil {
		s.t.Fatalf("in vain: %s", what)
	}
}

// gitgate runs a command and asserts its exit code.
func (s *grantSite) gitgate(code int, args ...string) (output string) {
	s.t.Helper()
	var out bytes.Buffer
	got := run(append([]string{"breakglass"}, args...), strings.NewReader(""), &out, &out)
	if got != code {
		s.t.Fatalf("gitgate breakglass %s: exit code %d, want %d\n%s", strings.Join(args, " "), got, code, &out)
	}
	return out.String()
}

func (s *grantSite) covers() bool {
	_, ok := s.book.Covers(s.ctx, &admissionv1.AdmissionRequest{
		UID: "1", Operation: admissionv1.Update, Namespace: "shop", Name: "web", UserInfo: authenticationv1.UserInfo{Username: "oscar"},
		Resource: metav1.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"},
	})
	return ok
}

// TestBreakGlassCluster follows a grant through its life on a real API server.
func TestBreakGlassCluster(t *testing.T) {
	s := newGrantSite(t)
	file := s.file("grant.yaml")
	s.gitgate(exitAllowed, "request", "--kubeconfig", s.kubeconfig, "--as", "oscar", "--verb", "update", "--resource", "deployments.apps",
		"-n", "shop", "--name", "web", "--reason", "INC-17", "--file", file)
	if out := s.gitgate(exitDenied, "apply", file, "--kubeconfig", s.kubeconfig); !strings.Contains(out, "signed by 0 of the 2") {
		t.Errorf("apply says %q", out)
	}
	s.gitgate(exitAllowed, "sign", file, "--key", s.file("alice"), "--yes")
	s.gitgate(exitAllowed, "sign", file, "--key", s.file("bob"), "--yes")

	nobody := s.file("nobody.kubeconfig")
	s.check(s.cluster.KubeconfigFor(nobody, "nobody"))
	s.gitgate(exitUndetermined, "apply", file, "--kubeconfig", nobody) // may not even read
	if s.covers() {
		t.Fatal("covered before anything was applied")
	}
	if out := s.gitgate(exitAllowed, "apply", file, "--kubeconfig", s.kubeconfig); !strings.Contains(out, "signed by alice@example.com, bob@example.com") {
		t.Errorf("apply says %q", out)
	}
	s.gitgate(exitAllowed, "apply", file, "--kubeconfig", s.kubeconfig) // again
	s.eventually("the grant covers", s.covers)

	grant, err := readGrant(file, nil)
	s.check(err)
	var line struct {
		Name, Phase string
		Seconds     int
		SignedBy    []string
	}
	s.check(json.Unmarshal([]byte(s.gitgate(exitAllowed, "list", "-o", "json", "--kubeconfig", s.kubeconfig)), &line))
	if line.Name != grant.Name || line.Phase != "active" || line.Seconds < 3000 || line.Seconds > 3600 || len(line.SignedBy) != 2 {
		t.Errorf("list -o json says %+v", line)
	}
	if out := s.gitgate(exitAllowed, "list", "--kubeconfig", s.kubeconfig); !strings.Contains(out, grant.Name+"  active  ") {
		t.Errorf("list says\n%s", out)
	}
	s.immutable(grant)

	s.gitgate(exitAllowed, "revoke", grant.Name, "--kubeconfig", s.kubeconfig)
	s.eventually("the revoked grant covers nothing", func() bool { return !s.covers() })
	s.immutable(grant)
	if out := s.gitgate(exitDenied, "apply", file, "--kubeconfig", s.kubeconfig); !strings.Contains(out, "was revoked: request another") {
		t.Errorf("apply of a revoked grant says %q", out)
	}
	if out := s.gitgate(exitAllowed, "list", "--kubeconfig", s.kubeconfig); !strings.Contains(out, grant.Name+"  revoked  -") {
		t.Errorf("list says\n%s", out)
	}
	s.gitgate(exitDenied, "revoke", "breakglass-0", "--kubeconfig", s.kubeconfig)
	s.replay(grant)
}

// immutable tries what the API server itself refuses, with our webhook dead.
func (s *grantSite) immutable(grant *v1alpha1.BreakGlass) {
	s.t.Helper()
	var before v1alpha1.BreakGlass
	s.check(s.client.Get(s.ctx, client.ObjectKeyFromObject(grant), &before))
	patches := map[string]string{
		"user":           `{"spec":{"grant":{"users":["eve"]}}}`,
		"expiry":         `{"spec":{"grant":{"expiry":"2030-01-01T00:00:00Z"}}}`,
		"signatures":     `{"spec":{"signatures":[{"ssh":"x"}]}}`,
		"no signatures":  `{"spec":{"signatures":null}}`,
		"invalid verb":   `{"spec":{"grant":{"verbs":["*"]}}}`,
		"missing reason": `{"spec":{"grant":{"reason":null}}}`,
	}
	if before.Spec.Revoked {
		patches["unrevoke"], patches["forget"] = `{"spec":{"revoked":false}}`, `{"spec":{"revoked":null}}`
	}
	for name, patch := range patches {
		g := &v1alpha1.BreakGlass{ObjectMeta: metav1.ObjectMeta{Name: grant.Name}}
		if err := s.client.Patch(s.ctx, g, client.RawPatch(types.MergePatchType, []byte(patch))); !apierrors.IsInvalid(err) {
			s.t.Errorf("%s: the API server says %v, want Invalid", name, err)
		}
	}
	var after v1alpha1.BreakGlass
	s.check(s.client.Get(s.ctx, client.ObjectKeyFromObject(grant), &after))
	if after.ResourceVersion != before.ResourceVersion {
		s.t.Error("the grant was changed")
	}
}

// replay deletes a revoked grant and makes it anew, as one can where no webhook
// judges: the Book remembers.
func (s *grantSite) replay(grant *v1alpha1.BreakGlass) {
	s.t.Helper()
	s.check(s.client.Delete(s.ctx, &v1alpha1.BreakGlass{ObjectMeta: metav1.ObjectMeta{Name: grant.Name}}))
	s.eventually("the Book sees the deletion", func() bool { return len(s.book.List()) == 0 })
	again := &v1alpha1.BreakGlass{ObjectMeta: metav1.ObjectMeta{Name: grant.Name}, Spec: grant.Spec}
	s.check(s.client.Create(s.ctx, again))
	s.eventually("the Book sees it come back", func() bool { return len(s.book.List()) == 1 })
	if state := s.book.List()[0]; state.Phase != breakglass.Refused || state.Err == nil || s.covers() {
		s.t.Errorf("the grant is %s (%v) again", state.Phase, state.Err)
	}
}
