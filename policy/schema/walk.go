package schema

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"gitgate.dev/gitgate/policy/desired"
)

// validateBuiltin checks an object of a built-in kind.
func validateBuiltin(k *builtin, obj map[string]any) []Problem {
	var steps [32]desired.Step
	w := walker{path: steps[:0]}
	w.value(k.node, obj)
	if w.full() { // stop at the same place every time
		w = walker{path: steps[:0], sorted: true}
		w.value(k.node, obj)
	}
	return arrange(w.problems)
}

// A walker checks a value against a node, and tracks where it is.
type walker struct {
	path     desired.Path
	problems []Problem
	// sorted makes the order of the walk, and so what it stops at, predictable.
	sorted bool
}

// full reports whether enough was found.
func (w *walker) full() bool { return len(w.problems) > MaxProblems }

func (w *walker) enter(field string) { w.path = append(w.path, desired.Step{Field: field}) }
func (w *walker) enterItem(i int)    { w.path = append(w.path, desired.Step{Index: i}) }
func (w *walker) leave()             { w.path = w.path[:len(w.path)-1] }

func (w *walker) add(p Problem) {
	if !w.full() {
		w.problems = append(w.problems, p)
	}
}

// wrong reports that the value here is not of the shape.
func (w *walker) wrong(v any, s shape) {
	w.add(mistyped(w.path.String(), v, shapeNames[s]))
}

// refuse reports a value of the right type that is not good.
func (w *walker) refuse(v any, why string) {
	at := clean(w.path.String())
	w.add(Problem{Field: at, Message: fmt.Sprintf("%s: Invalid value: %s: %s", at, describe(v), why)})
}

// duplicate reports that the item here was there before.
func (w *walker) duplicate(what string) {
	at := clean(w.path.String())
	w.add(Problem{Field: at, Message: at + ": Duplicate value: " + what})
}

// value checks v. Null stands for the absence of a value.
func (w *walker) value(n *node, v any) {
	if v == nil || n.shape == anything || w.full() {
		return
	}
	if len(w.path) > maxDepth {
		w.refuse(v, fmt.Sprintf("must not be nested deeper than %d levels", maxDepth))
		return
	}
	switch n.shape {
	case object, mapping, freeform:
		m, ok := v.(map[string]any)
		if !ok {
			w.wrong(v, n.shape)
			return
		}
		w.fields(n, m)
	case list:
		l, ok := v.([]any)
		if !ok {
			w.wrong(v, n.shape)
			return
		}
		w.items(n, l)
	case text:
		s, ok := v.(string)
		if !ok {
			w.wrong(v, n.shape)
		} else if n.form != nil {
			if err := n.form(s); err != nil {
				w.refuse(v, err.Error())
			}
		}
	default:
		w.scalar(n, v)
	}
}

func (w *walker) scalar(n *node, v any) {
	var why string
	ok := true
	switch n.shape {
	case boolean:
		_, ok = v.(bool)
	case integer32, integer64:
		ok, why = checkInteger(v, n.shape == integer32)
	case number:
		_, ok = asFloat(v)
	case intOrString:
		if _, isText := v.(string); !isText {
			ok, why = checkInteger(v, true)
		}
	case quantity:
		ok, why = checkQuantity(v)
	}
	switch {
	case why != "":
		w.refuse(v, why)
	case !ok:
		w.wrong(v, n.shape)
	}
}

// fields checks what an object holds.
func (w *walker) fields(n *node, m map[string]any) {
	if n.shape == freeform {
		return
	}
	if w.sorted {
		for _, name := range slices.Sorted(maps.Keys(m)) {
			w.field(n, name, m[name])
		}
	} else {
		for name, v := range m {
			w.field(n, name, v)
		}
	}
	for _, name := range n.required {
		if m[name] == nil && !w.inStatus() {
			w.enter(name)
			w.add(required(w.path.String()))
			w.leave()
		}
	}
}

