package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile"
	"gitgate.dev/gitgate/webhook/audit"
)

// auditedSet is a PolicySet that judges at admission.
func auditedSet(word string) string {
	return "apiVersion: gitgate.dev/v1alpha1\nkind: PolicySet\nmetadata: {name: words}\nspec:\n  admission: Enforce\n" +
		"  source: {inline: {a.rego: \"package a\\ndeny contains \\\"no " + word + "\\\" if input.object.data.k == \\\"evil\\\"\\n\"}}\n"
}

// TestReplayAudit: what the audit of PolicySets logs is judged again by the same code.
func TestReplayAudit(t *testing.T) {
	r := newCheckRepo(t)
	g := &gates{lastGood: map[string]goodSet{}}
	sets, err := g.auditSets(t.Context(), []reconcile.PolicyInput{admissionSet("words", "Enforce", "package a\ndeny contains \"no evil\" if input.object.data.k == \"evil\"\n")}, &admissionExceptions{})
	if err != nil {
		t.Fatal(err)
	}
	subject := audit.Subject{Kind: schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}, Resource: schema.GroupResource{Resource: "configmaps"}, Namespace: "shop", Name: "m", Raw: []byte(evil)}
	line := func(said audit.Judgement, withObject bool) string {
		raw, err := json.Marshal(auditDecision("words", "u1", subject, said, withObject))
		if err != nil {
			t.Fatal(err)
		}
		return string(raw) + "\n"
	}
	said := sets[0].Judge(t.Context(), subject)
	if len(said.Findings) != 1 {
		t.Fatalf("findings %v", said.Findings)
	}
	excepted := audit.Judgement{Rules: said.Rules, Excepted: []audit.ExceptedFinding{{Finding: said.Findings[0], Exception: "shop/x", Expires: time.Now()}}}
	excepted.Excepted[0].Severity = verdict.Info
	excepted.Excepted[0].Message = "no evil (excepted until 2026-12-31T00:00:00Z by PolicyException shop/x, owner o: r)"
	good, none := line(said, true), auditedSet("evil")
	for name, tc := range map[string]struct {
		reason, log, set string
		code             int
		want             string
	}{
		"Same":      {"It comes out as it was.", good, none, exitAllowed, "1 the same"},
		"Again":     {"However often.", good + good, none, exitAllowed, "2 the same"},
		"Differs":   {"By other rules it does not.", good, auditedSet("good"), exitDenied, "no good"},
		"Passed":    {"What passed then and is refused now.", line(audit.Judgement{Rules: said.Rules}, true), none, exitDenied, "AUDIT shop/ConfigMap/m"},
		"NoObject":  {"A log without objects.", line(said, false), none, exitUndetermined, "--log-objects"},
		"NoSet":     {"A set that is not there.", good, strings.Replace(none, "name: words", "name: other", 1), exitUndetermined, "has no PolicySet words"},
		"NoDoor":    {"A set that does not judge at admission.", good, strings.Replace(none, "admission: Enforce", "admission: \"Off\"", 1), exitUndetermined, "has no PolicySet words"},
		"Exception": {"Which exceptions counted then is not in the log.", line(excepted, true), none, exitUndetermined, "a PolicyException of a release counted then"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range map[string]string{"log.json": tc.log, "set.yaml": tc.set} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			code, out, errs := r.check("-c", filepath.Join(dir, "set.yaml"), "--replay", filepath.Join(dir, "log.json"))
			if code != tc.code || !strings.Contains(out, tc.want) {
				t.Errorf("%s\nexit %d, want %d and %q\n%s%s", tc.reason, code, tc.code, tc.want, out, errs)
			}
		})
	}
}

// TestAuditDecision: a line of the log holds no secret.
func TestAuditDecision(t *testing.T) {
	s := audit.Subject{Kind: schema.GroupVersionKind{Version: "v1", Kind: "Secret"}, Raw: []byte(`{"apiVersion":"v1","kind":"Secret","data":{"p":"Y2FuYXJ5"}}`)}
	d := auditDecision("s", "u", s, audit.Judgement{Findings: []verdict.Finding{{Severity: verdict.Warn, Message: "b"}, {Severity: verdict.Deny, Reason: verdict.PolicyDenied, Message: "a"}}}, true)
	if strings.Contains(string(d.Object), "Y2FuYXJ5") || !strings.Contains(string(d.Object), `"Secret"`) || d.Allowed || d.Reason != verdict.PolicyDenied || d.Findings[0].Message != "a" {
		t.Errorf("%+v", d)
	}
	if d := auditDecision("s", "u", s, audit.Judgement{}, false); d.Object != nil || !d.Allowed {
		t.Errorf("%+v", d)
	}
}
