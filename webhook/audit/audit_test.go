package audit_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"

	"gitgate.dev/gitgate/policy/desired"
	"gitgate.dev/gitgate/test/testkit/cluster"
	"gitgate.dev/gitgate/webhook/audit"
	"gitgate.dev/gitgate/webhook/live"
	"gitgate.dev/gitgate/webhook/lock"
)

// auditor is the user that audits: it may see everything but Secrets.
const auditor = "auditor"

var sync1 = types.NamespacedName{Namespace: "gitgate-system", Name: "one"}

// A rig is an audit of a real API server.
type rig struct {
	t       *testing.T
	cluster *cluster.Cluster
	admin   kubernetes.Interface
	inv     *lock.Inventory
	auditor *audit.Auditor

	mu      sync.Mutex
	reports map[types.NamespacedName]audit.Report
	count   int // of reports
	found   []string
	gone    []string
	held    map[string]bool
}

func (r *rig) Found(_ types.NamespacedName, s audit.Stray) { r.note(&r.found, s) }
func (r *rig) Gone(_ types.NamespacedName, s audit.Stray)  { r.note(&r.gone, s) }

func (r *rig) note(to *[]string, s audit.Stray) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*to = append(*to, s.String())
}

func (r *rig) Report(_ context.Context, report audit.Report) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reports[report.Sync] = report
	r.count++
	return nil
}

func (r *rig) names(sync types.NamespacedName) (names []string, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	report, known := r.reports[sync]
	for _, s := range report.Strays {
		names = append(names, s.String())
	}
	return names, known && report.Closes
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, cluster: cluster.New(t, cluster.Options{ControllerManager: true}), inv: lock.NewInventory(), reports: map[types.NamespacedName]audit.Report{}, held: map[string]bool{}}
	r.admin = r.cluster.Client()
	r.inv.SetSynced(true)
	rules := []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps", "endpoints", "pods", "serviceaccounts", "services", "replicationcontrollers",
			"persistentvolumeclaims", "limitranges", "podtemplates", "resourcequotas"}, Verbs: []string{"get", "list", "watch"}},
		{APIGroups: []string{"apps", "certificates.k8s.io", "batch", "autoscaling", "networking.k8s.io", "policy", "rbac.authorization.k8s.io", "discovery.k8s.io", "coordination.k8s.io",
			"resource.k8s.io", "storage.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io"}, Resources: []string{"*"}, Verbs: []string{"get", "list", "watch", "create", "update"}},
	}
	r.grant(t, "auditor", rules)
	config := r.cluster.ConfigFor(auditor)
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	owners, err := live.New(objects)
	if err != nil {
		t.Fatal(err)
	}
	kinds, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	meta, err := metadata.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	content, err := lock.New(lock.Config{
		Inventory: r.inv, Sealer: desired.NewSealer(), Owners: owners, System: "gitgate-system", Reconciler: "reconciler", DryRunner: "dryrun",
	})
	if err != nil {
		t.Fatal(err)
	}
	r.auditor, err = audit.New(audit.Config{
		Discovery: kinds, Objects: objects, Metadata: meta, Explainer: content, Closed: r.inv.Closed, Ready: owners.Synced, Reporter: r,
		Held: func(_ schema.GroupResource, namespace, name string) (time.Time, bool) {
			r.mu.Lock()
			defer r.mu.Unlock()
			return time.Now().Add(time.Hour), r.held[namespace+"/"+name]
		},
		Metrics: audit.NewMetrics(prometheus.NewRegistry()),
	})
	if err != nil {
		t.Fatal(err)
	}
	r.background(owners.Start)
	return r
}

// background runs something until the test ends.
func (r *rig) background(run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := run(ctx); err != nil {
			r.t.Error(err)
		}
	}()
	stop = func() { cancel(); <-done }
	r.t.Cleanup(stop)
	return stop
}

func (r *rig) grant(t *testing.T, name string, rules []rbacv1.PolicyRule) {
	t.Helper()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: auditor}},
	}
	if _, err := r.admin.RbacV1().ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.admin.RbacV1().ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// close has a GitSync without objects close namespaces.
