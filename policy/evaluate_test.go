package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/verdict"
)

// patient is a deadline that a busy machine does not miss.
const patient = time.Minute

// load compiles one set of one module and fails the test if it does not.
func load(t testing.TB, src string, change ...func(*policy.Set, *policy.Options)) *policy.Engine {
	t.Helper()
	set, opts := policy.Set{Name: "acme", Modules: map[string]string{"acme.rego": src}}, policy.Options{Timeout: patient}
	for _, f := range change {
		f(&set, &opts)
	}
	e, err := policy.Load(t.Context(), []policy.Set{set}, opts)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return e
}

// short renders findings as severity reason [policy] field: message, one a line.
func short(fs []verdict.Finding) string {
	var lines []string
	for _, f := range fs {
		s := string(f.Severity) + " " + string(f.Reason) + " [" + f.Policy + "]"
		if f.Field != "" {
			s += " " + f.Field
		}
		lines = append(lines, s+": "+f.Message)
	}
	return strings.Join(lines, "\n")
}

// everyPart is what a caller knows who knows everything.
const everyPart = policy.PartOldObject | policy.PartNamespace | policy.PartUserInfo | policy.PartCommit |
	policy.PartImages | policy.PartSource | policy.PartInventory | policy.PartAttestations | policy.PartTime

