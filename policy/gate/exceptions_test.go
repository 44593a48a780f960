package gate_test

import (
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
)

// exceptionTime is when the tests judge.
var exceptionTime = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

// exceptionRules refuse loud objects, fail on broken ones, and keep what is kept.
const exceptionRules = `package acme
deny contains "too loud" if input.object.data.mode == "loud"
deny contains "not this one" if input.object.data.mode == "odd"
deny_kept contains "kept" if { input.operation == "DELETE"; input.oldObject.data.mode == "kept" }
warn_red contains "red" if input.object.data.mode == "red"
deny_broken contains "x" if { input.object.data.mode == "odd-number"; to_number(input.object.data.mode) > 1 }
`

const goodException = `apiVersion: gitgate.dev/v1alpha1
kind: PolicyException
metadata: {name: web, namespace: shop}
spec:
  policies: [{policySet: acme, rules: [acme.deny]}]
  match: {kinds: [{kind: ConfigMap}], namespaces: [shop], names: [m]}
  owner: team-web
  reason: it plays music
  expires: "2026-12-31T00:00:00Z"
`

// exceptional is a site whose exceptions count below app/exceptions.
func exceptional(t *testing.T) *site {
	s := newSite(t)
	s.rego = exceptionRules
	s.edit = func(c *gate.Config) {
		c.Now = func() time.Time { return exceptionTime }
		c.Exceptions = func(file string) bool { return path.Dir(file) == "app/exceptions" }
	}
	return s
}

func edited(text string, pairs ...string) string { return strings.NewReplacer(pairs...).Replace(text) }

