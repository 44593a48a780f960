package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/reconcile/apply"
	"gitgate.dev/gitgate/webhook/audit"
)

// releaseWith is a release of a GitSync that declares PolicyExceptions.
func releaseWith(t *testing.T, namespace string, exceptions ...string) reconcile.Locked {
	t.Helper()
	l := reconcile.Locked{Sync: &v1alpha1.GitSync{}, Current: &reconcile.Verified{}}
	l.Sync.Namespace, l.Sync.Name = namespace, "x"
	for _, text := range exceptions {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
			t.Fatal(err)
		}
		l.Current.Wants = append(l.Current.Wants, apply.Want{Manifest: u})
	}
	return l
}

// TestAuditExceptions: what a release excepts at admission is excepted of what is there.
func TestAuditExceptions(t *testing.T) {
	const rego = `# METADATA
# title: Evil
# custom: {severity: high}
package a

deny contains "no evil" if input.object.data.k == "evil"

deny_more contains "nothing evil" if input.object.data.k == "evil"
`
	const exception = `{apiVersion: gitgate.dev/v1alpha1, kind: PolicyException, metadata: {name: e, namespace: shop}, spec: {
  policies: [{policySet: s, rules: [a.deny]}], match: {kinds: [{kind: ConfigMap}], namespaces: [shop], names: [m]}, owner: o, reason: r, expires: "2026-12-31T00:00:00Z"}}`
	end := time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC)
	x := &admissionExceptions{}
	var now time.Time
	x.now = func() time.Time { return now }
	g := &gates{lastGood: map[string]goodSet{}}
	sets, err := g.auditSets(t.Context(), []reconcile.PolicyInput{admissionSet("s", "Enforce", rego)}, x)
	if err != nil {
		t.Fatal(err)
	}
	if got := sets[0].Rules["s/a.deny_more"]; got != (audit.Description{Severity: "high", Category: "Evil"}) {
		t.Errorf("the rule is described as %+v", got)
	}
	told := 0
	x.changed = func() { told++ }
	x.accept(releaseWith(t, "gitgate-system"), "gitgate-system")
	if told != 0 {
		t.Error("a release without exceptions has others count")
	}
	x.accept(releaseWith(t, "gitgate-system", exception), "gitgate-system")
	if told != 1 {
		t.Errorf("of a release with an exception %d were told", told)
	}
	for name, tc := range map[string]struct {
		reason           string
		at               time.Time
		namespace, name  string
		object           string
		denied, excepted string
	}{
		"Covered":   {"The rule that is named is excepted, the other one is not, and says how near it was.", end.Add(-time.Hour), "shop", "m", evil, "nothing evil (PolicyException shop/e does not cover it", "no evil (excepted until 2026-12-31"},
		"Ended":     {"By the clock of now.", end, "shop", "m", evil, "no evil|nothing evil", ""},
		"Other":     {"Another object is not covered.", end.Add(-time.Hour), "shop", "n", evil, "no evil (PolicyException|nothing evil", ""},
		"Elsewhere": {"Nor another namespace.", end.Add(-time.Hour), "other", "m", evil, "no evil (PolicyException|nothing evil", ""},
		"Good":      {"Nothing is excepted where nothing is found.", end.Add(-time.Hour), "shop", "m", good, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			now = tc.at
			said := sets[0].Judge(t.Context(), audit.Subject{Kind: schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}, Namespace: tc.namespace, Name: tc.name, Raw: []byte(tc.object)})
			if diff := cmp.Diff([]string{"s/a.deny", "s/a.deny_more"}, said.Rules); diff != "" {
				t.Errorf("the rules that were asked (-want +got):\n%s", diff)
			}
			var denied, excepted []string
			for _, f := range said.Findings {
				denied = append(denied, f.Message)
				if f.Severity != verdict.Deny {
					t.Errorf("%s is %s", f.Message, f.Severity)
				}
			}
			for _, e := range said.Excepted {
				excepted = append(excepted, e.Message)
				if e.Exception != "shop/e" || e.Owner != "o" || e.Why != "r" || !e.Expires.Equal(end) {
					t.Errorf("excepted by %+v", e)
				}
			}
			begins(t, tc.reason, denied, tc.denied)
			begins(t, tc.reason, excepted, tc.excepted)
		})
	}
}

// begins wants texts that begin as those do that a bar separates.
func begins(t *testing.T, reason string, got []string, want string) {
	t.Helper()
	var wanted []string
	if want != "" {
		wanted = strings.Split(want, "|")
	}
	ok := len(got) == len(wanted)
	for i := range min(len(got), len(wanted)) {
		ok = ok && strings.HasPrefix(got[i], wanted[i])
	}
	if !ok {
		t.Errorf("%s\ngot %q, want %q", reason, got, wanted)
	}
}

// TestExemptions: what a tenant's exception is about is in his namespace.
func TestExemptions(t *testing.T) {
	const exception = `{apiVersion: gitgate.dev/v1alpha1, kind: PolicyException, metadata: {name: e, namespace: shop}, spec: {
  policies: [{policySet: s, rules: [a.deny]}], match: {kinds: [{apiGroup: apps, kind: Deployment}], namespaces: [NAMESPACES], names: [m]}, owner: o, reason: r, expires: "2026-12-31T00:00:00Z"}}`
	for name, tc := range map[string]struct {
		reason, sync, namespaces, want string
	}{
		"System":    {"Ours are about what they say.", "gitgate-system", "shop, other", "shop,other"},
		"Tenant":    {"A tenant's about his own.", "shop", "shop, other", "shop"},
		"Elsewhere": {"And about nothing where he does not name it.", "shop", "other", ""},
	} {
		t.Run(name, func(t *testing.T) {
			x := &admissionExceptions{now: func() time.Time { return time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC) }}
			x.accept(releaseWith(t, tc.sync, strings.Replace(exception, "NAMESPACES", tc.namespaces, 1)), "gitgate-system")
			var got []string
			for _, e := range x.exemptions() {
				got = append(got, strings.Join(e.Namespaces, ","))
				if diff := cmp.Diff([]schema.GroupKind{{Group: "apps", Kind: "Deployment"}}, e.Kinds); diff != "" || e.ID == "" || len(e.Names) != 1 || e.Expires.IsZero() {
					t.Errorf("%+v", e)
				}
			}
			if strings.Join(got, "|") != tc.want {
				t.Errorf("%s\nabout %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}
