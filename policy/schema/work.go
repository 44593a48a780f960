package schema

import structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"

// maxWork bounds what validating an object may cost, in checks of a value against a
// constraint: the library cannot be interrupted. A million takes about a second at
// worst; real objects take thousands.
const maxWork = 20_000_000

// work bounds the checks that validating v takes: alternatives are tried on all that
// is in the value to which they apply.
func work(s *structural.Structural, v any) int {
	n := 1
	if s.ValueValidation != nil {
		if local := constraints(s.ValueValidation); local > 1 {
			size, _ := measure(v)
			n = local * size
		}
	}
	switch v := v.(type) {
	case map[string]any:
		for name, e := range v {
			if p, ok := s.Properties[name]; ok {
				n += work(&p, e)
			} else if s.AdditionalProperties != nil && s.AdditionalProperties.Structural != nil {
				n += work(s.AdditionalProperties.Structural, e)
			}
			if n > maxWork {
				return n
			}
		}
	case []any:
		for _, e := range v {
			if s.Items != nil {
				n += work(s.Items, e)
			}
			if n > maxWork {
				return n
			}
		}
	}
	return n
}

// constraints counts what is to be checked of a value, nested alternatives included.
func constraints(v *structural.ValueValidation) int {
	n := 1 + len(v.Enum)
	for _, of := range [][]structural.NestedValueValidation{v.AllOf, v.AnyOf, v.OneOf} {
		for i := range of {
			n += nestedConstraints(&of[i])
		}
	}
	if v.Not != nil {
		n += nestedConstraints(v.Not)
	}
	return n
}

func nestedConstraints(v *structural.NestedValueValidation) int {
	n := constraints(&v.ValueValidation)
	for _, p := range v.Properties {
		n += nestedConstraints(&p)
	}
	if v.Items != nil {
		n += nestedConstraints(v.Items)
	}
	if v.AdditionalProperties != nil {
		n += nestedConstraints(v.AdditionalProperties)
	}
	return n
}
