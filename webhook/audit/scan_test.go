package audit_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/test/testkit/cluster"
	"gitgate.dev/gitgate/webhook/audit"
)

const (
	teamRules = `package team
deny_owner contains msg if {
	not input.object.metadata.labels.team
	msg := "metadata.labels.team is missing"
}
warn_empty contains "it holds nothing" if { not input.object.data }
`
	portRules = `package ports
deny contains msg if {
	some p in input.object.spec.ports
	p.port < 1024
	msg := sprintf("port %d is reserved", [p.port])
}
`
	laxPortRules = `package ports
deny contains "unreachable" if { input.object.spec.type == "Nothing" }
`
	userRules = `package who
deny contains "mallory" if input.userInfo.username == "mallory"
`
)

var (
	openReports = schema.GroupVersionResource{Group: "openreports.io", Version: "v1alpha1", Resource: "reports"}
	clusterOpen = schema.GroupVersionResource{Group: "openreports.io", Version: "v1alpha1", Resource: "clusterreports"}
	workingOnes = schema.GroupVersionResource{Group: "wgpolicyk8s.io", Version: "v1alpha2", Resource: "policyreports"}
	clusterWork = schema.GroupVersionResource{Group: "wgpolicyk8s.io", Version: "v1alpha2", Resource: "clusterpolicyreports"}
)

// A scanRig is a Scanner of a real API server, with real rules.
type scanRig struct {
	*rig
	objects dynamic.Interface
	scanner *audit.Scanner
	metrics *prometheus.Registry

	mu     sync.Mutex
	judged map[string]int // by PolicySet, and by the name of the object
	exempt map[string]time.Time
	told   map[string][]string // by the name of the object
}

func newScanRig(t *testing.T) *scanRig {
	t.Helper()
	c := cluster.New(t, cluster.Options{})
	r := &scanRig{rig: &rig{t: t, cluster: c, admin: c.Client()}, metrics: prometheus.NewRegistry(), judged: map[string]int{}}
	config := c.RESTConfig()
	kinds, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	if r.objects, err = dynamic.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	meta, err := metadata.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	r.scanner, err = audit.NewScanner(audit.ScanConfig{Judged: r.record, Discovery: kinds, Objects: r.objects, Metadata: meta, Metrics: audit.NewScanMetrics(r.metrics)})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// install creates what a file of testdata holds, and waits until it is served.
func (r *scanRig) install(t *testing.T, file string) {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range strings.Split(string(raw), "\n---\n") {
		r.define(t, text)
	}
}

// define creates a CustomResourceDefinition.
func (r *scanRig) define(t *testing.T, text string) {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		t.Fatal(err)
	}
	crds := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	if _, err := r.objects.Resource(crds).Create(t.Context(), u, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	names, _, _ := unstructured.NestedStringMap(map[string]any{"n": map[string]any{"plural": nested(u, "spec", "names", "plural"), "group": nested(u, "spec", "group")}}, "n")
	versions, _, _ := unstructured.NestedSlice(u.Object, "spec", "versions")
	gvr := schema.GroupVersionResource{Group: names["group"], Version: versions[0].(map[string]any)["name"].(string), Resource: names["plural"]}
	eventually(t, gvr.String()+" is served", func() bool {
		_, err := r.objects.Resource(gvr).List(t.Context(), metav1.ListOptions{})
		return err == nil
	})
}

func nested(u *unstructured.Unstructured, path ...string) string {
	s, _, _ := unstructured.NestedString(u.Object, path...)
	return s
}

// A rules is a PolicySet: its module, and the kinds that it matches.
type rules struct{ name, module, kind string }

// judge has the rules judge from now on.
func (r *scanRig) judge(t *testing.T, sets ...rules) {
	t.Helper()
	var out []audit.PolicySet
	for _, s := range sets {
		engine, err := policy.Load(t.Context(), []policy.Set{{
			Name: s.name, Modules: map[string]string{"r.rego": s.module},
			Match: policy.Match{Kinds: []policy.KindMatch{{APIGroups: []string{""}, Kinds: []string{s.kind}}}, ExcludedNamespaces: []string{"kube-*", "default"}},
		}}, policy.Options{})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, audit.PolicySet{
			Name: s.name, Version: s, Rules: map[string]audit.Description{"team/team.deny_owner": {Severity: "high", Category: "Teams"}}, Kinds: []audit.KindMatch{{Groups: []string{""}, Kinds: []string{s.kind}}},
			Judge: func(ctx context.Context, about audit.Subject) (said audit.Judgement) {
				r.mu.Lock()
				r.judged[s.name]++
				r.mu.Unlock()
				in := policy.Input{Operation: policy.Create, Object: about.Raw}
				if probe, err := engine.Probe(in); err == nil {
					said.Rules = probe.Rules()
				}
				said.Findings = engine.Evaluate(ctx, in)
				r.excepted(about, &said)
				return said
			},
		})
	}
	r.scanner.SetPolicies(out)
}