const configMap = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"shop"},"data":{"n":"1"}}`

func TestEvaluate(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		rego   string
		change func(*policy.Set, *policy.Options)
		want   string
	}{
		"String": {
			reason: "A deny rule that yields a string denies with it.",
			rego:   `deny contains "no" if input.object.kind == "ConfigMap"`,
			want:   "deny PolicyDenied [acme/acme.deny]: no",
		},
		"Object": {
			reason: "An object carries a field, and other members are the author's.",
			rego:   `deny_x contains {"msg": "no", "field": "data.n", "details": {"a": 1}} if input.object.data.n == "1"`,
			want:   "deny PolicyDenied [acme/acme.deny_x] data.n: no",
		},
		"Violation": {
			reason: "Gatekeeper's name for a rule denies too.",
			rego:   `violation contains {"msg": "no"} if true`,
			want:   "deny PolicyDenied [acme/acme.violation]: no",
		},
		"Warn": {
			reason: "A warn rule warns.",
			rego:   `warn contains "hm"`,
			want:   "warn PolicyDenied [acme/acme.warn]: hm",
		},
		"Nothing": {
			reason: "A rule that finds nothing lets pass.",
			rego:   `deny contains "no" if input.object.kind == "Pod"`,
		},
		"EnforcementWarn": {
			reason: "A set that warns does not deny.",
			rego:   `deny contains "no"`,
			change: func(s *policy.Set, _ *policy.Options) { s.Enforcement = policy.Warn },
			want:   "warn PolicyDenied [acme/acme.deny]: no",
		},
		"EnforcementAudit": {
			reason: "A set that audits neither denies nor warns, not even by failing.",
			rego:   "deny contains \"no\"\nwarn contains 1",
			change: func(s *policy.Set, _ *policy.Options) { s.Enforcement = policy.Audit },
			want: "info PolicyDenied [acme/acme.deny]: no\n" +
				"info PolicyError [acme/acme.warn]: a result is a number and must be a string or an object with a msg",
		},
		"Number": {
			reason: "conftest drops such a result and counts a success; here it denies.",
			rego:   `deny contains 1`,
			want:   "deny PolicyError [acme/acme.deny]: a result is a number and must be a string or an object with a msg",
		},
		"NoMessage": {
			reason: "An object without msg must not pass.",
			rego:   `deny contains {"details": "no"}`,
			want:   "deny PolicyError [acme/acme.deny]: a result has no msg: add one, or a title in the METADATA of the rule",
		},
		"MessageType": {
			reason: "Nor one whose msg is not a string.",
			rego:   `deny contains {"msg": ["no"]}`,
			want:   "deny PolicyError [acme/acme.deny]: in a result, msg is not a string",
		},
		"FieldType": {
			reason: "Nor one whose field is not a string.",
			rego:   `deny contains {"msg": "no", "field": 1}`,
			want:   "deny PolicyError [acme/acme.deny]: in a result, field is not a string",
		},
		"Metadata": {
			reason: "METADATA speaks where the result does not.",
			rego:   "# METADATA\n# title: Title\n# description: What is wrong.\ndeny contains {\"field\": \"data\"}",
			want:   "deny PolicyDenied [acme/acme.deny] data: What is wrong.",
		},
		"ControlCharacters": {
			reason: "A message must not break a line or move a cursor.",
			rego:   `deny contains "a\nb\u001b[31m\u202ec"`,
			want:   "deny PolicyDenied [acme/acme.deny]: a b [31m c",
		},
		"O2/CompleteRule": {
			reason: "deny as a complete rule is undefined when it does not hold: that is no pass.",
			rego:   `deny if input.object.kind == "Pod"`,
			want:   "deny PolicyUndefined [acme/acme.deny]: the rule has no value for this object: write `deny contains msg if { … }`, which is an empty set when nothing is wrong",
		},
		"O2/CompleteRuleTrue": {
			reason: "Nor is true a set of messages.",
			rego:   `deny if input.object.kind == "ConfigMap"`,
			want:   "deny PolicyError [acme/acme.deny]: the rule is a boolean and must be a set of messages: write `deny contains msg if { … }`",
		},
		"O2/BuiltinError": {
			reason: "OPA makes deny undefined when a built-in fails; strict errors deny.",
			rego:   `deny contains "no" if to_number(input.object.metadata.name) > 1`,
			want:   "deny PolicyError [acme/acme.deny]: acme.rego:3: to_number: strconv.ParseFloat: parsing \"a\": invalid syntax",
		},
		"O2/Conflict": {
			reason: "Rules that contradict each other deny.",
			rego:   "deny contains \"no\" if x == 1\nx := 1 if input.object\nx := 2 if input.object.data",
			want:   "deny PolicyError [acme/acme.deny]: acme.rego:5: rule data.acme.x produced conflicting values:   1 at acme.rego:4   2 at acme.rego:5",
		},
		"O6/OthersStillSpeak": {
			reason: "A rule that fails does not silence the others of its set.",
			rego:   "deny contains \"no\"\ndeny_b contains \"b\" if to_number(\"b\") > 1",
			want: "deny PolicyDenied [acme/acme.deny]: no\n" +
				"deny PolicyError [acme/acme.deny_b]: acme.rego:4: to_number: strconv.ParseFloat: parsing \"b\": invalid syntax",
		},
		"O7/DynamicPattern": {
			reason: "A pattern from the object that does not compile denies and does not panic.",
			rego:   `deny contains "no" if regex.match(concat("", ["(", input.object.data.n]), "x")`,
			want:   "deny PolicyError [acme/acme.deny]: acme.rego:3: regex.match: error parsing regexp: missing closing ): `(1`",
		},
		"SprintfText": {
			reason: "Digits and asterisks in the text of a format are no widths.",
			rego:   `deny contains sprintf("order 999999999 * %5.1f%% of %[2]v", [12.345, 7])`,
			want:   "deny PolicyDenied [acme/acme.deny]: order 999999999 *  12.3% of 7",
		},
		"Parameters": {
			reason: "Parameters are part of the input.",
			rego:   `deny contains sprintf("%v", [input.parameters.max])`,
			change: func(s *policy.Set, _ *policy.Options) { s.Parameters = map[string]any{"max": 3} },
			want:   "deny PolicyDenied [acme/acme.deny]: 3",
		},
		"Data": {
			reason: "data holds the set's documents beside its rules.",
			rego:   `deny contains data.limits.msg`,
			change: func(s *policy.Set, _ *policy.Options) {
				s.Data = map[string]any{"limits": map[string]any{"msg": "from data"}}
			},
			want: "deny PolicyDenied [acme/acme.deny]: from data",
		},
		"V0": {
			reason: "Sets in Rego v0 say so.",
			rego:   `deny[msg] { input.object.data.n == "1"; msg := "v0" }`,
			change: func(s *policy.Set, _ *policy.Options) { s.RegoVersion = policy.RegoV0 },
			want:   "deny PolicyDenied [acme/acme.deny]: v0",
		},
		"TooManyFindings": {
			reason: "What is left out denies.",
			rego:   `warn contains sprintf("%d", [i]) if some i in numbers.range(1, 4)`,
			change: func(_ *policy.Set, o *policy.Options) { o.MaxFindings = 2 },
			want: "deny LimitExceeded [acme]: 2 more results are not shown: the limit is 2 for one object\n" +
				"warn PolicyDenied [acme/acme.warn]: 1\nwarn PolicyDenied [acme/acme.warn]: 2",
		},
		"LongMessage": {
			reason: "So does what is cut.",
			rego:   `warn contains "äöü"`,
			change: func(_ *policy.Set, o *policy.Options) { o.MaxMessageBytes = 3 },
			want: "deny LimitExceeded [acme/acme.warn]: a message is longer than 3 bytes and was cut\n" +
				"warn PolicyDenied [acme/acme.warn]: ä…",
		},
		"ManyFindings": {
			reason: "A flood is counted and not sorted.",
			rego:   `deny contains sprintf("%d", [i]) if some i in numbers.range(1, 5000)`,
			want:   "deny LimitExceeded [acme]: 5000 more results are not shown: the limit is 100 for one object",
		},
	} {
		t.Run(name, func(t *testing.T) {
			header := "package acme\n\n"
			change := func(*policy.Set, *policy.Options) {}
			if tc.change != nil {
				change = tc.change
			}
			e := load(t, header+tc.rego, change)
			got := short(e.Evaluate(t.Context(), policy.Input{Object: []byte(configMap)}))
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\n%s", tc.reason, diff)
			}
		})
	}
}

// fullInput has every part.
func fullInput(t *testing.T) policy.Input {
	inventory, err := policy.NewInventory([][]byte{[]byte(configMap)})
	if err != nil {
		t.Fatal(err)
	}
	return policy.Input{
		Operation: policy.Update,
		Object:    []byte(configMap),
		OldObject: []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"old"}}`),
		Namespace: []byte(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop"}}`),
		User:      &policy.UserInfo{Username: "alice", UID: "7", Groups: []string{"g"}, Extra: map[string][]string{"k": {"v"}}},
		Commit:    &policy.Commit{SHA: "c0ffee", Author: "Alice <a@example.com>", Message: "m", Signers: []string{"alice"}, Paths: []string{"a.yaml"}},
		Images: []policy.Image{{Ref: "web:1", Digest: "sha256:ab", Authorities: []string{"release"}, Attestations: []policy.Attestation{{
			Name: "scan", PredicateType: "https://acme.dev/scan", Authority: "scanner", Digest: "sha256:cd",
			Predicate: func() ([]byte, error) { return []byte(`{"found":[{"id":"CVE-1","text":"long"}]}`), nil },
		}}}},
		Time: time.Date(2026, 1, 31, 13, 0, 0, 7, time.FixedZone("", 3600)),
		File: "a.yaml", Line: 3, Inventory: inventory,
	}
}