func TestExceptions(t *testing.T) {
	const file = "app/exceptions/web.yaml"
	loud := configMap("m", "x")
	loud = strings.Replace(loud, "k: x", "mode: loud", 1)
	covered := "info PolicyDenied shop/ConfigMap/m: too loud (excepted until 2026-12-31T00:00:00Z by PolicyException shop/web, owner team-web: it plays music)"
	unused := "warn ExceptionUnused shop/PolicyException.gitgate.dev/web: the rules refuse nothing that the exception covers: remove it, owner team-web"
	near := func(what string) string {
		return "deny PolicyDenied shop/ConfigMap/m: too loud (PolicyException shop/web does not cover it: " + what + ")"
	}
	labelled := edited(goodException, "names: [m]", "labelSelector: {matchLabels: {music: \"yes\"}}")
	for name, tc := range map[string]struct {
		reason    string
		exception string
		file      string
		object    string
		want      []string
	}{
		"Covered":      {"What is excepted is information.", goodException, file, loud, []string{covered}},
		"ByDay":        {"An end without quotes is the same.", edited(goodException, `"2026-12-31T00:00:00Z"`, "2026-12-31T00:00:00Z"), file, loud, []string{covered}},
		"ByLabel":      {"Labels select.", labelled, file, edited(loud, "{name: m", "{labels: {music: \"yes\"}, name: m"), []string{covered}},
		"NoLabel":      {"And are explained.", labelled, file, loud, []string{near("the labels do not match music=yes"), unused}},
		"Name":         {"All but the name.", edited(goodException, "names: [m]", "names: [other]"), file, loud, []string{near("the name is m, not other"), unused}},
		"Namespace":    {"All but the namespace.", edited(goodException, "namespaces: [shop]", "namespaces: [other]"), file, loud, []string{near(`the namespace is "shop"`), unused}},
		"AnyNamespace": {"No namespace is not every namespace.", edited(goodException, " namespaces: [shop],", ""), file, loud, []string{near(`the namespace is "shop"`), unused}},
		"Kind":         {"All but the kind.", edited(goodException, "kind: ConfigMap", "kind: Secret"), file, loud, []string{near("the kind is ConfigMap"), unused}},
		"Group":        {"A kind of another group is another kind.", edited(goodException, "{kind: ConfigMap}", "{apiGroup: apps, kind: ConfigMap}"), file, loud, []string{near("the kind is ConfigMap"), unused}},
		"Rule":         {"All but the rule.", edited(goodException, "acme.deny", "acme.deny_kept"), file, loud, []string{near("the rule is acme.deny, not acme.deny_kept"), unused}},
		"Set":          {"Rules of another set are none of its business.", edited(goodException, "policySet: acme", "policySet: other"), file, loud, []string{"deny PolicyDenied shop/ConfigMap/m: too loud", unused}},
		"Two":          {"What differs in two things is not near.", edited(goodException, "names: [m]", "names: [other]", "namespaces: [shop]", "namespaces: [other]"), file, loud, []string{"deny PolicyDenied shop/ConfigMap/m: too loud", unused}},
		"Expired":      {"At its end it is over.", edited(goodException, "2026-12-31", "2026-11-22"), file, loud, []string{near("it expired 2026-11-22T00:00:00Z"), "warn ExceptionExpiring shop/PolicyException.gitgate.dev/web: the exception expired 2026-11-22T00:00:00Z: remove it, or have team-web renew it"}},
		"Expiring":     {"Before it is, that is told.", edited(goodException, "2026-12-31", "2026-12-05"), file, loud, []string{edited(covered, "2026-12-31", "2026-12-05"), "warn ExceptionExpiring shop/PolicyException.gitgate.dev/web: the exception expires 2026-12-05T00:00:00Z, and the rules refuse again: ask team-web"}},
		"Unused":       {"What is not needed is told.", goodException, file, configMap("m", "x"), []string{unused}},
		"Warning":      {"Warnings are covered too.", edited(goodException, "acme.deny", "acme.warn_red"), file, edited(loud, "loud", "red"), []string{edited(covered, "too loud", "red")}},
		"Broken":       {"A rule that fails said nothing that could be excepted.", edited(goodException, "acme.deny", "acme.deny_broken"), file, edited(loud, "loud", "odd-number"), []string{"deny PolicyError shop/ConfigMap/m", unused}},

		"Elsewhere":  {"An exception in a file that is not reserved.", goodException, "app/web.yaml", loud, []string{"deny PolicyDenied shop/ConfigMap/m: too loud", "deny ExceptionInvalid shop/PolicyException.gitgate.dev/web: a PolicyException counts only"}},
		"NoOwner":    {"Nobody answers for it.", edited(goodException, "owner: team-web", "owner: ' '"), file, loud, []string{"deny PolicyDenied shop/ConfigMap/m: too loud", "deny ExceptionInvalid shop/PolicyException.gitgate.dev/web: spec.owner is missing"}},
		"NoReason":   {"Nobody knows why.", edited(goodException, "  reason: it plays music\n", ""), file, loud, []string{"deny PolicyDenied shop/ConfigMap/m: too loud", "deny ExceptionInvalid shop/PolicyException.gitgate.dev/web: spec.reason is missing"}},
		"NoEnd":      {"It never ends.", edited(goodException, "  expires: \"2026-12-31T00:00:00Z\"\n", ""), file, loud, []string{"deny PolicyDenied shop/ConfigMap/m: too loud", "deny ExceptionInvalid shop/PolicyException.gitgate.dev/web: spec.expires is missing"}},
		"FarEnd":     {"It ends too late.", edited(goodException, "2026-12-31", "2027-12-31"), file, loud, []string{"deny PolicyDenied shop/ConfigMap/m: too loud", "deny ExceptionInvalid shop/PolicyException.gitgate.dev/web: spec.expires 2027-12-31T00:00:00Z is more than a year ahead"}},
		"NoDate":     {"Its end is no time.", edited(goodException, `"2026-12-31T00:00:00Z"`, "tomorrow"), file, loud, []string{"deny PolicyDenied shop/ConfigMap/m: too loud", "deny ExceptionInvalid shop/PolicyException.gitgate.dev/web: spec cannot be read"}},
		"Wildcard":   {"A wildcard of names.", edited(goodException, "names: [m]", "names: ['*']"), file, loud, []string{"deny PolicyDenied shop/ConfigMap/m: too loud", "deny ExceptionInvalid shop/PolicyException.gitgate.dev/web: spec.match.names: \"*\" is no name: there are no wildcards"}},
		"AllRules":   {"A wildcard of rules.", edited(goodException, "acme.deny", "'acme.*'"), file, loud, []string{"deny PolicyDenied shop/ConfigMap/m: too loud", "deny ExceptionInvalid shop/PolicyException.gitgate.dev/web: spec.policies.rules: \"acme.*\" is no name"}},
		"AllLabels":  {"A selector of everything.", edited(goodException, "names: [m]", "labelSelector: {}"), file, loud, []string{"deny PolicyDenied shop/ConfigMap/m: too loud", "deny ExceptionInvalid shop/PolicyException.gitgate.dev/web: spec.match.labelSelector selects everything"}},
		"Everything": {"No name and no label.", edited(goodException, ", names: [m]", ""), file, loud, []string{"deny PolicyDenied shop/ConfigMap/m: too loud", "deny ExceptionInvalid shop/PolicyException.gitgate.dev/web: spec.match names no object"}},
		"Unknown":    {"A field that is not known might have narrowed it.", edited(goodException, "names: [m]", "names: [m], only: [x]"), file, loud, []string{"deny PolicyDenied shop/ConfigMap/m: too loud", "deny ExceptionInvalid shop/PolicyException.gitgate.dev/web: spec cannot be read"}},
		"Patched":    {"A kustomization elsewhere widens it.", edited(goodException, "names: [m]", "names: [other]"), file, loud, []string{"deny PolicyDenied shop/ConfigMap/m: too loud", "deny ExceptionInvalid shop/PolicyException.gitgate.dev/web: the PolicyException is changed on its way"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := exceptional(t)
			files := map[string]string{"app/m.yaml": tc.object, tc.file: tc.exception}
			if name == "Patched" {
				files["app/kustomization.yaml"] = "resources: [m.yaml, exceptions/web.yaml]\npatches:\n  - target: {kind: PolicyException}\n    patch: '[{op: replace, path: /spec/match/names, value: [m]}]'\n"
			}
			_, v := s.admit(s.push(name, files))
			var got []string
			for _, f := range v.Findings {
				line := string(f.Severity) + " " + string(f.Reason) + " " + f.Object + ": " + f.Message
				for _, w := range tc.want {
					if strings.HasPrefix(line, w) && (f.Reason == verdict.ExceptionInvalid || f.Reason == verdict.PolicyError) {
						line = w // how it goes on is tested elsewhere
					}
				}
				got = append(got, line)
			}
			slices.Sort(tc.want)
			slices.Sort(got)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got)\n%s", tc.reason, diff)
			}
			allowed := true
			for _, w := range tc.want {
				allowed = allowed && !strings.HasPrefix(w, "deny")
			}
			if v.Allowed() != allowed {
				t.Errorf("%s\nallowed %t", tc.reason, v.Allowed())
			}
		})
	}
}

