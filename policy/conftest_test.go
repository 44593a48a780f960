package policy_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/policy"
)

func conftest(s *policy.Set, _ *policy.Options) { s.Format = policy.FormatConftest }

func TestConftest(t *testing.T) {
	const deployment = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"shop"},"spec":{"replicas":1}}`
	v0 := func(s *policy.Set, _ *policy.Options) { s.RegoVersion = policy.RegoV0 }
	for name, tc := range map[string]struct {
		reason, rego string
		change       func(*policy.Set, *policy.Options)
		input        policy.Input
		want         string
	}{
		"Input":          {reason: "The object is the input.", rego: `deny contains msg if { input.kind == "Deployment"; msg := sprintf("%s", [input.metadata.name]) }`, want: "deny PolicyDenied [acme/main.deny]: web"},
		"Whole":          {reason: "All of it.", rego: `deny contains concat(",", object.keys(input))`, want: "deny PolicyDenied [acme/main.deny]: apiVersion,kind,metadata,spec"},
		"Import":         {reason: "An import keeps its name.", rego: "import input as doc\nimport input.spec\ndeny contains sprintf(\"%v %v\", [doc.kind, spec.replicas])", want: "deny PolicyDenied [acme/main.deny]: Deployment 1"},
		"With":           {reason: "A rule may ask about another document.", rego: "deny contains \"p\" if p with input as {\"a\": 1}\np if input.a == 1", want: "deny PolicyDenied [acme/main.deny]: p"},
		"Nested":         {reason: "Wherever it stands.", rego: `deny contains sprintf("%v", [{"a": [input.kind, {input.spec.replicas}], "b": {x | x := input.kind}, "c": [y | some y in [input.kind]], "d": {input.kind: input.spec}}])`, want: `deny PolicyDenied [acme/main.deny]: {"a": ["Deployment", {1}], "b": {"Deployment"}, "c": ["Deployment"], "d": {"Deployment": {"replicas": 1}}}`},
		"Index":          {reason: "And as a key.", rego: `deny contains names[input.kind]` + "\n" + `names := {"Deployment": "d"}`, want: "deny PolicyDenied [acme/main.deny]: d"},
		"Template":       {reason: "In a template string.", rego: `deny contains $"kind {input.kind}"`, want: "deny PolicyDenied [acme/main.deny]: kind Deployment"},
		"Every":          {reason: "In every.", rego: `deny contains "x" if { every k, v in input.spec { k == "replicas"; v == input.spec.replicas } }`, want: "deny PolicyDenied [acme/main.deny]: x"},
		"Else":           {reason: "In an else.", rego: "deny contains p\np := \"a\" if input.kind == \"Pod\" else := input.kind", want: "deny PolicyDenied [acme/main.deny]: Deployment"},
		"Function":       {reason: "In what a function is given.", rego: "deny contains f(input)\nf(o) := o.kind", want: "deny PolicyDenied [acme/main.deny]: Deployment"},
		"V0":             {reason: "In Rego v0, with what strictness would refuse.", rego: "import data.unused\ndeny[msg] { x := 1; input.kind = \"Deployment\"; msg = \"v0\" }", change: v0, want: "deny PolicyDenied [acme/main.deny]: v0"},
		"Names":          {reason: "All names of rules.", rego: "deny_a contains \"a\"\nviolation_b contains {\"msg\": \"b\"}\nwarn_c contains \"c\"", want: "deny PolicyDenied [acme/main.deny_a]: a\ndeny PolicyDenied [acme/main.violation_b]: b\nwarn PolicyDenied [acme/main.warn_c]: c"},
		"List":           {reason: "A list of messages is one too.", rego: `deny := ["a", "b"]`, want: "deny PolicyDenied [acme/main.deny]: a\ndeny PolicyDenied [acme/main.deny]: b"},
		"ListNot":        {reason: "Which may have a condition.", rego: `deny := ["a"] if input.kind == "Pod"`},
		"O2/Undefined":   {reason: "Unlike what can be no list.", rego: `deny if input.kind == "Pod"`, want: "deny PolicyUndefined [acme/main.deny]: the rule has no value for this object: write `deny contains msg if { … }`, which is an empty set when nothing is wrong"},
		"O2/Number":      {reason: "What conftest drops is an error.", rego: `deny contains 7`, want: "deny PolicyError [acme/main.deny]: a result is a number and must be a string or an object with a msg"},
		"O2/InList":      {reason: "In a list too.", rego: `deny := [7]`, want: "deny PolicyError [acme/main.deny]: a result is a number and must be a string or an object with a msg"},
		"O2/NoMessage":   {reason: "And a result without msg.", rego: `deny contains {"message": "x"}`, want: "deny PolicyError [acme/main.deny]: a result has no msg: add one, or a title in the METADATA of the rule"},
		"O2/Text":        {reason: "And a rule that is a text.", rego: `deny := "x"`, want: "deny PolicyError [acme/main.deny]: the rule is a string and must be a set of messages: write `deny contains msg if { … }`"},
		"Exception":      {reason: "An exception speaks for the rule of its suffix, and stays on record.", rego: "deny_a contains \"a\"\nexception contains [\"a\"] if input.metadata.name == \"web\"", want: "info PolicyDenied [acme/main.deny_a]: excepted by the rule exception: a"},
		"ExceptionOther": {reason: "Not for another one.", rego: "deny_a contains \"a\"\nexception contains [\"b\"]", want: "deny PolicyDenied [acme/main.deny_a]: a"},
		"ExceptionBare":  {reason: "The empty text is the rule without a suffix.", rego: "deny contains \"a\"\ndeny_b contains \"b\"\nexception contains [\"\"]", want: "deny PolicyDenied [acme/main.deny_b]: b\ninfo PolicyDenied [acme/main.deny]: excepted by the rule exception: a"},
		"ExceptionNot":   {reason: "It must hold.", rego: "deny_a contains \"a\"\nexception contains [\"a\"] if input.metadata.name == \"other\"", want: "deny PolicyDenied [acme/main.deny_a]: a"},
		"ExceptionError": {reason: "What is malformed cannot be excepted.", rego: "deny_a contains 7\nexception contains [\"a\"]", want: "deny PolicyError [acme/main.deny_a]: a result is a number and must be a string or an object with a msg"},
		"ExceptionFails": {reason: "An exception that fails is none.", rego: "deny_a contains \"a\"\nexception contains [\"a\"] if to_number(input.kind) > 1", want: "deny PolicyError [acme/main.deny_a]: acme.rego:4: to_number: strconv.ParseFloat: parsing \"Deployment\": invalid syntax"},
		"File":           {reason: "The file is data.conftest.file.", rego: `deny contains sprintf("%s %s", [data.conftest.file.dir, data.conftest.file.name])`, input: policy.Input{File: "deploy/web.yaml"}, want: "deny PolicyDenied [acme/main.deny]: deploy web.yaml"},
		"NoFile":         {reason: "Where there is none, that is not known.", rego: `deny contains data.conftest.file.name`, want: "undetermined PolicyUndefined [acme/main.deny]: the rule reads data.conftest.file, which is not known here"},
		"ExceptionFile":  {reason: "For an exception neither.", rego: "deny contains \"a\"\nexception contains [\"\"] if data.conftest.file.name == \"a\"", want: "undetermined PolicyUndefined [acme/main.deny]: the rule reads data.conftest.file, which is not known here"},
		"Deletion":       {reason: "conftest judges what will be there.", rego: `deny contains "x"`, input: policy.Input{Operation: policy.Delete, OldObject: []byte(deployment)}},
		"Data": {reason: "Data files are data.", rego: `deny contains data.settings.text`, change: func(s *policy.Set, _ *policy.Options) {
			s.Data = map[string]any{"settings": map[string]any{"text": "t"}}
		}, want: "deny PolicyDenied [acme/main.deny]: t"},
	} {
		t.Run(name, func(t *testing.T) {
			e := load(t, "package main\n\n"+tc.rego, conftest, func(s *policy.Set, o *policy.Options) {
				if tc.change != nil {
					tc.change(s, o)
				}
			})
			if tc.input.OldObject == nil {
				tc.input.Object = []byte(deployment)
			}
			for range 2 {
				if diff := cmp.Diff(tc.want, short(e.Evaluate(t.Context(), tc.input))); diff != "" {
					t.Errorf("%s\n%s", tc.reason, diff)
				}
			}
		})
	}
}

// No format shows what is in a Secret.
func TestAttack_O1_ConftestSecret(t *testing.T) {
	e := load(t, "package main\n\ndeny contains json.marshal(input)", conftest)
	fs := e.Evaluate(t.Context(), policy.Input{Object: []byte(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"},"stringData":{"k":"hunter2"}}`)})
	if len(fs) != 1 || strings.Contains(fs[0].Message, "hunter2") || !strings.Contains(fs[0].Message, "(redacted)") {
		t.Errorf("findings = %v", fs)
	}
}

