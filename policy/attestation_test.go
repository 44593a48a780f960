package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policy"
)

const critical = `package acme

deny contains f.id if some f in input.images[_].attestations[_].predicate.found
`

// stating is an input with one image and one attestation, which counts how often it is
// read.
func stating(digest, predicate string, read *int) policy.Input {
	return policy.Input{Object: []byte(configMap), Images: []policy.Image{{Ref: "web:1", Attestations: []policy.Attestation{{
		Name: "scan", Digest: digest, Predicate: func() ([]byte, error) {
			*read++
			return []byte(predicate), nil
		},
	}}}}}
}

// One image is in many objects: what it states is decoded once for each set of rules.
func TestPredicatesAreKept(t *testing.T) {
	read := 0
	e := load(t, critical)
	for range 3 {
		if got := short(e.Evaluate(t.Context(), stating("sha256:a", `{"found":[{"id":"CVE-1"}],"else":[1]}`, &read))); got != "deny PolicyDenied [acme/acme.deny]: CVE-1" {
			t.Fatal(got)
		}
	}
	if read != 1 {
		t.Errorf("it was read %d times", read)
	}
	// Another one is another one, and one without a digest is never kept.
	for i, digest := range []string{"sha256:b", "", ""} {
		want := fmt.Sprintf("deny PolicyDenied [acme/acme.deny]: CVE-%d", i+2)
		if got := short(e.Evaluate(t.Context(), stating(digest, fmt.Sprintf(`{"found":[{"id":"CVE-%d"}]}`, i+2), &read))); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if read != 4 {
		t.Errorf("four were read %d times", read)
	}
	// Nor is a large one, of which too much is read.
	large := `{"found":[{"id":"CVE-1"}` + strings.Repeat(`,{"id":"CVE-1"}`, 60_000) + `]}`
	for range 2 {
		if got := short(e.Evaluate(t.Context(), stating("sha256:c", large, &read))); got != "deny PolicyDenied [acme/acme.deny]: CVE-1" {
			t.Fatal(got)
		}
	}
	if read != 6 {
		t.Errorf("a large one was kept: %d", read)
	}
	if got := short(load(t, "package acme\n\ndeny contains a.name if some a in input.images[_].attestations").Evaluate(t.Context(), stating("sha256:a", "x", &read))); got != "deny PolicyDenied [acme/acme.deny]: scan" || read != 6 {
		t.Errorf("%s, and what it states was read %d times where no rule does", got, read)
	}
}

// What an attestation states may be any JSON, and nothing else.
func TestPredicateForms(t *testing.T) {
	for name, tc := range map[string]struct{ reason, predicate, want string }{
		"Text":   {"A bill of materials may be a text.", `"SPDXVersion: SPDX-2.3"`, "deny PolicyDenied [acme/acme.deny]: SPDXVersion: SPDX-2.3"},
		"Null":   {"There may be none.", `null`, ""},
		"Twice":  {"A key that is there twice means two things.", `{"a":1,"a":2}`, `cannot be judged: image web:1: attestation scan: what it states, byte`},
		"Behind": {"One value, not two.", `{} {}`, "data after the value"},
		"Deep":   {"It nests without end.", strings.Repeat("[", 5000), "nest"},
		"Empty":  {"Nothing is no JSON.", ``, "cannot be judged"},
	} {
		t.Run(name, func(t *testing.T) {
			read := 0
			got := short(load(t, "package acme\n\ndeny contains p if { p := input.images[_].attestations[_].predicate; is_string(p) }").Evaluate(t.Context(), stating("", tc.predicate, &read)))
			if !strings.Contains(got, tc.want) || tc.want == "" && got != "" {
				t.Errorf("%s\n%s\nwants %s", tc.reason, got, tc.want)
			}
		})
	}
}
