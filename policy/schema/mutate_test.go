package schema_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
)

// A mutation is a change to one place of an object.
type mutation struct {
	what   string // for people
	swap   bool   // a value for one of another type
	object map[string]any
}

// mutations returns obj with one change each: every value removed, nulled, and
// replaced by values of other types, a field too many in every object, an item
// twice in every list. What identifies the object is left alone.
func mutations(obj map[string]any) (out []mutation) {
	var walk func(v any, path []any)
	change := func(what string, path []any, f func(parent any, last any)) {
		c := runtime.DeepCopyJSON(obj)
		var parent any = c
		for _, p := range path[:len(path)-1] {
			parent = child(parent, p)
		}
		f(parent, path[len(path)-1])
		out = append(out, mutation{what: fmt.Sprintf("%s %v", what, path), swap: strings.HasSuffix(what, " for"), object: c})
	}
	walk = func(v any, path []any) {
		if len(path) > 0 && (len(path) > 1 || path[0] != "metadata") {
			for _, other := range others(v) {
				change(fmt.Sprintf("%T %v for", other, other), path, func(parent, last any) { put(parent, last, other) })
			}
			if name, ok := path[len(path)-1].(string); ok {
				change("remove", path, func(parent, _ any) { delete(parent.(map[string]any), name) })
			}
		}
		switch v := v.(type) {
		case map[string]any:
			change("add", append(slices.Clone(path), "unheardOf"), func(parent, last any) { put(parent, last, "x") })
			for _, k := range slices.Sorted(maps.Keys(v)) {
				if len(path) == 0 && (k == "apiVersion" || k == "kind") || len(path) == 1 && path[0] == "metadata" && (k == "name" || k == "namespace") {
					continue
				}
				walk(v[k], append(slices.Clone(path), k))
			}
		case []any:
			for i, e := range v {
				walk(e, append(slices.Clone(path), i))
			}
			if len(v) > 0 {
				change("twice", path, func(parent, last any) {
					l := child(parent, last).([]any)
					put(parent, last, append(slices.Clone(l), runtime.DeepCopyJSONValue(l[0])))
				})
			}
		}
	}
	walk(obj, nil)
	return out
}

// others returns values that v is not.
func others(v any) []any {
	all := []any{nil, "x", int64(7), 1.5, 2.0, true, int64(1) << 40, map[string]any{"x": "y"}, map[string]any{}, []any{"x"}, []any{}, []any{nil}}
	return slices.DeleteFunc(all, func(o any) bool { return fmt.Sprintf("%T%v", o, o) == fmt.Sprintf("%T%v", v, v) })
}

func child(v any, at any) any {
	if i, ok := at.(int); ok {
		return v.([]any)[i]
	}
	return v.(map[string]any)[at.(string)]
}

func put(parent any, at any, v any) {
	if i, ok := at.(int); ok {
		parent.([]any)[i] = v
		return
	}
	parent.(map[string]any)[at.(string)] = v
}
