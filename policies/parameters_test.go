package policies_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"

	"gitgate.dev/gitgate/policies"
)

// A property is what the schema of a pack says of one parameter.
type property struct {
	Description string `json:"description"`
	Type        string `json:"type"`
	Format      string `json:"format"`
	Default     any    `json:"default"`
	Minimum     *int   `json:"minimum"`
	MinLength   int    `json:"minLength"`
	Enum        []string
	Items       *property
	Additional  *property           `json:"additionalProperties"`
	Required    []string            `json:"required"`
	Properties  map[string]property `json:"properties"`
}

// kind is the name that lib/parameters.rego has for the type of a parameter.
func (p property) kind() string {
	switch {
	case p.Type == "boolean":
		return "boolean"
	case p.Type == "integer" && p.Minimum != nil && *p.Minimum == 0:
		return "count"
	case p.Type == "string" && slices.Equal(p.Enum, []string{"low", "medium", "high", "critical"}):
		return "severity"
	case p.Type == "string" && p.MinLength == 1:
		return "text"
	case p.Type == "string" && p.Format == "regex":
		return "pattern"
	case p.Type == "array" && p.Items != nil && p.Items.Type == "string":
		return "strings"
	case p.Type == "array" && p.Items != nil && p.Items.Type == "object":
		return "entries"
	case p.Type != "object" || p.Additional == nil:
		return "unknown"
	}
	switch inner := p.Additional.kind(); {
	case inner == "pattern":
		return "patterns"
	case inner == "count":
		return "counts"
	case inner == "strings":
		return "lists"
	case p.Additional.Type == "string":
		return "texts"
	}
	return "unknown"
}

// schemaOf returns the parameters of a pack by name.
func schemaOf(t *testing.T, pack string) map[string]property {
	t.Helper()
	raw, err := policies.ParametersSchema(pack)
	if err != nil {
		t.Fatal(err)
	}
	if raw == nil {
		return nil
	}
	var s property
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatalf("%s: %v", pack, err)
	}
	return s.Properties
}

// A reading is what the modules of a pack read of their parameters.
type reading struct {
	defaults map[string]any
	types    map[string]any
}

// readsParameters finds the calls of parameters.get, whose arguments must be
// constants, and the table of types.
func readsParameters(t *testing.T, pack string) reading {
	t.Helper()
	r := reading{defaults: map[string]any{}}
	for file, mod := range modules(t) {
		if !strings.HasPrefix(file, pack+"/") || strings.HasSuffix(file, "_test.rego") {
			continue
		}
		call := func(terms []*ast.Term) {
			if terms[0].String() != "parameters.get" {
				return
			}
			name, ok := terms[1].Value.(ast.String)
			if !ok {
				t.Errorf("%s: the name of the parameter is no constant", terms[1].Loc())
				return
			}
			value, err := ast.JSON(terms[2].Value)
			if err != nil {
				t.Errorf("%s: the default of %s is no constant: %v", terms[2].Loc(), name, err)
			}
			if before, ok := r.defaults[string(name)]; ok && !cmp.Equal(before, value) {
				t.Errorf("%s: parameter %s has another default elsewhere", terms[2].Loc(), name)
			}
			r.defaults[string(name)] = value
		}
		ast.WalkTerms(mod, func(term *ast.Term) bool {
			switch v := term.Value.(type) {
			case ast.Call:
				call(v)
			case ast.Ref:
				if v.HasPrefix(ast.MustParseRef("input.parameters")) {
					t.Errorf("%s: parameters are read with parameters.get, which knows of defaults", term.Loc())
				}
			}
			return false
		})
		ast.WalkExprs(mod, func(e *ast.Expr) bool {
			if terms, ok := e.Terms.([]*ast.Term); ok && e.IsCall() {
				call(terms)
			}
			return false
		})
		for _, rule := range mod.Rules {
			if rule.Head.Name.String() != "parameter_types" {
				continue
			}
			value, err := ast.JSON(rule.Head.Value.Value)
			if err != nil {
				t.Fatal(err)
			}
			r.types = value.(map[string]any)
		}
	}
	return r
}

// TestParameters wants the schema of each pack to say exactly what its rules
// read, with the defaults that they take, and the packs to agree where they
// share a name: they may share one document.
func TestParameters(t *testing.T) {
	shared := map[string]property{}
	for _, pack := range policies.Packs() {
		schema, reads := schemaOf(t, pack), readsParameters(t, pack)
		defaults, types := map[string]any{}, map[string]any{}
		for name, p := range schema {
			raw, _ := json.Marshal(p.Default)
			var value any
			dec := json.NewDecoder(strings.NewReader(string(raw)))
			dec.UseNumber()
			if err := dec.Decode(&value); err != nil {
				t.Fatal(err)
			}
			defaults[name], types[name] = value, p.kind()
			if p.Description == "" || p.Default == nil {
				t.Errorf("%s: parameter %s wants a description and a default", pack, name)
			}
			if other, ok := shared[name]; ok && !cmp.Equal(other, p) {
				t.Errorf("parameter %s is not the same in all packs", name)
			}
			shared[name] = p
		}
		if diff := cmp.Diff(defaults, reads.defaults); diff != "" {
			t.Errorf("%s: defaults in the schema and in the rules differ (-schema +rules):\n%s", pack, diff)
		}
		if len(schema) > 0 {
			if diff := cmp.Diff(types, reads.types); diff != "" {
				t.Errorf("%s: types in the schema and in parameter_types differ (-schema +rules):\n%s", pack, diff)
			}
		}
	}
}

// TestSchemasHoldForDefaults has OPA judge the defaults by the schemas, and
// something wrong for each parameter.
func TestSchemasHoldForDefaults(t *testing.T) {
	for _, pack := range policies.Packs() {
		raw, err := policies.ParametersSchema(pack)
		if err != nil || raw == nil {
			continue
		}
		query, err := rego.New(rego.Query("[ok, _] := json.match_schema(input.document, input.schema)")).PrepareForEval(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		matches := func(document map[string]any) bool {
			rs, err := query.Eval(t.Context(), rego.EvalInput(map[string]any{"document": document, "schema": string(raw)}))
			if err != nil || len(rs) != 1 {
				t.Fatalf("%s: %v %v", pack, rs, err)
			}
			return rs[0].Bindings["ok"].(bool)
		}
		document := map[string]any{}
		for name, p := range schemaOf(t, pack) {
			document[name] = p.Default
		}
		if !matches(document) {
			t.Errorf("%s: the defaults are not what the schema wants", pack)
		}
		for _, name := range slices.Sorted(maps.Keys(document)) {
			if matches(map[string]any{name: []any{[]any{}}}) {
				t.Errorf("%s: the schema takes anything for %s", pack, name)
			}
		}
	}
}

func TestParametersSchema(t *testing.T) {
	if raw, err := policies.ParametersSchema("pod-security-baseline"); raw != nil || err != nil {
		t.Errorf("a pack without parameters: %s, %v", raw, err)
	}
	if _, err := policies.ParametersSchema("pod-security"); err == nil || !strings.Contains(err.Error(), "pod-security-baseline") {
		t.Errorf("ParametersSchema(unknown) = %v, want the names that there are", err)
	}
}
