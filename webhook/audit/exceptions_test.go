package audit_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/webhook/audit"
)

// excepted moves what a rig excepts of an object, and counts how often it was judged.
func (r *scanRig) excepted(about audit.Subject, said *audit.Judgement) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.judged[about.Name]++
	until, ok := r.exempt[about.Name]
	if !ok || !time.Now().Before(until) {
		return
	}
	for _, f := range said.Findings {
		said.Excepted = append(said.Excepted, audit.ExceptedFinding{Finding: f, Exception: "shop/" + about.Name, Owner: "team-a", Why: "music", Expires: until})
	}
	said.Findings = nil
}

// record takes down what is told of objects.
func (r *scanRig) record(set string, uid types.UID, s audit.Subject, said audit.Judgement) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.told == nil {
		r.told = map[string][]string{}
	}
	r.told[s.Name] = append(r.told[s.Name], fmt.Sprintf("%s %s %d %d %t", set, s.Resource, len(said.Findings), len(said.Excepted), uid != "" && len(s.Raw) > 0))
}

// except has an object excepted until a time; the zero time takes it back.
func (r *scanRig) except(name string, until time.Time, list ...audit.Exemption) {
	r.mu.Lock()
	if r.exempt == nil {
		r.exempt = map[string]time.Time{}
	}
	if r.exempt[name] = until; until.IsZero() {
		delete(r.exempt, name)
	}
	r.mu.Unlock()
	r.scanner.SetExceptions(list)
}

// TestExceptions: what is excepted is skipped and says why; a new exception, one that is
// gone and one that ends judge again what they are about, and nothing else.
func TestExceptions(t *testing.T) {
	r := newScanRig(t)
	r.install(t, "openreports.yaml")
	r.install(t, "wgpolicyk8s.yaml")
	if err := r.cluster.EnsureNamespace(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	bad := r.put(t, "bad", nil, map[string]string{"a": "b"})
	r.put(t, "loud", map[string]string{"noise": "yes"}, map[string]string{"a": "b"})
	r.put(t, "other", nil, map[string]string{"a": "b"})
	r.put(t, "good", map[string]string{"team": "a"}, map[string]string{"a": "b"})
	r.judge(t, rules{"team", teamRules, "ConfigMap"})
	r.background(r.scanner.Run)
	const fails, pass = "fail team/team.deny_owner metadata.labels.team is missing", "pass team/team.warn_empty"
	skips := strings.Replace(fails, "fail", "skip", 1)
	state := func(bad, loud string) {
		t.Helper()
		want := map[string][]string{"shop/bad": {bad, pass}, "shop/loud": {loud, pass}, "shop/other": {fails, pass}, "shop/good": {"pass team/team.deny_owner", pass}}
		for _, results := range want { // reports have them in order
			slices.SortFunc(results, func(a, b string) int { return strings.Compare(ruleAndResult(a), ruleAndResult(b)) })
		}
		r.awaitReports(t, openReports, want)
		r.awaitReports(t, workingOnes, want)
	}
	state(fails, fails)
	others := r.times("other")
	kind := []schema.GroupKind{{Kind: "ConfigMap"}}
	year := time.Now().Add(24 * time.Hour)
	named := audit.Exemption{ID: "1", PolicySets: []string{"team"}, Kinds: kind, Namespaces: []string{"shop"}, Names: []string{"bad", "gone"}, Expires: year}

	r.except("bad", year, named)
	state(skips, fails)
	r.skipped(t, string(bad.UID), year)

	noisy, err := labels.Parse("noise=yes")
	if err != nil {
		t.Fatal(err)
	}
	soon := time.Now().Add(2 * time.Second)
	bads, louds := r.times("bad"), r.times("loud")
	r.except("loud", soon, named, audit.Exemption{ID: "2", PolicySets: []string{"team"}, Kinds: kind, Namespaces: []string{"shop"}, Labels: noisy, Expires: soon})
	eventually(t, "it was judged when the exception began, and when it ended", func() bool { return r.times("loud") >= louds+2 })
	state(skips, fails)
	if got := r.times("bad"); got != bads {
		t.Errorf("another exception came, and the object was judged %d times more", got-bads)
	}

	r.except("bad", time.Time{})
	state(fails, fails)
	r.mu.Lock()
	defer r.mu.Unlock()
	const failed, skipped = "team configmaps 1 0 true", "team configmaps 0 1 true"
	want := map[string][]string{"bad": {failed, skipped, failed}, "loud": {failed, skipped, failed}, "other": {failed}}
	if diff := cmp.Diff(want, r.told); diff != "" {
		t.Errorf("what was told (-want +got):\n%s", diff)
	}
	if got := r.judged["other"]; got != others {
		t.Errorf("an object that no exception is about was judged %d times more", got-others)
	}
}

func ruleAndResult(s string) string {
	f := strings.Fields(s)
	return f[1] + " " + f[0]
}

// skipped looks at a whole result in both formats.
func (r *scanRig) skipped(t *testing.T, uid string, until time.Time) {
	t.Helper()
	want := map[string]any{
		"source": "gitgate", "policy": "team", "rule": "team.deny_owner", "result": "skip", "scored": false,
		"message": "metadata.labels.team is missing", "severity": "high", "category": "Teams",
		"properties": map[string]any{
			"reason": string(verdict.PolicyDenied), "exception": "shop/bad", "exceptionOwner": "team-a", "exceptionReason": "music",
			"exceptionExpires": until.UTC().Format(time.RFC3339),
		},
	}
	for _, gvr := range []schema.GroupVersionResource{openReports, workingOnes} {
		u, err := r.objects.Resource(gvr).Namespace("shop").Get(t.Context(), "gitgate-"+uid, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		results, _, _ := unstructured.NestedSlice(u.Object, "results")
		if diff := cmp.Diff(want, results[0]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", gvr.Group, diff)
		}
		if n, _, _ := unstructured.NestedInt64(u.Object, "summary", "skip"); n != 1 {
			t.Errorf("%s: the summary counts %d skipped", gvr.Group, n)
		}
	}
}
