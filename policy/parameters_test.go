package policy_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"gitgate.dev/gitgate/policy"
)

// TestUnknownParameters: a typing error in the name of a parameter does not leave a rule
// to its default.
func TestUnknownParameters(t *testing.T) {
	const schema = `{"properties": {"allowedRegistries": {}, "minReplicas": {}}}`
	const reads = "package a\ndeny contains \"x\" if input.object.data.k in input.parameters[\"allowedRegistries\"]\n"
	for name, tc := range map[string]struct {
		reason     string
		own        string // a module beside those of the schema
		parameters map[string]any
		want       string
	}{
		"Known":     {"What the schema names.", "", map[string]any{"allowedRegistries": []any{}}, ""},
		"Typo":      {"A typing error.", "", map[string]any{"alowedRegistries": []any{}}, `no rule reads a parameter "alowedRegistries": is allowedRegistries meant?`},
		"Case":      {"Names have a case.", "", map[string]any{"minreplicas": 2}, "is minReplicas meant?"},
		"Unknown":   {"What is like none.", "", map[string]any{"colour": "red"}, `parameter "colour": there are allowedRegistries, minReplicas`},
		"Two":       {"All of them are told.", "", map[string]any{"colour": 1, "allowedRegistry": 2}, `"allowedRegistry": is`},
		"Null":      {"Also of a value that counts as none.", "", map[string]any{"colour": nil}, "no rule reads"},
		"Hostile":   {"A name that is long costs nothing and fills no terminal.", "", map[string]any{strings.Repeat("\x1b", 1<<20): 1}, `parameter "\x1b\x1b`},
		"Own":       {"A module beside them reads a name of its own.", "package b\ndeny contains \"x\" if input.object.data.k == input.parameters.colour", map[string]any{"colour": "red"}, ""},
		"OwnOther":  {"And that one only.", "package b\ndeny contains \"x\" if input.object.data.k == input.parameters.colour", map[string]any{"color": "red"}, "is colour meant?"},
		"Get":       {"By object.get.", "package b\ndeny contains \"x\" if input.object.data.k == object.get(input.parameters, \"colour\", \"red\")", map[string]any{"colour": "red"}, ""},
		"GetOther":  {"object.get is told apart from reading all.", "package b\ndeny contains \"x\" if input.object.data.k == object.get(input.parameters, \"colour\", \"red\")", map[string]any{"shape": "red"}, "no rule reads"},
		"Any":       {"A module that reads any name.", "package b\ndeny contains \"x\" if { some k in input.object.data.keys; input.parameters[k] }", map[string]any{"shape": "red"}, ""},
		"AnyTypo":   {"What is near to a name of the schema is a typing error all the same.", "package b\ndeny contains \"x\" if { some k in input.object.data.keys; input.parameters[k] }", map[string]any{"minReplica": 1}, "is minReplicas meant?"},
		"Whole":     {"One that hands on the input.", "package b\nf(i) := i.parameters\ndeny contains \"x\" if f(input).shape", map[string]any{"shape": "red"}, ""},
		"Broken":    {"One that does not parse is told as that.", "package b\ndeny contains", map[string]any{"shape": "red"}, "unexpected eof token"},
		"Uncovered": {"A name in a comment or a test is not read.", "package b\n# input.parameters.shape\ndeny contains \"x\" if input.object.data.k", map[string]any{"shape": "red"}, "no rule reads"},
	} {
		t.Run(name, func(t *testing.T) {
			set, err := policy.ReadSet("s", fstest.MapFS{"p/a.rego": {Data: []byte(reads)}, "p/parameters.jsonschema": {Data: []byte(schema)}}, ".")
			if err != nil {
				t.Fatal(err)
			}
			if tc.own != "" {
				set.Modules["own.rego"] = tc.own
			}
			set.Parameters = tc.parameters
			_, err = policy.Compile(t.Context(), set, policy.Options{})
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("%s\n%v", tc.reason, err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want) || len(err.Error()) > 1000 || strings.Contains(err.Error(), "\x1b")):
				t.Errorf("%s\n%.2000v, want %q", tc.reason, err, tc.want)
			}
		})
	}
	if _, err := policy.ReadSet("s", fstest.MapFS{"a.rego": {Data: []byte(reads)}, "parameters.jsonschema": {Data: []byte("[]")}}, "."); err == nil || !strings.Contains(err.Error(), "parameters.jsonschema: this is no JSON schema") {
		t.Errorf("a schema that is none: %v", err)
	}
}

// TestShareParameters: sets that get one document take what is meant for others of them.
func TestShareParameters(t *testing.T) {
	library := func(name string) policy.Set {
		s := policy.Set{Name: name, Modules: map[string]string{"a.rego": "package a\ndeny contains \"x\" if input.parameters." + name}}
		s.Declare(policy.ParameterNames{Names: []string{name}, Modules: []string{"a.rego"}})
		return s
	}
	own := policy.Set{Name: "own", Modules: map[string]string{"a.rego": "package a\ndeny contains \"x\" if input.parameters.mine"}}
	for name, tc := range map[string]struct {
		reason     string
		parameters map[string]any
		want       bool
	}{
		"All":  {"Each has its own.", map[string]any{"first": 1, "second": 2, "mine": 3}, true},
		"None": {"What is of none is an error.", map[string]any{"third": 1}, false},
	} {
		t.Run(name, func(t *testing.T) {
			sets := []policy.Set{library("first"), library("second"), own}
			for i := range sets {
				sets[i].Parameters = tc.parameters
			}
			policy.ShareParameters(sets)
			if _, err := policy.Load(t.Context(), sets, policy.Options{}); (err == nil) != tc.want {
				t.Errorf("%s\n%v", tc.reason, err)
			}
		})
	}
}