func (r *scanRig) times(set string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.judged[set]
}

// all are the reports of a kind, by the object that they are on: the results in short.
func (r *scanRig) all(t *testing.T, gvr schema.GroupVersionResource) map[string][]string {
	t.Helper()
	list, err := r.objects.Resource(gvr).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=gitgate"})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for i := range list.Items {
		u := &list.Items[i]
		on := strings.TrimPrefix(nested(u, "scope", "namespace")+"/"+nested(u, "scope", "name"), "/")
		results, _, _ := unstructured.NestedSlice(u.Object, "results")
		for _, v := range results {
			m := v.(map[string]any)
			message, _ := m["message"].(string)
			out[on] = append(out[on], strings.TrimSpace(fmt.Sprintf("%s %s/%s %s", m["result"], m["policy"], m["rule"], message)))
		}
	}
	return out
}

// reports waits until the reports of a kind are these.
func (r *scanRig) awaitReports(t *testing.T, gvr schema.GroupVersionResource, want map[string][]string) {
	t.Helper()
	var got map[string][]string
	defer func() {
		if t.Failed() {
			t.Logf("%s (-want +got):\n%s", gvr.Resource, cmp.Diff(want, got))
		}
	}()
	eventually(t, fmt.Sprintf("%d reports in %s", len(want), gvr.Resource), func() bool {
		got = r.all(t, gvr)
		return maps.EqualFunc(got, want, slices.Equal[[]string])
	})
}

// versions are the resourceVersions of all reports.
func (r *scanRig) versions(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, gvr := range []schema.GroupVersionResource{openReports, clusterOpen, workingOnes, clusterWork} {
		list, err := r.objects.Resource(gvr).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range list.Items {
			out[gvr.Resource+"/"+u.GetNamespace()+"/"+u.GetName()] = u.GetResourceVersion()
		}
	}
	return out
}

