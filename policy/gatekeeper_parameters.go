package policy

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// withDefaults is the parameters of a constraint as an API server would keep them
// under the schema of its template: with defaults, and without what the schema does
// not name, which is an error here, lest a misspelt parameter be none. What is left
// of the schema (patterns, bounds) is the author's business.
func (t *template) withDefaults(parameters map[string]any) (map[string]any, error) {
	if t.schema == nil {
		return parameters, nil
	}
	p := parameterCheck{loose: t.loose}
	v, err := p.value(t.schema, parameters, "spec.parameters", 0)
	if err != nil {
		return nil, err
	}
	out, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("spec.parameters is not an object")
	}
	return out, nil
}

type parameterCheck struct{ loose bool }

func (p parameterCheck) value(schema map[string]any, v any, at string, depth int) (any, error) {
	if depth > maxYAMLDepth {
		return nil, fmt.Errorf("%s: the schema nests deeper than %d", clip(at, 256), maxYAMLDepth)
	}
	if v == nil {
		if nullable, _ := schema["nullable"].(bool); nullable || p.loose {
			return nil, nil
		}
		return nil, fmt.Errorf("%s is null", at)
	}
	if want, _ := schema["type"].(string); !isOfType(v, want) && !asIntOrString(schema, v) {
		return nil, fmt.Errorf("%s must be of type %s", at, want)
	}
	if enum, ok := schema["enum"].([]any); ok && !slices.ContainsFunc(enum, func(e any) bool { return reflect.DeepEqual(e, v) }) {
		return nil, fmt.Errorf("%s must be one of %s", at, clip(oneLine(fmt.Sprint(enum...), 0), 200))
	}
	switch v := v.(type) {
	case map[string]any:
		return p.object(schema, v, at, depth)
	case []any:
		items, _ := schema["items"].(map[string]any)
		if items == nil {
			return v, nil
		}
		out := make([]any, len(v))
		for i, e := range v {
			var err error
			if out[i], err = p.value(items, e, fmt.Sprintf("%s[%d]", at, i), depth+1); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return v, nil
}

func (p parameterCheck) object(schema, v map[string]any, at string, depth int) (any, error) {
	properties, _ := schema["properties"].(map[string]any)
	more, _ := schema["additionalProperties"].(map[string]any)
	anyMore, _ := schema["additionalProperties"].(bool)
	keep, _ := schema["x-kubernetes-preserve-unknown-fields"].(bool)
	out := make(map[string]any, len(v))
	for _, key := range slices.Sorted(maps.Keys(v)) {
		below, named := properties[key].(map[string]any)
		if !named {
			below = more
		}
		if below == nil {
			if !named && !p.loose && !keep && !anyMore {
				return nil, fmt.Errorf("%s", noField(at, key, slices.Collect(maps.Keys(properties))))
			}
			out[key] = v[key]
			continue
		}
		if v[key] == nil && below["default"] != nil { // as an API server has it
			continue
		}
		var err error
		if out[key], err = p.value(below, v[key], at+"."+key, depth+1); err != nil {
			return nil, err
		}
	}
	for _, key := range slices.Sorted(maps.Keys(properties)) {
		below, _ := properties[key].(map[string]any)
		if fallback, ok := below["default"]; ok && out[key] == nil {
			var err error
			if out[key], err = p.value(below, fallback, at+"."+key, depth+1); err != nil {
				return nil, fmt.Errorf("the default of %w", err)
			}
		}
	}
	required, _ := schema["required"].([]any)
	for _, key := range required {
		if name, _ := key.(string); name != "" {
			if _, ok := out[name]; !ok {
				return nil, fmt.Errorf("%s.%s is missing", at, name)
			}
		}
	}
	return out, nil
}

func asIntOrString(schema map[string]any, v any) bool {
	either, _ := schema["x-kubernetes-int-or-string"].(bool)
	return either && (isOfType(v, "integer") || isOfType(v, "string"))
}

// isOfType reports whether a value is of a type of OpenAPI; the empty one is any.
func isOfType(v any, want string) bool {
	switch want {
	case "object":
		_, ok := v.(map[string]any)
		return ok
	case "array":
		_, ok := v.([]any)
		return ok
	case "string":
		_, ok := v.(string)
		return ok
	case "boolean":
		_, ok := v.(bool)
		return ok
	case "number":
		_, ok := v.(json.Number)
		return ok
	case "integer":
		n, ok := v.(json.Number)
		return ok && !strings.ContainsAny(n.String(), ".eE")
	}
	return true
}