func (r *rig) close(t *testing.T, sync types.NamespacedName, namespaces ...string) {
	t.Helper()
	for _, ns := range namespaces {
		if err := r.cluster.EnsureNamespace(t.Context(), ns); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.inv.Accept(lock.Release{Sync: sync, Revision: "main@sha1:1", Mode: lock.Enforce, Namespaces: namespaces, Applied: true}); err != nil {
		t.Fatal(err)
	}
	r.auditor.Kick()
}

func (r *rig) configMap(t *testing.T, namespace, name string) {
	t.Helper()
	m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	if _, err := r.admin.CoreV1().ConfigMaps(namespace).Create(t.Context(), m, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within two minutes", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// strays waits until exactly these are told of.
func (r *rig) strays(t *testing.T, sync types.NamespacedName, want ...string) {
	t.Helper()
	var got []string
	defer func() {
		if t.Failed() {
			t.Logf("strays (-want +got):\n%s", cmp.Diff(want, got))
		}
	}()
	eventually(t, fmt.Sprintf("%d strays of %s", len(want), sync), func() bool {
		var closes bool
		got, closes = r.names(sync)
		return closes && slices.Equal(got, want)
	})
}

func TestAuditor(t *testing.T) {
	r := newRig(t)
	for i := range 150 { // more than anybody would list in a status
		if i == 0 {
			r.close(t, sync1, "shop")
		}
		r.configMap(t, "shop", fmt.Sprintf("c-%03d", i))
	}
	stop := r.background(r.auditor.Run)
	var all []string
	for i := range 150 {
		all = append(all, fmt.Sprintf("shop/ConfigMap/c-%03d", i))
	}
	r.strays(t, sync1, all...)
	if r.count != 1 {
		t.Errorf("%d reports until all was known, want one: strays must not seem to come and go", r.count)
	}
	t.Run("Unseen", func(t *testing.T) {
		unseen := func() []string {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.reports[sync1].Unseen
		}
		if got := unseen(); len(got) != 1 || !strings.HasPrefix(got[0], "secrets: no right") {
			t.Fatalf("unseen = %q, want Secrets", got)
		}
		r.grant(t, "auditor-secrets", []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get", "list", "watch"}}})
		eventually(t, "Secrets are looked at", func() bool { return len(unseen()) == 0 })
	})
	t.Run("Collected", func(t *testing.T) {
		if err := r.admin.CoreV1().ConfigMaps("shop").DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{FieldSelector: "metadata.name!=c-000"}); err != nil {
			t.Fatal(err)
		}
		r.strays(t, sync1, all[0]) // kube-root-ca.crt is made anew, and is none
	})
	t.Run("Held", func(t *testing.T) {
		hold := func(held bool) {
			r.mu.Lock()
			r.held["shop/c-000"] = held
			r.mu.Unlock()
			r.auditor.Kick()
		}
		hold(true)
		r.strays(t, sync1)
		hold(false)
		r.strays(t, sync1, all[0])
	})
	t.Run("NotInGitAnyMore", func(t *testing.T) {
		other := types.NamespacedName{Namespace: "gitgate-system", Name: "two"}
		r.close(t, other, "shop", "more")
		r.strays(t, other, all[0]) // each that closes the namespace is told
		r.inv.Drop(other)
		r.auditor.Kick()
		eventually(t, "the GitSync closes nothing", func() bool { _, closes := r.names(other); return !closes })
		r.strays(t, sync1, all[0])
	})
	t.Run("ManyNamespaces", func(t *testing.T) {
		namespaces := []string{"shop"}
		for i := range 33 {
			namespaces = append(namespaces, fmt.Sprintf("n-%02d", i))
		}
		r.close(t, sync1, namespaces...)
		r.configMap(t, "n-32", "last")
		r.configMap(t, "default", "elsewhere")
		r.strays(t, sync1, "n-32/ConfigMap/last", all[0])
		r.close(t, sync1, "shop")
		r.strays(t, sync1, all[0])
	})
	t.Run("Again", func(t *testing.T) { // as when the lease was lost
		stop()
		r.mu.Lock()
		clear(r.reports)
		r.mu.Unlock()
		r.background(r.auditor.Run)
		r.strays(t, sync1, all[0])
	})
}

// TestLeader proves that one of two runs, and that the other takes over.
func TestLeader(t *testing.T) {
	c := cluster.New(t, cluster.Options{})
	if err := c.EnsureNamespace(t.Context(), "gitgate-system"); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	running := map[string]bool{}
	start := func(name string) (stop func()) {
		l := &audit.Leader{Client: c.Client().CoordinationV1(), Namespace: "gitgate-system", Identity: name, Run: func(ctx context.Context) error {
			mu.Lock()
			running[name] = true
			if len(running) > 1 {
				t.Errorf("%v run at once", running)
			}
			mu.Unlock()
			<-ctx.Done()
			mu.Lock()
			delete(running, name)
			mu.Unlock()
			return nil
		}}
		r := &rig{t: t}
		return r.background(l.Start)
	}
	runs := func(name string) func() bool {
		return func() bool { mu.Lock(); defer mu.Unlock(); return running[name] }
	}
	stop := start("one")
	eventually(t, "the first leads", runs("one"))
	start("two")
	lease := func() string {
		l, err := c.Client().CoordinationV1().Leases("gitgate-system").Get(t.Context(), audit.LeaseName, metav1.GetOptions{})
		if err != nil || l.Spec.HolderIdentity == nil {
			return ""
		}
		return *l.Spec.HolderIdentity
	}
	if got := lease(); got != "one" {
		t.Errorf("the lease is held by %q", got)
	}
	stop()
	eventually(t, "the second leads", runs("two"))
}

func TestNew(t *testing.T) {
	if _, err := audit.New(audit.Config{}); err == nil {
		t.Error("a Config without anything is taken")
	}
}