// TestInputDocument wants every part of the input where the README says it is.
func TestInputDocument(t *testing.T) {
	in := fullInput(t)
	for expr, want := range map[string]string{
		"input.operation":                                       "UPDATE",
		"input.object.metadata.name":                            "a",
		"input.oldObject.metadata.name":                         "old",
		"input.namespace.metadata.name":                         "shop",
		"input.userInfo.username":                               "alice",
		"input.userInfo.uid":                                    "7",
		"input.userInfo.groups[0]":                              "g",
		"input.userInfo.extra.k[0]":                             "v",
		"input.commit.sha":                                      "c0ffee",
		"input.commit.author":                                   "Alice <a@example.com>",
		"input.commit.message":                                  "m",
		"input.commit.signers[0]":                               "alice",
		"input.commit.paths[0]":                                 "a.yaml",
		"input.images[0].ref":                                   "web:1",
		"input.images[0].digest":                                "sha256:ab",
		"input.images[0].authorities[0]":                        "release",
		"input.images[0].attestations[0].name":                  "scan",
		"input.images[0].attestations[0].predicateType":         "https://acme.dev/scan",
		"input.images[0].attestations[0].authority":             "scanner",
		"input.images[_].attestations[_].predicate.found[_].id": "CVE-1",
		"input.time":                                            "2026-01-31T12:00:00Z",
		"input.source.file":                                     "a.yaml",
		`sprintf("%d", [input.source.line])`:                    "3",
		`sprintf("%v", [input.parameters])`:                     "{}",
		"concat(\",\", object.keys(input))":                     "_inventory,commit,images,known,namespace,object,oldObject,operation,parameters,source,time,userInfo",
		`data.inventory.namespace.shop.v1.ConfigMap.a.data.n`:   "1",
	} {
		fs := load(t, "package acme\n\ndeny contains "+expr).Evaluate(t.Context(), in)
		if len(fs) != 1 || fs[0].Message != want || fs[0].Reason != verdict.PolicyDenied {
			t.Errorf("%s: findings = %v, want %q", expr, fs, want)
			continue
		}
		if f := fs[0]; f.File != "a.yaml" || f.Line != 3 || f.Object != "shop/ConfigMap/a" || f.Stage != verdict.StagePolicy {
			t.Errorf("%s: the finding points to %+v", expr, f)
		}
	}
	bare := load(t, `package acme
deny contains concat(",", object.keys(input))`).Evaluate(t.Context(), policy.Input{Object: []byte(configMap), None: everyPart})
	if len(bare) != 1 || bare[0].Message != "known,object,operation,parameters" {
		t.Errorf("what is not known is there: %v", bare)
	}
}