// written is how many reports were written so far.
func (r *scanRig) written(t *testing.T) float64 {
	t.Helper()
	families, err := r.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "gitgate_policy_audit_writes_total" {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatal("no writes are counted")
	return 0
}

func (r *scanRig) put(t *testing.T, name string, labels, data map[string]string) *corev1.ConfigMap {
	t.Helper()
	m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: labels}, Data: data}
	api := r.admin.CoreV1().ConfigMaps("shop")
	got, err := api.Update(t.Context(), m, metav1.UpdateOptions{})
	if err != nil {
		got, err = api.Create(t.Context(), m, metav1.CreateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestScanner(t *testing.T) {
	r := newScanRig(t)
	r.install(t, "openreports.yaml")
	r.install(t, "wgpolicyk8s.yaml")
	if err := r.cluster.EnsureNamespace(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	team := map[string]string{"team": "a"}
	bad := r.put(t, "bad", nil, map[string]string{"a": "b"})
	r.put(t, "good", team, map[string]string{"a": "b"})
	r.put(t, "empty", team, nil)
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}
	if _, err := r.admin.CoreV1().Services("shop").Create(t.Context(), service, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	foreign := r.plantReports(t)
	sets := []rules{{"team", teamRules, "ConfigMap"}, {"ports", portRules, "Service"}, {"spaces", teamRules, "Namespace"}, {"lax", laxPortRules, "Service"}}
	r.judge(t, sets...)
	stop := r.background(r.scanner.Run)
	const ok, pass = "pass team/team.deny_owner", "pass team/team.warn_empty"
	want := map[string][]string{
		"shop/bad":   {"fail team/team.deny_owner metadata.labels.team is missing", pass},
		"shop/good":  {ok, pass},
		"shop/empty": {ok, "warn team/team.warn_empty it holds nothing"},
		"shop/web":   {"pass lax/ports.deny", "fail ports/ports.deny port 80 is reserved"},
	}
	both := func(t *testing.T) {
		t.Helper()
		r.awaitReports(t, openReports, want)
		r.awaitReports(t, workingOnes, want)
	}
	both(t)
	t.Run("Cluster", func(t *testing.T) {
		spaces := map[string][]string{"shop": {"fail spaces/team.deny_owner metadata.labels.team is missing", "warn spaces/team.warn_empty it holds nothing"}}
		r.awaitReports(t, clusterOpen, spaces)
		r.awaitReports(t, clusterWork, spaces)
	})
	t.Run("Document", func(t *testing.T) { r.document(t, bad) })
	t.Run("Swept", func(t *testing.T) { // what is on an object of before, and nobody else's
		eventually(t, "the report of before is gone", func() bool {
			now := r.versions(t)
			return now[foreign] != "" && len(now) == 10+1
		})
	})
	t.Run("Metrics", func(t *testing.T) {
		const text = `
# HELP gitgate_policy_audit_results What the rules of a PolicySet say of the objects that are there: pass, fail, warn, error or skip (excepted).
# TYPE gitgate_policy_audit_results gauge
gitgate_policy_audit_results{policyset="lax",result="pass"} 1
gitgate_policy_audit_results{policyset="ports",result="fail"} 1
gitgate_policy_audit_results{policyset="spaces",result="fail"} 1
gitgate_policy_audit_results{policyset="spaces",result="warn"} 1
gitgate_policy_audit_results{policyset="team",result="fail"} 1
gitgate_policy_audit_results{policyset="team",result="pass"} 4
gitgate_policy_audit_results{policyset="team",result="warn"} 1
`
		if err := testutil.GatherAndCompare(r.metrics, strings.NewReader(text), "gitgate_policy_audit_results"); err != nil {
			t.Error(err)
		}
	})
	t.Run("Stable", func(t *testing.T) {
		before, written := r.versions(t), r.written(t)
		judged := r.times("team")
		r.put(t, "good", map[string]string{"team": "b"}, map[string]string{"a": "c"})
		eventually(t, "the change was judged", func() bool { return r.times("team") > judged })
		stop()
		judged, lax, spaces := r.times("team"), r.times("lax"), r.times("spaces")
		stop = r.background(r.scanner.Run)
		eventually(t, "all was judged again", func() bool {
			return r.times("team") >= judged+3 && r.times("lax") > lax && r.times("spaces") > spaces
		})
		r.put(t, "witness", team, map[string]string{"a": "b"})
		want["shop/witness"] = []string{ok, pass}
		both(t) // what was queued before it was written
		if n := r.written(t) - written; n != 2 {
			t.Errorf("%v reports were written, want the two of the new object", n)
		}
		after := r.versions(t)
		for name, version := range before {
			if after[name] != version {
				t.Errorf("%s was written again, and nothing changed", name)
			}
		}
	})
	t.Run("Change", func(t *testing.T) {
		r.put(t, "bad", team, map[string]string{"a": "b"})
		want["shop/bad"] = []string{ok, pass}
		both(t)
		if err := r.admin.CoreV1().ConfigMaps("shop").Delete(t.Context(), "witness", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		delete(want, "shop/witness")
		both(t) // there is no garbage collector here
	})
	t.Run("PolicySet", func(t *testing.T) {
		team, lax := r.times("team"), r.times("lax")
		sets[1].module = laxPortRules
		r.judge(t, sets...)
		want["shop/web"] = []string{"pass lax/ports.deny", "pass ports/ports.deny"}
		both(t)
		if team, lax = r.times("team")-team, r.times("lax")-lax; team+lax != 0 {
			t.Errorf("another PolicySet changed, and these judged %d and %d objects again", team, lax)
		}
		r.judge(t, sets[0], sets[1])
		want["shop/web"] = []string{"pass ports/ports.deny"}
		r.awaitReports(t, clusterOpen, map[string][]string{})
		r.awaitReports(t, clusterWork, map[string][]string{})
		both(t)
	})
	t.Run("Undecided", func(t *testing.T) {
		r.judge(t, sets[0], sets[1], rules{"who", userRules, "Service"})
		eventually(t, "an error and no pass", func() bool {
			got := r.all(t, openReports)["shop/web"]
			return len(got) == 2 && strings.HasPrefix(got[1], "error who/who.deny ")
		})
		r.judge(t, sets[0], sets[1])
		both(t)
	})
	t.Run("Tampered", func(t *testing.T) { r.tampered(t, bad, both) })
	t.Run("Many", func(t *testing.T) { // Gatekeeper tells of twenty
		for i := range 120 {
			name := fmt.Sprintf("c-%03d", i)
			r.put(t, name, nil, map[string]string{"a": "b"})
			want["shop/"+name] = []string{"fail team/team.deny_owner metadata.labels.team is missing", pass}
		}
		both(t)
	})
}

// plantReports makes reports before anybody watches: one of ours on an object that is
// gone, and one of another tool.
func (r *scanRig) plantReports(t *testing.T) (foreign string) {
	t.Helper()
	for _, u := range []*unstructured.Unstructured{
		{Object: map[string]any{"metadata": map[string]any{"name": "gitgate-gone", "labels": map[string]any{"app.kubernetes.io/managed-by": "gitgate"}}}},
		{Object: map[string]any{"metadata": map[string]any{"name": "kyverno-report", "labels": map[string]any{"app.kubernetes.io/managed-by": "kyverno"}}}},
	} {
		u.SetAPIVersion("wgpolicyk8s.io/v1alpha2")
		u.SetKind("PolicyReport")
		if _, err := r.objects.Resource(workingOnes).Namespace("shop").Create(t.Context(), u, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return "policyreports/shop/kyverno-report"
}

// document compares a whole report.
func (r *scanRig) document(t *testing.T, on *corev1.ConfigMap) {
	got, err := r.objects.Resource(openReports).Namespace("shop").Get(t.Context(), "gitgate-"+string(on.UID), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	owner := got.GetOwnerReferences()
	if len(owner) != 1 || owner[0].UID != on.UID || owner[0].Kind != "ConfigMap" || owner[0].Name != "bad" {
		t.Errorf("the owners are %v: the report would outlive its object", owner)
	}
	delete(got.Object, "metadata")
	want := map[string]any{
		"apiVersion": "openreports.io/v1alpha1", "kind": "Report", "source": "gitgate",
		"scope":   map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "namespace": "shop", "name": "bad", "uid": string(on.UID)},
		"summary": map[string]any{"pass": int64(1), "fail": int64(1), "warn": int64(0), "error": int64(0), "skip": int64(0)},
		"results": []any{
			map[string]any{"source": "gitgate", "policy": "team", "rule": "team.deny_owner", "result": "fail", "scored": true,
				"message": "metadata.labels.team is missing", "severity": "high", "category": "Teams", "properties": map[string]any{"reason": "PolicyDenied"}},
			map[string]any{"source": "gitgate", "policy": "team", "rule": "team.warn_empty", "result": "pass", "scored": true},
		},
	}
	if diff := cmp.Diff(want, got.Object); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// tampered edits and deletes a report.
func (r *scanRig) tampered(t *testing.T, on *corev1.ConfigMap, both func(*testing.T)) {
	api := r.objects.Resource(openReports).Namespace("shop")
	name := "gitgate-" + string(on.UID)
	patch := []byte(`{"results":[],"metadata":{"labels":{"app.kubernetes.io/managed-by":"mallory"}}}`)
	if _, err := api.Patch(t.Context(), name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	both(t)
	if err := api.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	both(t)
}

func TestNewScanner(t *testing.T) {
	if _, err := audit.NewScanner(audit.ScanConfig{}); err == nil {
		t.Error("a ScanConfig without anything is taken")
	}
}