func TestConftestRefused(t *testing.T) {
	for name, tc := range map[string]struct{ reason, rego, want string }{
		"O1/Network":     {"The network is closed in every format.", `deny[m] { m := http.send({"method": "get", "url": "http://x"}).raw_body }`, "http.send is not available"},
		"O1/Environment": {"And the environment.", `deny[m] { m := opa.runtime().env.HOME }`, "opa.runtime is not available"},
		"O2/Argument":    {"A function may not take another input.", "deny[m] { f({}); m := \"x\" }\nf(input) { input.kind == \"a\" }", "the name input is taken"},
		"O2/Variable":    {"Nor a rule make one.", `deny["x"] { input := {}; input.a }`, "the name input is taken"},
		"O2/Some":        {"In no way.", `deny["x"] { some data; data = {}; data.a }`, "the name data is taken"},
		"O2/Rule":        {"Also not as a rule.", "deny[\"x\"] { input.kind }\ninput = {}", "the name input is taken"},
		"O7/Pattern":     {"Patterns are compiled at load.", `deny["x"] { regex.match("(", input.kind) }`, "does not compile"},
		"O2/Exception":   {"An exception is a list of lists.", "deny[\"x\"] { input.kind }\nexception[\"x\"] { input.kind }", "data.main.exception"},
		"O2/Nothing":     {"A set that never speaks lets everything pass.", `allow { input.kind }`, "no deny, violation or warn rule"},
	} {
		t.Run(name, func(t *testing.T) {
			set := policy.Set{Name: "acme", Format: policy.FormatConftest, RegoVersion: policy.RegoV0, Modules: map[string]string{"a.rego": "package main\n\n" + tc.rego}}
			if _, err := policy.Load(t.Context(), []policy.Set{set}, policy.Options{}); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s\nerror %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}

// Formats do not disturb each other in one engine, whatever each reads.
func TestFormatsTogether(t *testing.T) {
	sets := []policy.Set{
		{Name: "a", Modules: map[string]string{"a.rego": "package a\ndeny contains concat(\",\", object.keys(input)) if input.known.source"}},
		{Name: "b", Format: policy.FormatConftest, Modules: map[string]string{"b.rego": "package b\ndeny contains concat(\",\", object.keys(input))\ndeny contains data.conftest.file.name"}},
	}
	e, err := policy.Load(t.Context(), sets, policy.Options{Timeout: patient})
	if err != nil {
		t.Fatal(err)
	}
	fs := e.Evaluate(t.Context(), policy.Input{Object: []byte(configMap), File: "x.yaml", None: everyPart})
	want := "deny PolicyDenied [a/a.deny]: known,object,operation,parameters,source\n" +
		"deny PolicyDenied [b/b.deny]: apiVersion,data,kind,metadata\ndeny PolicyDenied [b/b.deny]: x.yaml"
	if diff := cmp.Diff(want, short(fs)); diff != "" {
		t.Error(diff)
	}
}
