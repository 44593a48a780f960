package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/reconcile/apply"
	"gitgate.dev/gitgate/reconcile/render"
	"gitgate.dev/gitgate/test/testkit/cluster"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/sopskit"
	"gitgate.dev/gitgate/verify/commit"
)

// A liveSite is a control plane in which the reconciler's own applier applied main.
type liveSite struct {
	*checkRepo
	*cluster.Cluster
	client client.Client
	age    string // the file with the key
}

const liveSecret = "apiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: shop}\nstringData: {password: canary-one, user: canary-bob}\n"

func newLiveSite(t *testing.T) *liveSite {
	s := &liveSite{checkRepo: newCheckRepo(t), Cluster: cluster.New(t, cluster.Options{})}
	age, err := sopskit.NewAge()
	if err != nil {
		t.Fatal(err)
	}
	s.age = filepath.Join(t.TempDir(), "age.txt")
	encrypted, err := sopskit.Encrypt("app/db.yaml", []byte(liveSecret), sopskit.For(age))
	if err == nil {
		err = os.WriteFile(s.age, age.PrivateKey(), 0o600)
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, corev1.AddToScheme, appsv1.AddToScheme, rbacv1.AddToScheme, apiextensionsv1.AddToScheme} {
		if err == nil {
			err = add(scheme)
		}
	}
	if err == nil {
		s.client, err = client.New(s.RESTConfig(), client.Options{Scheme: scheme})
	}
	if err != nil {
		t.Fatal(err)
	}
	g := &grantSite{t: t, ctx: t.Context(), client: s.client}
	g.install("gitsyncs")
	for _, ns := range []string{"shop", "gitgate-system"} {
		g.check(s.client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}))
	}
	s.main = s.signed(gitrepo.Change{Files: map[string]string{
		"app/db.yaml": string(encrypted), "app/web.yaml": webManifest("registry.example.com/web:1", "  replicas: 1\n"),
	}})
	s.apply()
	return s
}

// apply applies main as the reconciler does, and puts its inventory on record.
func (s *liveSite) apply() {
	t := s.t
	tree, err := commit.Unverified(s.Objects(), s.main)
	if err != nil {
		t.Fatal(err)
	}
	objects, found := render.Render(t.Context(), tree, render.Options{Path: "app", DefaultNamespace: "gitgate-system"})
	if len(found) > 0 {
		t.Fatal(found)
	}
	keys, err := readSecretKeys([]string{s.age})
	if err != nil {
		t.Fatal(err)
	}
	p := &apply.Plan{Owner: apply.Owner{Namespace: "gitgate-system", Name: "shop"}, Identity: apply.Ourselves(), Prune: true}
	for _, o := range objects {
		if o.Source.Encrypted != nil {
			opened, err := secretKeeper{keys}.Open(t.Context(), o.Source.File, o.Source.Encrypted)
			if err != nil {
				t.Fatal(err)
			}
			if o.Object, err = opened.Apply(o.Source.Document, o.Object); err != nil {
				t.Fatal(err)
			}
			o.Source.Encrypted = nil
		}
		p.Objects = append(p.Objects, gate.Object{Unstructured: o.Unstructured, Source: o.Source})
	}
	a, err := apply.New(apply.Config{REST: s.RESTConfig(), ResyncPerMinute: -1})
	if err != nil {
		t.Fatal(err)
	}
	if found := a.DryRun(t.Context(), p); len(found) > 0 {
		t.Fatal(found)
	}
	result, found := a.Apply(t.Context(), p)
	if len(found) > 0 {
		t.Fatal(found)
	}
	sync := &v1alpha1.GitSync{ObjectMeta: metav1.ObjectMeta{Namespace: "gitgate-system", Name: "shop"}}
	sync.Spec.URL, sync.Spec.Ref.Branch, sync.Spec.Trust.Name = "https://git.example.com/acme/shop.git", "main", "production"
	g := &grantSite{t: t, ctx: t.Context(), client: s.client}
	g.check(s.client.Create(t.Context(), sync))
	var applied []v1alpha1.InventoryEntry
	for _, e := range result.Inventory {
		applied = append(applied, v1alpha1.InventoryEntry{ID: e.ID, Version: e.V})
	}
	sync.Status.Inventory = v1alpha1.NewInventory(applied)
	g.check(s.client.Status().Update(t.Context(), sync))
}

