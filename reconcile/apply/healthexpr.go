package apply

import (
	"fmt"

	"github.com/google/cel-go/cel"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// healthRules are compiled [HealthExpr]s by kind. A nil *healthRules has none.
type healthRules struct {
	by map[schema.GroupVersionKind]healthRule
}

type healthRule struct {
	text                        HealthExpr
	current, inProgress, failed cel.Program
}

// source returns the expressions for a kind; the zero value if there are none.
func (h *healthRules) source(gvk schema.GroupVersionKind) HealthExpr {
	if h == nil {
		return HealthExpr{}
	}
	return h.by[gvk].text
}

// exprVariables are the parts of an object that an expression can name.
var exprVariables = []string{"apiVersion", "kind", "metadata", "spec", "status", "data"}

const (
	// maxExpr bounds the length of an expression in bytes.
	maxExpr = 4096
	// exprCost bounds what one evaluation may cost, in CEL's units; a simple walk
	// over a hundred conditions costs some thousands.
	exprCost = 1_000_000
)

// compileHealth compiles expressions. It returns nil if there are none.
func compileHealth(exprs []HealthExpr) (*healthRules, error) {
	if len(exprs) == 0 {
		return nil, nil
	}
	options := make([]cel.EnvOption, 0, len(exprVariables))
	for _, name := range exprVariables {
		options = append(options, cel.Variable(name, cel.DynType))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, err
	}
	rules := &healthRules{by: map[schema.GroupVersionKind]healthRule{}}
	for i, e := range exprs {
		gv, err := schema.ParseGroupVersion(e.APIVersion)
		if err != nil || e.Kind == "" || e.Current == "" {
			return nil, fmt.Errorf("expression %d needs apiVersion, kind and current", i)
		}
		rule := healthRule{text: e}
		for _, part := range []struct {
			name, text string
			into       *cel.Program
		}{{"current", e.Current, &rule.current}, {"inProgress", e.InProgress, &rule.inProgress}, {"failed", e.Failed, &rule.failed}} {
			if part.text == "" {
				continue
			}
			if *part.into, err = compile(env, part.text); err != nil {
				return nil, fmt.Errorf("%s of %s: %w", part.name, e.Kind, err)
			}
		}
		rules.by[gv.WithKind(e.Kind)] = rule
	}
	return rules, nil
}

func compile(env *cel.Env, text string) (cel.Program, error) {
	if len(text) > maxExpr {
		return nil, fmt.Errorf("longer than %d bytes", maxExpr)
	}
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, issues.Err()
	}
	if t := ast.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("it gives a %s, not a bool", t)
	}
	return env.Program(ast, cel.CostLimit(exprCost))
}

// evaluate tells the health of an object whose kind has expressions.
func (h *healthRules) evaluate(obj map[string]any) (health, bool) {
	if h == nil {
		return health{}, false
	}
	version, _ := obj["apiVersion"].(string)
	kind, _ := obj["kind"].(string)
	gv, err := schema.ParseGroupVersion(version)
	if err != nil {
		return health{}, false
	}
	rule, ok := h.by[gv.WithKind(kind)]
	if !ok {
		return health{}, false
	}
	vars := make(map[string]any, len(exprVariables))
	for _, name := range exprVariables {
		if vars[name] = obj[name]; obj[name] == nil {
			vars[name] = map[string]any{}
		}
	}
	if holds, _ := ask(rule.failed, vars); holds {
		return health{failed, "its failed expression holds"}, true
	}
	if holds, _ := ask(rule.inProgress, vars); holds {
		return health{progressing, "its inProgress expression holds"}, true
	}
	holds, err := ask(rule.current, vars)
	switch {
	case err != nil: // most often a status that is not there yet
		return health{progressing, "its current expression cannot be evaluated yet: " + err.Error()}, true
	case !holds:
		return health{progressing, "its current expression does not hold"}, true
	}
	return health{state: healthy}, true
}

func ask(p cel.Program, vars map[string]any) (bool, error) {
	if p == nil {
		return false, nil
	}
	out, _, err := p.Eval(vars)
	if err != nil {
		return false, err
	}
	holds, ok := out.Value().(bool)
	if !ok {
		return false, fmt.Errorf("it gives a %s, not a bool", out.Type().TypeName())
	}
	return holds, nil
}
