package lock_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"

	"gitgate.dev/gitgate/policy/desired"
	"gitgate.dev/gitgate/test/testkit/cluster"
	"gitgate.dev/gitgate/webhook/lock"
)

// A stage is a real control plane whose every write the lock decides.
type stage struct {
	t       *testing.T
	cluster *cluster.Cluster
	inv     *lock.Inventory
	lock    *lock.Lock
	admin   dynamic.Interface
	dry     dynamic.Interface
	recon   dynamic.Interface
	alice   dynamic.Interface
	sealer  *desired.Sealer
	schemas *desired.Schemas
	stores  map[schema.GroupKind]cache.Indexer

	mu      sync.Mutex
	record  *recorder
	denied  []string
	reviews int
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, inv: lock.NewInventory(), sealer: desired.NewSealer(), stores: map[schema.GroupKind]cache.Indexer{}}
	s.cluster = cluster.New(t, cluster.Options{Nodes: 2, APIServerArgs: []string{"--runtime-config=api/all=true"}})
	s.bind(reconciler, dryRunner)
	for user, to := range map[string]*dynamic.Interface{"": &s.admin, reconciler: &s.recon, dryRunner: &s.dry, cluster.Alice: &s.alice} {
		cfg := s.cluster.RESTConfig()
		if user != "" {
			cfg = s.cluster.ConfigFor(user)
		}
		client, err := dynamic.NewForConfig(cfg)
		if err != nil {
			t.Fatal(err)
		}
		*to = client
	}
	s.schemas = desired.NewSchemas(s.cluster.Client().Discovery().OpenAPIV3())
	s.watch()
	var err error
	s.lock, err = lock.New(lock.Config{Inventory: s.inv, Sealer: s.sealer, Owners: s, System: system, Reconciler: reconciler, DryRunner: dryRunner})
	if err != nil {
		t.Fatal(err)
	}
	s.inv.SetSynced(true)
	if recordTo != "" {
		s.record = newRecorder(t, recordTo)
	}
	s.register()
	return s
}