// live compares a head and returns each object that differs with its action.
func (s *liveSite) live(head plumbing.Hash, args ...string) (code int, list []string, text, errs string) {
	s.t.Helper()
	args = append([]string{"--live", "--kubeconfig", s.Kubeconfig(), "--head", head.String(), "--keys", s.age}, args...)
	code, out, errs := s.diff(append(args, "-o", "json")...)
	for line := range strings.Lines(out) {
		var p struct{ Object, Action string }
		if err := json.Unmarshal([]byte(line), &p); err != nil {
			s.t.Fatalf("%q: %v", line, err)
		}
		list = append(list, p.Action+" "+p.Object)
	}
	slices.Sort(list)
	_, text, _ = s.diff(args...)
	if strings.Contains(out+text+errs, "canary") || strings.Contains(out+text+errs, "Y2FuYXJ5") {
		s.t.Errorf("a value of a Secret is shown:\n%s\n%s\n%s", out, text, errs)
	}
	return code, list, text, errs
}

func TestDiffLive(t *testing.T) {
	s := newLiveSite(t)
	before := s.versions()
	if code, list, _, errs := s.live(s.main, "--exit-code"); code != exitAllowed || len(list) > 0 || errs != "" {
		t.Errorf("what is applied differs: exit %d, %v, stderr %q", code, list, errs)
	}
	head := s.feature(gitrepo.Change{
		Files: map[string]string{
			"app/web.yaml": webManifest("registry.example.com/web:2", "  replicas: 1\n"),
			"app/new.yaml": strings.ReplaceAll(settings, "settings", "new"),
			"app/ns.yaml":  "apiVersion: v1\nkind: Namespace\nmetadata: {name: other}\n---\n" + strings.ReplaceAll(settings, "namespace: shop", "namespace: other"),
		},
		Delete: []string{"app/more.yaml"},
	})
	code, list, text, errs := s.live(head, "--exit-code")
	want := []string{"create Namespace/other", "create other/ConfigMap/settings", "create shop/ConfigMap/new", "delete shop/ConfigMap/more", "update shop/Deployment.apps/web"}
	slices.Sort(want)
	if diff := cmp.Diff(want, list); diff != "" || code != exitDenied || errs != "" {
		t.Errorf("exit %d, stderr %q, (-want +got)\n%s", code, errs, diff)
	}
	for _, part := range []string{"-      - image: registry.example.com/web:1\n+      - image: registry.example.com/web:2\n", "+++ b/other/ConfigMap/settings\n", "--- a/shop/ConfigMap/more\n+++ /dev/null\n"} {
		if !strings.Contains(text, part) {
			t.Errorf("the difference lacks %q:\n%s", part, text)
		}
	}
	if diff := cmp.Diff(before, s.versions()); diff != "" {
		t.Errorf("the comparison wrote\n%s", diff)
	}
	t.Run("Drift", s.drift)
	t.Run("Rights", s.rights)
	t.Run("NoKeys", func(t *testing.T) {
		code, out, errs := s.diff("--live", "--kubeconfig", s.Kubeconfig(), "--head", s.main.String())
		if code != exitUndetermined || strings.Contains(out, "+++ /dev/null") || !strings.Contains(errs, "the file is encrypted and cannot be compared: give --keys") {
			t.Errorf("exit %d, stderr %q, stdout %q", code, errs, out)
		}
	})
	t.Run("NoCluster", func(t *testing.T) {
		if code, out, errs := s.diff("--live", "--kubeconfig", filepath.Join(t.TempDir(), "none")); code != exitUsage || out != "" || !strings.Contains(errs, "--live: ") {
			t.Errorf("exit %d, stderr %q, stdout %q", code, errs, out)
		}
	})
}

