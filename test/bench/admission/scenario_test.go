package main

import (
	"encoding/json"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/test/testkit/racing"
)

// The templates that Gatekeeper ships are taken as they are, and have something to
// say: templates that never speak would cost less than real ones.
func TestTheirRules(t *testing.T) {
	racing.Skip(t)
	dir, err := gatekeeperDir(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	files, rules, err := theirRules(dir)
	if err != nil || len(rules) != 10 || len(files) != 20 {
		t.Fatalf("%d templates in %d files, %v", len(rules), len(files), err)
	}
	e, err := policy.Load(t.Context(), []policy.Set{{Name: "rules", Format: policy.FormatGatekeeper, Manifests: files}}, policy.Options{Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	spoke, denied := map[string]bool{}, 0
	reviews := made(t, 1, podsNew, 600)
	for _, raw := range reviews {
		var review admissionv1.AdmissionReview
		if err := json.Unmarshal(raw, &review); err != nil {
			t.Fatal(err)
		}
		if review.Request.Kind.Kind != "Pod" {
			t.Fatalf("a review of a %s", review.Request.Kind.Kind)
		}
		found := e.Evaluate(t.Context(), policy.Input{Object: review.Request.Object.Raw})
		for _, f := range found {
			if spoke[f.Policy] = true; f.Reason != "PolicyDenied" {
				t.Errorf("%v", f)
			}
		}
		if len(found) > 0 {
			denied++
		}
	}
	if len(spoke) < 6 || denied < len(reviews)/30 || denied > len(reviews)/3 {
		t.Errorf("%d templates denied %d of %d reviews: %v", len(spoke), denied, len(reviews), spoke)
	}
}