// inStatus reports whether this is part of a status, of the object or of a template
// in it. Nothing is required there: the server ignores what is written.
func (w *walker) inStatus() bool {
	return slices.ContainsFunc(w.path, func(s desired.Step) bool { return s.Field == "status" })
}

func (w *walker) field(n *node, name string, v any) {
	elem := n.elem
	if n.shape == object {
		var known bool
		if elem, known = n.fields[name]; !known {
			w.enter(name)
			w.add(unknown(w.path.String()))
			w.leave()
			return
		}
	}
	if v == nil || elem.shape == anything || elem.shape == text && elem.form == nil && isText(v) {
		return
	}
	w.enter(name)
	w.value(elem, v)
	w.leave()
}

func isText(v any) bool {
	_, ok := v.(string)
	return ok
}

// items checks a list: each item, and that those of a keyed list or a set differ.
func (w *walker) items(n *node, l []any) {
	var seen seen
	for i, v := range l {
		if w.full() {
			return
		}
		w.enterItem(i)
		switch {
		case v == nil && (n.keys != nil || n.set):
			w.wrong(v, n.elem.shape)
		case v == nil && n.elem.shape == object:
			w.fields(n.elem, nil) // an item cannot be absent: it is an empty one
		case n.keys != nil:
			w.value(n.elem, v)
			w.keyed(n, v, &seen)
		default:
			w.value(n.elem, v)
			if n.set && !seen.add(identity(v)) {
				w.duplicate(describe(v))
			}
		}
		w.leave()
	}
}

// identity tells the scalars of a set apart.
func identity(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return "\x00" + describe(v)
}

// of returns the value that tells an item apart, if it has one. A null is a value
// here, and not the default: so server-side apply has it.
func (k key) of(item map[string]any) (any, bool) {
	if v, ok := item[k.name]; ok {
		return v, true
	}
	return k.fallback, k.fallback != nil
}

// keyed checks that an item of a keyed list has all its keys and is alone in that.
func (w *walker) keyed(n *node, item any, seen *seen) {
	m, ok := item.(map[string]any)
	if !ok {
		return // said already
	}
	var id string
	for i, k := range n.keys {
		v, ok := k.of(m)
		if !ok {
			if !slices.Contains(n.elem.required, k.name) {
				w.enter(k.name)
				w.add(required(w.path.String()))
				w.leave()
			}
			return
		}
		switch v := v.(type) {
		case string:
			if len(n.keys) == 1 {
				id = v
				continue
			}
			id += strconv.Itoa(i) + strconv.Quote(v)
		case map[string]any, []any:
			return // said already
		default:
			id += fmt.Sprintf("%d\x00%v", i, v)
		}
	}
	if !seen.add(id) {
		w.duplicate(keysOf(n, m))
	}
}

// keysOf shows the keys of an item, as field.Duplicate does.
func keysOf(n *node, m map[string]any) string {
	out := "{"
	for i, k := range n.keys {
		v, _ := k.of(m)
		if i > 0 {
			out += ","
		}
		if s, ok := v.(string); ok {
			v = strconv.Quote(short(s))
		}
		if v == nil {
			v = "null"
		}
		out += fmt.Sprintf("%q:%v", k.name, v)
	}
	return out + "}"
}

// A seen remembers what a list held so far: short lists without a map.
type seen struct {
	few  []string
	many map[string]struct{}
}

const fewItems = 16

// add reports whether id is new.
func (s *seen) add(id string) bool {
	if s.many == nil && len(s.few) < fewItems {
		if slices.Contains(s.few, id) {
			return false
		}
		s.few = append(s.few, id)
		return true
	}
	if s.many == nil {
		s.many = map[string]struct{}{}
		for _, id := range s.few {
			s.many[id] = struct{}{}
		}
	}
	if _, ok := s.many[id]; ok {
		return false
	}
	s.many[id] = struct{}{}
	return true
}