// drift is what others changed: the reconciler would put it back, so it is shown.
func (s *liveSite) drift(t *testing.T) {
	for _, p := range []struct {
		object client.Object
		patch  string
	}{
		{&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}}, `{"spec":{"replicas":7,"template":{"spec":{"containers":[{"name":"web","image":"registry.example.com/web:1` + digest + `"}]}}}}`},
		{&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "settings"}}, `{"data":{"added":"by hand"}}`},
		{&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "db"}}, `{"data":{"password":"Y2FuYXJ5LXR3bw=="}}`},
	} {
		if err := s.client.Patch(t.Context(), p.object, client.RawPatch(types.StrategicMergePatchType, []byte(p.patch))); err != nil {
			t.Fatal(err)
		}
	}
	code, list, text, errs := s.live(s.main)
	want := []string{"update shop/ConfigMap/settings", "update shop/Deployment.apps/web", "update shop/Secret/db"}
	if diff := cmp.Diff(want, list); diff != "" || code != exitAllowed || errs != "" {
		t.Errorf("exit %d, stderr %q, (-want +got)\n%s", code, errs, diff)
	}
	for _, part := range []string{"-  replicas: 7\n+  replicas: 1\n", "-  added: by hand\n", "-  password: '*** (before)'\n+  password: '*** (after)'\n", "   user: '***'\n"} {
		if !strings.Contains(text, part) {
			t.Errorf("the difference lacks %q:\n%s", part, text)
		}
	}
	if strings.Contains(text, "image: registry.example.com/web:1\n") {
		t.Errorf("the digest that a tag was resolved to counts as a change:\n%s", text)
	}
}

// rights: what the caller may not read is undetermined, and the rest is shown.
func (s *liveSite) rights(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := s.KubeconfigFor(file, "reader"); err != nil {
		t.Fatal(err)
	}
	for _, o := range []client.Object{
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "reader"}, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{"", "apps"}, Resources: []string{"configmaps", "deployments"}, Verbs: []string{"get", "create", "patch"}},
		}},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "reader"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "reader"},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "reader"}},
		},
	} {
		if err := s.client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	code, out, errs := s.diff("--live", "--kubeconfig", file, "--head", s.main.String(), "--keys", s.age)
	if code != exitUndetermined || !strings.Contains(out, "-  added: by hand\n") {
		t.Errorf("exit %d, stdout %q", code, out)
	}
	for _, part := range []string{"the live object cannot be read", "app/db.yaml:1", "what would be deleted is not known"} {
		if !strings.Contains(errs, part) {
			t.Errorf("stderr lacks %q: %s", part, errs)
		}
	}
	if strings.Contains(errs, "Deployment") {
		t.Errorf("what can be read is told of: %s", errs)
	}
}

// versions are the versions of all that is there.
func (s *liveSite) versions() map[string]string {
	s.t.Helper()
	out := map[string]string{}
	for _, list := range []client.ObjectList{&appsv1.DeploymentList{}, &corev1.ConfigMapList{}, &corev1.SecretList{}, &corev1.NamespaceList{}} {
		if err := s.client.List(s.t.Context(), list); err != nil {
			s.t.Fatal(err)
		}
		raw, err := json.Marshal(list)
		if err != nil {
			s.t.Fatal(err)
		}
		var items struct {
			Items []metav1.PartialObjectMetadata `json:"items"`
		}
		if err := json.Unmarshal(raw, &items); err != nil {
			s.t.Fatal(err)
		}
		for _, o := range items.Items {
			if o.Namespace == "shop" || o.Namespace == "" {
				out[o.Namespace+"/"+o.Name] = o.ResourceVersion
			}
		}
	}
	return out
}
