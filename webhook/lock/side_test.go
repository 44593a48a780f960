package lock_test

import (
	"encoding/json"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"

	"gitgate.dev/gitgate/policy/verdict"
)

// TestRootCA writes by what Pods know the API server.
func TestRootCA(t *testing.T) {
	const (
		first = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
		next  = "-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----\n"
		evil  = "-----BEGIN CERTIFICATE-----\nEVIL\n-----END CERTIFICATE-----\n"
	)
	in := func(namespace string, data ...string) string {
		content := map[string]string{}
		for i := 0; i < len(data); i += 2 {
			content[data[i]] = data[i+1]
		}
		raw, err := json.Marshal(map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "kube-root-ca.crt", "namespace": namespace}, "data": content,
		})
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	ca := func(namespace, bundle string) string { return in(namespace, "ca.crt", bundle) }
	publisher := controller("root-ca-cert-publisher")
	for name, tc := range map[string]struct {
		reason  string
		known   []string
		user    string
		new     string
		want    want
		pending bool
	}{
		"Known":            {"What gitgate knows the API server by itself.", []string{first}, publisher, ca("shop", first), "", false},
		"Space":            {"A file may end otherwise.", []string{"\n" + first + "\n\n"}, publisher, ca("shop", first), "", false},
		"Bundle":           {"A bundle is compared as a whole.", []string{first + next}, publisher, ca("shop", first+next), "", false},
		"Rotation":         {"The publisher is ahead: it asks again until we know.", []string{first}, publisher, ca("shop", first+next), verdict.ContentMismatch, true},
		"RotationEnd":      {"So it is when the old one goes.", []string{first + next}, publisher, ca("shop", next), verdict.ContentMismatch, true},
		"Behind":           {"What was good at the start still is.", []string{first + next, first}, publisher, ca("shop", first), "", false},
		"Now":              {"As is what is good now.", []string{first + next, first}, publisher, ca("shop", first+next), "", false},
		"K17/Added":        {"An impersonated publisher adds its own.", []string{first}, publisher, ca("shop", first+evil), verdict.ContentMismatch, true},
		"K17/Replaced":     {"Or puts it in the place.", []string{first}, publisher, ca("shop", evil), verdict.ContentMismatch, true},
		"K17/Hidden":       {"Where only some parsers see it.", []string{first}, publisher, ca("shop", first+"-----BEGIN X509 CERTIFICATE-----\nEVIL\n-----END X509 CERTIFICATE-----\n"), verdict.ContentMismatch, true},
		"K17/OtherKey":     {"Beside it there is nothing.", []string{first}, publisher, in("shop", "ca.crt", first, "x", "y"), verdict.ContentMismatch, false},
		"K17/NoCA":         {"Nor is there something else.", []string{first}, publisher, in("shop", "x", first), verdict.ContentMismatch, false},
		"Alice":            {"Nobody else makes it, as good as it may be.", []string{first}, alice, ca("shop", first), verdict.NotInGit, false},
		"Unknown":          {"Where nothing is known it is bound to its publisher.", nil, publisher, ca("shop", next), "", false},
		"UnknownForm":      {"And to its form.", nil, publisher, ca("shop", "x"), verdict.ContentMismatch, false},
		"Own":              {"Ours is where we have it from: it must come first.", []string{first}, publisher, ca(system, next), "", false},
		"OwnForm":          {"But it holds certificates.", []string{first}, publisher, ca(system, "x"), verdict.ContentMismatch, false},
		"Own/K17/Alice":    {"By its publisher alone.", []string{first}, alice, ca(system, evil), verdict.NotInGit, false},
		"Own/K17/Our":      {"Not by ourselves.", []string{first}, reconciler, ca(system, evil), verdict.NotInGit, false},
		"Elsewhere/Nobody": {"Where nothing is Git's nothing is locked.", []string{first}, publisher, ca("other", evil), "", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := shop(t)
			w.roots = tc.known
			was := ca(parse(t, tc.new)["metadata"].(map[string]any)["namespace"].(string), first)
			for _, x := range []try{{user: tc.user, op: admissionv1.Create, new: tc.new}, {user: tc.user, op: admissionv1.Update, old: was, new: tc.new}} {
				if x.op == admissionv1.Update && tc.new == was && tc.want == verdict.NotInGit {
					continue // nothing would change
				}
				if a := w.check(t, tc.reason, x, tc.want); a.Pending != tc.pending {
					t.Errorf("%s: pending = %t, want %t", x.op, a.Pending, tc.pending)
				}
			}
		})
	}
	w := shop(t)
	w.roots = []string{first}
	for namespace, want := range map[string]want{"shop": verdict.NotInGit, system: verdict.NotInGit} {
		w.check(t, "Nobody takes it away.", try{user: alice, op: admissionv1.Delete, old: ca(namespace, first)}, want)
		w.check(t, "It goes with its namespace.", try{user: controller("namespace-controller"), op: admissionv1.Delete, old: ca(namespace, evil)}, "")
	}
}