// TestInputRefused wants no rule asked about an input that makes no sense.
func TestInputRefused(t *testing.T) {
	e := load(t, "package acme\n\nwarn contains \"asked\"", func(_ *policy.Set, o *policy.Options) { o.MaxObjectBytes = 200 })
	object, big := []byte(configMap), []byte(`{"apiVersion":"v1","kind":"`+strings.Repeat("a", 200)+`"}`)
	for name, in := range map[string]policy.Input{
		"Nothing":       {},
		"DeleteOfNew":   {Operation: policy.Delete, Object: object},
		"DeleteWithNew": {Operation: policy.Delete, Object: object, OldObject: object},
		"Operation":     {Operation: "CONNECT", Object: object},
		"TooLarge":      {Object: big},
		"OldTooLarge":   {Operation: policy.Update, Object: object, OldObject: big},
		"OldBroken":     {Operation: policy.Update, Object: object, OldObject: []byte(`{"apiVersion":"v1","kind":"a","x":{"y":1,"y":2}}`)},
		"Namespace":     {Object: object, Namespace: []byte(`7`)},
		"BigNamespace":  {Object: object, Namespace: big},
	} {
		fs := e.Evaluate(t.Context(), in)
		if len(fs) != 1 || fs[0].Reason != verdict.PolicyError || fs[0].Severity != verdict.Deny {
			t.Errorf("%s: findings = %v, want one PolicyError", name, fs)
		}
	}
}

func TestReadsContext(t *testing.T) {
	for rego, want := range map[string]bool{
		`deny contains "x" if input.object.kind == "Pod"`:              false,
		`deny contains input.parameters.x if input.object.kind`:        false,
		`deny contains "x" if input.operation == "a"`:                  true,
		`deny contains "x" if input.commit.sha == ""`:                  true,
		`deny contains "x" if input.oldObject`:                         true,
		`deny contains "x" if { some k in ["a"]; input[k] }`:           false,
		`deny contains "x" if { some k in ["a", "commit"]; input[k] }`: true,
		`deny contains "x" if { some k in input.object.a; input[k] }`:  true,
		`deny contains "x" if object.get(input, "images", []) == []`:   true,
		"deny contains \"x\" if p\np if input.namespace.metadata.name": true,
	} {
		if got := load(t, "package acme\n\n"+rego).ReadsContext(); got != want {
			t.Errorf("%s\nReadsContext() = %t, want %t", rego, got, want)
		}
	}
}
