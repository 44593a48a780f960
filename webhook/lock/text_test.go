package lock_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/webhook/lock"
)

// TestMessage shows what kubectl prints.
func TestMessage(t *testing.T) {
	w := shop(t)
	a := w.decide(try{user: alice, op: admissionv1.Update, old: liveWeb, new: edit(liveWeb, "web:1", "evil:1", "replicas: 2", "replicas: 9")})
	const want = `ContentMismatch: Deployment.apps shop/web is what Git says, and this would change it
  spec.replicas: Git says 2, tried 9
  spec.template.spec.containers[name=app].image: Git says "example.com/web:1", tried "example.com/evil:1"
  Git: apps/web.yaml:3 at main@sha1:1111111111111111111111111111111111111111, GitSync team/shop
  Next: commit the change to apps/web.yaml:3; whoever the TrustPolicy lets sign for that path may. In an emergency: gitgate breakglass request --verb update --resource deployments.apps --namespace shop --name web --as alice --reason "why"`
	if a.Message != want {
		t.Errorf("got:\n%s\nwant:\n%s", a.Message, want)
	}
	if len(a.Findings) != 2 || a.Findings[1].Field != "spec.template.spec.containers[name=app].image" || a.Findings[1].File != "apps/web.yaml" || a.Findings[1].Line != 3 ||
		a.Findings[1].Commit != strings.Repeat("1", 40) || a.Findings[1].Stage != verdict.StageAdmission {
		t.Errorf("findings: %+v", a.Findings)
	}
}

// TestAttack_S5_Canary searches everything that an answer holds for the value of a
// Secret.
func TestAttack_S5_Canary(t *testing.T) {
	canary := "kakapo-" + strings.Repeat("x", 20)
	coded := base64.StdEncoding.EncodeToString([]byte(canary))
	other := base64.StdEncoding.EncodeToString([]byte("kakapo-other"))
	secret := `{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: shop, annotations: {kubectl.kubernetes.io/last-applied-configuration: '{"data":{"k":"` + coded + `"}}'}}, type: Opaque, data: {k: ` + coded + `}}`
	for _, mode := range []lock.Mode{lock.Enforce, lock.Audit} {
		w := newWorld(t)
		w.release(func(r *lock.Release) { r.Mode, r.Namespaces = mode, []string{"shop"} }, w.object(secret))
		for name, x := range map[string]try{
			"Changed":  {user: alice, op: admissionv1.Update, old: secret, new: edit(secret, "data: {k: "+coded, "data: {k: "+other)},
			"Added":    {user: alice, op: admissionv1.Update, old: secret, new: edit(secret, "data: {k: "+coded, "data: {l: "+coded+", k: "+coded)},
			"Removed":  {user: alice, op: admissionv1.Update, old: secret, new: edit(secret, ", data: {k: "+coded+"}", "")},
			"Label":    {user: alice, op: admissionv1.Update, old: secret, new: edit(secret, "name: s,", "name: s, labels: {a: "+canary+"},")},
			"Create":   {user: alice, op: admissionv1.Create, new: edit(secret, "data: {k: "+coded, "data: {k: "+other)},
			"Unknown":  {user: alice, op: admissionv1.Create, new: edit(secret, "name: s,", "name: t,")},
			"Deleted":  {user: alice, op: admissionv1.Delete, old: secret},
			"Metadata": {user: alice, op: admissionv1.Update, old: secret, new: edit(secret, `"data":{"k"`, `"data":{"j"`)},
		} {
			a := w.decide(x)
			if a.Reason == "" {
				t.Errorf("%s: nothing was refused", name)
			}
			raw, err := json.Marshal(a)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range []string{canary, coded, other, "kakapo", "sealed:"} {
				if strings.Contains(string(raw), v) {
					t.Errorf("%s: the answer holds %q: %s", name, v, raw)
				}
			}
		}
	}
}

// TestBounds sends what is too much.
func TestBounds(t *testing.T) {
	w := shop(t)
	for name, tc := range map[string]struct {
		raw  string
		want want
	}{
		"Deep":     {strings.Repeat(`{"a":`, 500) + "1" + strings.Repeat("}", 500), verdict.LimitExceeded},
		"Wide":     {`{"a":[` + strings.Repeat("1,", 500_000) + `1]}`, verdict.LimitExceeded},
		"Large":    {`{"a":"` + strings.Repeat("x", 5<<20) + `"}`, verdict.LimitExceeded},
		"Garbage":  {`{"a`, verdict.LimitExceeded},
		"List":     {`[]`, verdict.LimitExceeded},
		"Empty":    {``, verdict.Internal},
		"Null":     {`null`, verdict.Internal},
		"Nothing":  {`{}`, verdict.ContentMismatch},
		"Metadata": {`{"metadata":[],"spec":1}`, verdict.ContentMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			req := w.request(try{user: alice, op: admissionv1.Update, old: liveWeb, new: liveWeb})
			req.Object.Raw = []byte(tc.raw)
			a := w.lock.Decide(t.Context(), req)
			if a.Allowed || a.Reason != tc.want {
				t.Errorf("allowed %t, reason %s, want %s: %s", a.Allowed, a.Reason, tc.want, a.Message)
			}
			if len(a.Message) > 4000 {
				t.Errorf("a message of %d bytes", len(a.Message))
			}
		})
	}
	if a := w.lock.Decide(t.Context(), nil); a.Allowed {
		t.Error("no request was allowed")
	}
	if a := w.lock.Decide(t.Context(), &admissionv1.AdmissionRequest{}); a.Allowed && a.Matched != lock.MatchedOpen {
		t.Errorf("an empty request: %+v", a)
	}
	var zero lock.Answer
	if zero.Allowed {
		t.Error("the zero answer allows")
	}
}

// TestCost sends what costs much to compare. The time allowed is a hundred times what
// it takes, so that a busy machine does not matter and a quadratic comparison does.
func TestCost(t *testing.T) {
	w := shop(t)
	var refs, labels strings.Builder
	for i := range 12_000 {
		fmt.Fprintf(&refs, `,{"apiVersion":"v1","kind":"ConfigMap","name":"n%d","uid":"u%d"}`, i, i)
		fmt.Fprintf(&labels, `,"l%d":"v"`, i)
	}
	object := func(labels, refs string) []byte {
		return []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"shop","labels":{"a":"b"` + labels + `},"ownerReferences":[{"uid":"x"}` + refs + `]}}`)
	}
	for name, user := range map[string]string{"Alice": alice, "GC": controller("generic-garbage-collector")} {
		t.Run(name, func(t *testing.T) {
			req := w.request(try{user: user, op: admissionv1.Update, old: configMap, new: configMap})
			req.OldObject.Raw, req.Object.Raw = object("", refs.String()), object(labels.String(), refs.String()+`,{"uid":"y"}`)
			start := time.Now()
			if w.lock.Decide(t.Context(), req).Allowed {
				t.Error("allowed")
			}
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// TestPanic checks that an error of ours denies.
func TestPanic(t *testing.T) {
	w := newWorld(t)
	w.judge = func(*admissionv1.AdmissionRequest) []verdict.Finding { panic("kakapo") }
	a := w.decide(try{user: alice, op: admissionv1.Create, new: configMap})
	if a.Allowed || a.Reason != verdict.Internal || strings.Contains(a.Message, "kakapo") {
		t.Errorf("%+v", a)
	}
}
