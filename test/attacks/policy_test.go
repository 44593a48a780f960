package main_test

import (
	"context"
	"strings"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
	"gitgate.dev/gitgate/test/testkit/sopskit"
)

// uses adds a PolicySet of its own name to the GitSync.
func uses(name string) func(*v1alpha1.GitSync) {
	return func(g *v1alpha1.GitSync) {
		g.Spec.Policies = append(g.Spec.Policies, v1alpha1.LocalReference{Name: name})
	}
}

// policySet creates a PolicySet and returns its Ready condition.
func (s *site) policySet(name, rego string) metav1.Condition {
	s.t.Helper()
	set := &v1alpha1.PolicySet{ObjectMeta: metav1.ObjectMeta{Name: name}}
	set.Spec.Source.Inline = map[string]string{"acme.rego": rego}
	s.must(s.Client.Create(s.t.Context(), set))
	return s.judgedPolicySet(set)
}

// judgedPolicySet waits until gitgate has judged the present version.
func (s *site) judgedPolicySet(set *v1alpha1.PolicySet) metav1.Condition {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	for generation := set.Generation; ; {
		s.must(s.Client.Get(ctx, client.ObjectKeyFromObject(set), set))
		if c := apimeta.FindStatusCondition(set.Status.Conditions, v1alpha1.ConditionReady); c != nil && c.ObservedGeneration >= generation {
			return *c
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (s *site) refusedToLoad(name, rego string, says ...string) {
	s.t.Helper()
	s.run(name, func(s *site) {
		set := s.name + "-" + strings.ToLower(name)
		ready := s.policySet(set, rego)
		if ready.Status != metav1.ConditionFalse || ready.Reason != string(verdict.PolicyError) {
			s.t.Errorf("the PolicySet is %s (%s): %s", ready.Status, ready.Reason, ready.Message)
		}
		for _, part := range says {
			if !strings.Contains(ready.Message, part) {
				s.t.Errorf("the PolicySet does not say %q: %s", part, ready.Message)
			}
		}
		s.stalls(verdict.PolicyError, uses(set))
	})
}

func TestAttack_O1_Capabilities(t *testing.T) {
	t.Parallel()
	s := newSite(t, "o1-site")
	s.refusedToLoad("Network", "package acme\n\ndeny contains \"no\" if http.send({\"url\": \"http://127.0.0.1\", \"method\": \"GET\"}).status_code == 200\n", "acme.rego:3", "http.send")
	s.refusedToLoad("Environment", "package acme\n\ndeny contains x if x := opa.runtime().env.HOME\n", "acme.rego:3", "opa.runtime")
	s.refusedToLoad("Lookup", "package acme\n\ndeny contains x if some x in net.lookup_ip_addr(\"a.example\")\n", "net.lookup_ip_addr")
}

func TestAttack_O2_SilenceIsNoPass(t *testing.T) {
	t.Parallel()
	s := newSite(t, "o2-site", withPolicy("deny contains \"no\" if to_number(input.object.data.number) > 1\n\nviolation := set() if not input.object.data.undefined"))
	s.run("BuiltinError", func(s *site) {
		s.denied(refusal{reason: verdict.PolicyError, file: "deploy/evil.yaml", says: "acme.rego:3"},
			gitrepo.Change{Files: map[string]string{"deploy/evil.yaml": lab.ConfigMap("evil", "number", "x")}})
	})
	s.run("Undefined", func(s *site) {
		s.denied(refusal{reason: verdict.PolicyUndefined, file: "deploy/evil.yaml"},
			gitrepo.Change{Files: map[string]string{"deploy/evil.yaml": lab.ConfigMap("evil", "undefined", "yes")}})
	})
	s.refusedToLoad("NoRule", "package acme\n\nallow := true\n", "no deny, violation or warn rule")
	s.refusedToLoad("Misspelt", "package acme\n\ndenied contains \"no\"\n", "no deny, violation or warn rule")
}

func TestAttack_O3_CostBomb(t *testing.T) {
	t.Parallel()
	rego := `bomb := input.object.data.bomb

deny contains "no" if {
	bomb == "range"
	count(numbers.range(1, 1000000000000)) > 1
}

deny contains "no" if {
	bomb == "product"
	n := numbers.range(1, 1000)
	some a in n
	some b in n
	some c in n
	a + b + c == 0
}`
	s := newSite(t, "o3-site", withPolicy(rego))
	for name, bomb := range map[string]string{"Range": "range", "CrossProduct": "product"} {
		s.run(name, func(s *site) {
			grew := s.peakMemory(func() {
				s.denied(refusal{reason: verdict.PolicyTimeout, file: "deploy/evil.yaml"},
					gitrepo.Change{Files: map[string]string{"deploy/evil.yaml": lab.ConfigMap("evil", "bomb", bomb)}})
			})
			if grew > 512<<20 {
				s.t.Errorf("memory grew by %d MiB", grew>>20)
			}
		})
	}
}

// What makes others panic is a finding.
func TestAttack_O4_PanicFodder(t *testing.T) {
	t.Parallel()
	s := newSite(t, "o4-site")
	head := "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: evil}\nspec:\n  selector: {matchLabels: {a: b}}\n  template:\n    metadata: {labels: {a: b}}\n"
	deniedManifests(s, map[string]manifestAttack{
		"ContainersMapping": {head + "    spec:\n      containers: {}\n", verdict.InvalidManifest, 9},
		"ContainersText":    {head + "    spec:\n      containers: all\n", verdict.InvalidManifest, 9},
		"ContainerNumber":   {head + "    spec:\n      containers: [7]\n", verdict.InvalidManifest, 9},
		"ImageList":         {head + "    spec:\n      containers: [{name: a, image: [b]}]\n", verdict.InvalidManifest, 9},
		"SpecList":          {head + "    spec: []\n", verdict.InvalidManifest, 8},
		"MetadataList":      {"apiVersion: v1\nkind: ConfigMap\nmetadata: []\n", verdict.InvalidManifest, 3},
		"NameNumber":        {"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: 7}\n", verdict.InvalidManifest, 3},
		"LabelsList":        {"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: evil, labels: [a]}\n", verdict.InvalidManifest, 3},
		"NoKind":            {"apiVersion: v1\nmetadata: {name: evil}\n", verdict.InvalidManifest, 1},
	})
	whole := s.encrypted(lab.PlainSecret("db", "password", canary), sopskit.Options{})
	metadata, _, _ := strings.Cut(whole, "sops:")
	for name, tc := range map[string]struct {
		text string
		want verdict.Reason
	}{
		"SopsEmpty":     {metadata + "sops: {}\n", verdict.SecretIntegrity},
		"SopsNull":      {metadata + "sops: ~\n", verdict.SecretUndecryptable},
		"SopsText":      {metadata + "sops: yes please\n", verdict.SecretUndecryptable},
		"SopsList":      {metadata + "sops: [1, 2]\n", verdict.SecretUndecryptable},
		"SopsNoMAC":     {s.edited(whole, "    mac:", "    nomac:"), verdict.SecretIntegrity},
		"SopsAgeNumber": {metadata + "sops: {age: 7, mac: x, version: 3.9.0, lastmodified: \"2026-01-02T03:04:05Z\"}\n", verdict.SecretUndecryptable},
		"SopsBadTime":   {s.edited(whole, "lastmodified: ", "lastmodified: never #"), verdict.SecretUndecryptable},
		"SopsCipher":    {s.edited(whole, "ENC[AES256_GCM,data:", "ENC[AES256_GCM,data:AAAA"), verdict.SecretIntegrity},
		"SopsCut":       {whole[:len(whole)-200], verdict.SecretIntegrity},
	} {
		s.run(name, func(s *site) {
			s.denied(refusal{reason: tc.want, file: secretFile}, gitrepo.Change{Files: inSecretFile(tc.text)})
		})
	}
}

// An error on the way to a rule's answer does not make it hold or not hold.
func TestAttack_O6_SwallowedError(t *testing.T) {
	t.Parallel()
	s := newSite(t, "o6-site", withPolicy(`listed(name) if base64.decode(name) == "secret"

deny contains "listed" if listed(input.object.data.name)

deny_unlisted contains "unlisted" if {
	input.object.data.other
	not listed(input.object.data.other)
}`))
	for name, key := range map[string]string{"Positive": "name", "Negated": "other"} {
		s.run(name, func(s *site) {
			s.denied(refusal{reason: verdict.PolicyError, file: "deploy/evil.yaml", says: "acme.rego:3"},
				gitrepo.Change{Files: map[string]string{"deploy/evil.yaml": lab.ConfigMap("evil", key, "%%%")}})
		})
	}
}

// A PolicySet that does not compile is refused, and the one before stays in force.
func TestAttack_O7_BrokenPolicySet(t *testing.T) {
	t.Parallel()
	s := newSite(t, "o7-site", withPolicy(`deny contains "owned" if input.object.data.owned`))
	var set v1alpha1.PolicySet
	s.must(s.Client.Get(t.Context(), client.ObjectKey{Name: s.name}, &set))
	set.Spec.Source.Inline = module(`deny contains "no" if regex.match("(", input.object.kind)`)
	s.must(s.Client.Update(t.Context(), &set))
	ready := s.judgedPolicySet(&set)
	if ready.Status != metav1.ConditionFalse || !strings.Contains(ready.Message, "acme.rego:3") || !strings.Contains(ready.Message, "missing closing )") {
		t.Errorf("the PolicySet is %s: %s", ready.Status, ready.Message)
	}
	s.denied(refusal{reason: verdict.PolicyDenied, file: "deploy/evil.yaml", says: "owned"}, gitrepo.Change{Files: evil()})
}