// TestExceptionsEnd: an exception that is taken away, or has ended, lets nothing pass
// any more, also where the object itself is as it was and was judged before.
func TestExceptionsEnd(t *testing.T) {
	loud := strings.Replace(configMap("m", "x"), "k: x", "mode: loud", 1)
	for name, judgedBefore := range map[string]bool{"Reconciler": false, "Check": true} {
		t.Run(name, func(t *testing.T) {
			s := exceptional(t)
			s.more = func(r *gate.Request) { r.JudgedBefore = judgedBefore }
			if _, v := s.admit(s.push("excepted", map[string]string{"app/m.yaml": loud, "app/exceptions/web.yaml": goodException})); !v.Allowed() {
				t.Fatalf("not excepted: %v", v.Findings)
			}
			head := s.push("something else", map[string]string{"app/other.yaml": configMap("other", "x")})
			if _, v := s.admit(head); !v.Allowed() {
				t.Fatalf("with something else: %v", v.Findings)
			}
			gone := s.push("the exception goes", nil, "app/exceptions/web.yaml")
			if _, v := s.admit(gone); v.Allowed() || !strings.Contains(v.Summary(), "too loud") {
				t.Errorf("without the exception: %v", v.Findings)
			}
		})
	}
	s := exceptional(t)
	now := exceptionTime
	s.edit = func(c *gate.Config) {
		c.Now = func() time.Time { return now }
		c.Exceptions = func(string) bool { return true }
	}
	head := s.push("excepted", map[string]string{"app/m.yaml": loud, "app/exceptions/web.yaml": goodException})
	if _, v := s.admit(head); !v.Allowed() {
		t.Fatal(v.Findings)
	}
	now = now.AddDate(0, 2, 0) // the same gate, which remembers what it judged
	if _, v := s.admit(s.push("later", map[string]string{"app/other.yaml": configMap("other", "x")})); v.Allowed() {
		t.Errorf("after its end: %v", v.Findings)
	}
}

// TestExceptionsOfDeletions: what rules say of a deletion can be excepted as well, and
// the deletion budget cannot.
func TestExceptionsOfDeletions(t *testing.T) {
	s := exceptional(t)
	s.budget = func(int) int { return 1 }
	kept := strings.Replace(configMap("m", "x"), "k: x", "mode: kept", 1)
	if _, v := s.admit(s.push("kept", map[string]string{"app/m.yaml": kept, "app/other.yaml": configMap("other", "x")})); !v.Allowed() {
		t.Fatal(v.Findings)
	}
	for _, o := range s.previous {
		if o.GetName() == "m" {
			s.cluster.live = append(s.cluster.live, o)
		}
	}
	if _, v := s.admit(s.push("drop", nil, "app/m.yaml")); v.Allowed() {
		t.Fatal("nothing keeps it")
	}
	if _, v := s.admit(s.push("excepted", map[string]string{"app/exceptions/web.yaml": edited(goodException, "acme.deny", "acme.deny_kept")})); !v.Allowed() || !strings.Contains(v.Findings[len(v.Findings)-1].Message, "kept (excepted until") {
		t.Errorf("not excepted: %v", v.Findings)
	}
}
