package gate_test

import (
	"strings"
	"testing"
	"time"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
)

const lookAtSecrets = `package acme
deny contains sprintf("saw %v", [input.object.data.k]) if input.object.kind == "Secret"
deny contains "replicas" if { input.operation == "UPDATE"; input.object.spec.replicas > input.oldObject.spec.replicas }
deny contains "kept" if input.operation == "DELETE"
`

func checker(t *testing.T, rego string) gate.Checker {
	t.Helper()
	engine, err := policy.Load(t.Context(), []policy.Set{{Name: "acme", Modules: map[string]string{"acme.rego": rego}}}, policy.Options{Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return gate.Checker{Policies: evaluator{engine: engine}, Secrets: &keeper{}, Runs: func(ref string) *verdict.Finding {
		if ref == "good" {
			return nil
		}
		return &verdict.Finding{Reason: verdict.ImageUntrusted, Severity: verdict.Deny, Message: ref + " may not run"}
	}}
}

func TestChecker(t *testing.T) {
	const deployment = `{"apiVersion":"apps/v1","kind":"Deployment","spec":{"replicas":%,"template":{"spec":{"containers":[{"name":"c","image":"good"}]}}}}`
	replicas := func(n string) []byte { return []byte(strings.Replace(deployment, "%", n, 1)) }
	for name, tc := range map[string]struct {
		reason string
		write  gate.Write
		want   []verdict.Reason
		says   string
	}{
		"Update":     {"Rules see the old object.", gate.Write{Operation: "UPDATE", Group: "apps", Kind: "Deployment", Object: replicas("3"), OldObject: replicas("2")}, []verdict.Reason{verdict.PolicyDenied}, "replicas"},
		"Fewer":      {"And allow what they allow.", gate.Write{Operation: "UPDATE", Group: "apps", Kind: "Deployment", Object: replicas("1"), OldObject: replicas("2")}, nil, ""},
		"Delete":     {"A deletion has an old object only.", gate.Write{Operation: "DELETE", Group: "apps", Kind: "Deployment", OldObject: replicas("1")}, []verdict.Reason{verdict.PolicyDenied}, "kept"},
		"Masked":     {"Rules never see the value of a Secret.", gate.Write{Operation: "CREATE", Kind: "Secret", Object: []byte(`{"apiVersion":"v1","kind":"Secret","data":{"k":"aHVudGVyMg=="}}`)}, []verdict.Reason{verdict.PolicyDenied}, "saw (redacted)"},
		"Image":      {"An image that no release verified.", gate.Write{Operation: "CREATE", Kind: "Pod", Object: []byte(`{"apiVersion":"v1","kind":"Pod","spec":{"ephemeralContainers":[{"image":"bad"}]}}`)}, []verdict.Reason{verdict.ImageUntrusted}, "bad may not run"},
		"NoPod":      {"A field of that name elsewhere is no image.", gate.Write{Operation: "CREATE", Group: "acme.dev", Kind: "Pod", Object: []byte(`{"apiVersion":"acme.dev/v1","kind":"Pod","spec":{"containers":[{"image":"bad"}]}}`)}, nil, ""},
		"WrongShape": {"What cannot be read is not let pass.", gate.Write{Operation: "CREATE", Kind: "Pod", Object: []byte(`{"apiVersion":"v1","kind":"Pod","spec":{"containers":{}}}`)}, []verdict.Reason{verdict.InvalidManifest}, "spec.containers"},
		"NoJSON":     {"Nor is what is no JSON.", gate.Write{Operation: "CREATE", Kind: "Pod", Object: []byte(`{"hunter2":`)}, []verdict.Reason{verdict.PolicyError}, "no JSON object"},
		"NoObject":   {"Nor is JSON that is no object.", gate.Write{Operation: "CREATE", Kind: "Secret", Object: []byte(`null`)}, []verdict.Reason{verdict.PolicyError}, "no JSON object"},
	} {
		t.Run(name, func(t *testing.T) {
			got := checker(t, lookAtSecrets).Check(t.Context(), tc.write)
			if len(got) != len(tc.want) {
				t.Fatalf("%s\nfindings %v, want %v", tc.reason, got, tc.want)
			}
			for i, f := range got {
				if f.Reason != tc.want[i] || !f.Severity.Blocks() || !strings.Contains(f.Message+" "+f.Field, tc.says) || strings.Contains(f.Message, "hunter2") {
					t.Errorf("%s\nfinding %+v, want %s with %q", tc.reason, f, tc.want[i], tc.says)
				}
			}
		})
	}
}

// The commit and the webhook get one answer: same rules, same words.
func TestCheckerSaysWhatTheGateSays(t *testing.T) {
	s := newSite(t)
	s.rego = "package acme\ndeny contains {\"msg\": \"no\", \"field\": \"data.k\"} if input.object.data.k == \"no\"\n"
	_, v := s.admit(s.push("bad", map[string]string{"app/m.yaml": configMap("m", `"no"`)}))
	got := checker(t, s.rego).Check(t.Context(), gate.Write{
		Operation: "CREATE", Kind: "ConfigMap", ID: "shop/ConfigMap/m",
		Object: []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m","namespace":"shop"},"data":{"k":"no"}}`),
	})
	want := v.Blocking()
	if len(got) != 1 || len(want) != 1 {
		t.Fatalf("webhook %v, gate %v", got, want)
	}
	w := want[0]
	w.File, w.Line, w.Commit = "", 0, "" // only a commit has these
	if got[0] != w {
		t.Errorf("webhook %+v\ngate    %+v", got[0], w)
	}
}