// bind makes users cluster-admins.
func (s *stage) bind(users ...string) {
	b := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "gitgate"}, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "cluster-admin"}}
	for _, u := range users {
		b.Subjects = append(b.Subjects, rbacv1.Subject{Kind: "User", Name: u})
	}
	if _, err := s.cluster.Client().RbacV1().ClusterRoleBindings().Create(s.t.Context(), b, metav1.CreateOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

// watched are the kinds of owners.
var watched = []schema.GroupVersionResource{
	{Group: "apps", Version: "v1", Resource: "deployments"}, {Group: "apps", Version: "v1", Resource: "replicasets"},
	{Group: "apps", Version: "v1", Resource: "statefulsets"}, {Group: "apps", Version: "v1", Resource: "daemonsets"},
	{Group: "apps", Version: "v1", Resource: "controllerrevisions"}, {Group: "batch", Version: "v1", Resource: "jobs"},
	{Group: "batch", Version: "v1", Resource: "cronjobs"}, {Version: "v1", Resource: "replicationcontrollers"},
	{Version: "v1", Resource: "services"}, {Version: "v1", Resource: "pods"}, {Version: "v1", Resource: "endpoints"},
}

var kinds = map[string]string{
	"deployments": "Deployment", "replicasets": "ReplicaSet", "statefulsets": "StatefulSet", "daemonsets": "DaemonSet",
	"controllerrevisions": "ControllerRevision", "jobs": "Job", "cronjobs": "CronJob", "replicationcontrollers": "ReplicationController",
	"services": "Service", "pods": "Pod", "endpoints": "Endpoints",
}

func (s *stage) watch() {
	factory := dynamicinformer.NewDynamicSharedInformerFactory(s.admin, 0)
	for _, gvr := range watched {
		inf := factory.ForResource(gvr).Informer()
		s.stores[schema.GroupKind{Group: gvr.Group, Kind: kinds[gvr.Resource]}] = inf.GetIndexer()
	}
	ctx, cancel := context.WithCancel(context.Background())
	factory.Start(ctx.Done())
	s.t.Cleanup(func() { cancel(); factory.Shutdown() })
	factory.WaitForCacheSync(s.t.Context().Done())
}

// Owner implements lock.Owners over informers.
func (s *stage) Owner(gvk schema.GroupVersionKind, namespace, name string, uid types.UID) (map[string]any, bool) {
	store := s.stores[gvk.GroupKind()]
	if store == nil {
		return nil, false
	}
	key := name
	if namespace != "" {
		key = namespace + "/" + name
	}
	v, ok, err := store.GetByKey(key)
	if err != nil || !ok {
		return nil, false
	}
	u := v.(*unstructured.Unstructured)
	return u.Object, uid == "" || u.GetUID() == uid
}

func (s *stage) register() {
	server := httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	server.StartTLS()
	s.t.Cleanup(server.Close)
	fail, none, all, url := admissionregistrationv1.Fail, admissionregistrationv1.SideEffectClassNone, admissionregistrationv1.AllScopes, server.URL
	timeout := int32(10)
	hook := &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "lock"},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name: "lock.gitgate.dev", FailurePolicy: &fail, SideEffects: &none, AdmissionReviewVersions: []string{"v1"}, TimeoutSeconds: &timeout,
			ClientConfig: admissionregistrationv1.WebhookClientConfig{URL: &url, CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.OperationAll},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{"*"}, APIVersions: []string{"*"}, Resources: []string{"*/*"}, Scope: &all},
			}},
			MatchConditions: []admissionregistrationv1.MatchCondition{
				{Name: "events", Expression: `!(request.resource.resource in ["events", "leases"]) && !(request.resource.resource == "nodes" && has(request.subResource))`},
			},
		}},
	}
	if _, err := s.cluster.Client().AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(s.t.Context(), hook, metav1.CreateOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) serve(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(raw, &review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	req := review.Request
	a := s.lock.Decide(r.Context(), req)
	s.mu.Lock()
	s.reviews++
	s.note(event{Review: req})
	if !a.Allowed {
		s.denied = append(s.denied, fmt.Sprintf("%s %s %s %s/%s by %s (dry %t, pending %t, matched %s): %s", req.Operation, req.Resource.Resource,
			req.SubResource, req.Namespace, req.Name, req.UserInfo.Username, *req.DryRun, a.Pending, a.Matched, a.Message))
	}
	s.mu.Unlock()
	resp := &admissionv1.AdmissionResponse{UID: req.UID, Allowed: a.Allowed || s.record != nil, Warnings: a.Warnings}
	if !resp.Allowed {
		resp.Result = &metav1.Status{Message: a.Message, Reason: metav1.StatusReason(a.Reason), Code: http.StatusForbidden}
		if a.Pending {
			resp.Result.Code, resp.Result.Details = http.StatusServiceUnavailable, &metav1.StatusDetails{RetryAfterSeconds: 1}
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(admissionv1.AdmissionReview{TypeMeta: review.TypeMeta, Response: resp})
}

// resource finds what serves the object's kind.
func (s *stage) resource(u *unstructured.Unstructured) (gvr schema.GroupVersionResource, status bool) {
	gvk := u.GroupVersionKind()
	list, err := s.cluster.Client().Discovery().ServerResourcesForGroupVersion(gvk.GroupVersion().String())
	if err != nil {
		s.t.Fatal(err)
	}
	for _, r := range list.APIResources {
		if r.Kind == gvk.Kind && !strings.Contains(r.Name, "/") {
			gvr = gvk.GroupVersion().WithResource(r.Name)
		}
	}
	for _, r := range list.APIResources {
		status = status || r.Name == gvr.Resource+"/status"
	}
	return gvr, status
}

// learn dry-runs the manifest under a fresh name, as the mirror does, for D.
func (s *stage) learn(text string) lock.Object {
	s.t.Helper()
	u := &unstructured.Unstructured{Object: parse(s.t, text)}
	gvr, status := s.resource(u)
	o := lock.Object{
		Kind: desired.Kind{GroupVersionKind: u.GroupVersionKind(), HasStatus: status}, Resource: gvr,
		Namespace: u.GetNamespace(), Name: u.GetName(), File: "apps/" + u.GetName() + ".yaml", Line: 1,
	}
	g, err := o.Kind.Manifest(u)
	if err != nil {
		s.t.Fatal(err)
	}
	if o.Declared, err = s.schemas.Declared(g); err != nil {
		s.t.Fatal(err)
	}
	if o.Kind.Kind == "Secret" {
		o.Desired = s.sealer.Seal(o.Kind.SecretDefault(g))
		g.Object = s.sealer.Seal(g.Object)
		o.Manifest = g
		return o
	}
	o.Manifest = g
	fresh, err := o.Kind.Under(g, fmt.Sprintf("fresh-%d", time.Now().UnixNano()))
	if err != nil {
		s.t.Fatal(err)
	}
	answer, err := s.dry.Resource(gvr).Namespace(u.GetNamespace()).Create(s.t.Context(), &unstructured.Unstructured{Object: fresh.Object}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		s.t.Fatalf("learning %s: %v", u.GetName(), err)
	}
	raw, err := answer.MarshalJSON()
	if err != nil {
		s.t.Fatal(err)
	}
	if raw, err = fresh.Back(raw); err != nil {
		s.t.Fatal(err)
	}
	o.Desired = o.Kind.Normalise(parse(s.t, string(raw)))
	o.Kind.KeepAllocations(o.Desired, g)
	return o
}

// deploy accepts a release of the manifests and applies it as the reconciler.
func (s *stage) deploy(revision string, change func(*lock.Release), manifests ...string) {
	s.t.Helper()
	r := lock.Release{Sync: types.NamespacedName{Namespace: "team", Name: "shop"}, Revision: "main@sha1:" + revision, Mode: lock.Enforce,
		Namespaces: []string{"shop"}, Writer: reconciler}
	for _, text := range manifests {
		r.Objects = append(r.Objects, s.learn(text))
	}
	if change != nil {
		change(&r)
	}
	s.mu.Lock()
	s.note(accepted(r))
	err := s.inv.Accept(r)
	s.mu.Unlock()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, text := range manifests {
		s.apply(s.recon, text)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note(event{Applied: r.Revision})
	s.inv.Applied(r.Sync, r.Revision)
}

// note records an event, if events are recorded.
func (s *stage) note(e event) {
	if s.record == nil {
		return
	}
	if err := s.record.write(e); err != nil {
		s.t.Error(err)
	}
}

// apply writes a manifest by server-side apply.
func (s *stage) apply(client dynamic.Interface, text string) {
	s.t.Helper()
	u := &unstructured.Unstructured{Object: parse(s.t, text)}
	gvr, _ := s.resource(u)
	if _, err := client.Resource(gvr).Namespace(u.GetNamespace()).Apply(s.t.Context(), u.GetName(), u, metav1.ApplyOptions{FieldManager: "gitgate", Force: true}); err != nil {
		s.t.Errorf("applying %s %s: %v", u.GetKind(), u.GetName(), err)
	}
}

// eventually waits for something to become true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Errorf("%s: not in time", what)
}

// calm fails the test over every denial of someone for whom it was not meant.
func (s *stage) calm(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.denied {
		t.Errorf("a legitimate write was denied: %s", d)
	}
	t.Logf("%d reviews", s.reviews)
}
