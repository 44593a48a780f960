package desired

import (
	"slices"
	"strings"
)

// A Change is one difference between two objects.
type Change struct {
	// Path is where, as in spec.template.spec.containers[name=app].image.
	Path Path `json:"path"`
	// Old and New are the values; nil is absent. They are shared with the
	// objects compared: do not change them.
	Old any `json:"old,omitempty"`
	New any `json:"new,omitempty"`
	// Reserved means that the place is another writer's, see [Guard.Away].
	Reserved bool `json:"-"`
}

// Diff lists how live differs from old, both normalised, apart from what the
// mask leaves to others. The order is that of the paths.
//
// Order counts: the same items of a list in another order are a change at the
// list, and so are items that cannot be told apart. Items that can be told apart
// by their keys are compared one by one.
func (m *Mask) Diff(old, live map[string]any) []Change {
	var d differ
	d.object(nil, m.top(), old, live)
	return d.changes
}

func (m *Mask) top() *node {
	if m == nil {
		return nil
	}
	return m.root
}

type differ struct{ changes []Change }

func (d *differ) add(at *trail, old, live any) {
	d.changes = append(d.changes, Change{Path: at.path(), Old: old, New: live})
}

func (d *differ) value(at *trail, n *node, old, live any) {
	if n.masked(old, live) {
		return
	}
	switch o := old.(type) {
	case map[string]any:
		if l, ok := live.(map[string]any); ok {
			d.object(at, n, o, l)
			return
		}
	case []any:
		if l, ok := live.([]any); ok {
			d.list(at, n, o, l)
			return
		}
	}
	// One of them may be absent, and yet hold nothing but what is masked.
	if n != nil && hidden(n, old) && hidden(n, live) {
		return
	}
	if !equal(old, live) {
		d.add(at, old, live)
	}
}

// hidden reports whether v is absent or holds nothing but what n leaves to others.
func hidden(n *node, v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case map[string]any:
		for k, f := range v {
			if b := n.below(k); b == nil || !b.open && !hidden(b, f) {
				return false
			}
		}
		return len(v) > 0
	case []any:
		return len(v) > 0 && len(withoutTokens(n, v)) == 0
	}
	return false
}

func (d *differ) object(at *trail, n *node, old, live map[string]any) {
	start := len(d.changes)
	for k, o := range old {
		l := live[k]
		if _, there := live[k]; !there || !quick(o, l) {
			d.value(&trail{at, Step{Field: k}}, n.below(k), o, l)
		}
	}
	for k, l := range live {
		if _, there := old[k]; !there {
			d.value(&trail{at, Step{Field: k}}, n.below(k), nil, l)
		}
	}
	if found := d.changes[start:]; len(found) > 1 {
		depth := len(at.path())
		slices.SortStableFunc(found, func(a, b Change) int {
			return strings.Compare(a.Path[depth].Field, b.Path[depth].Field)
		})
	}
}

// quick reports whether two scalars are equal, which most are.
func quick(a, b any) bool {
	s, ok := a.(string)
	if !ok {
		return false
	}
	t, ok := b.(string)
	return ok && s == t
}

func (d *differ) list(at *trail, n *node, old, live []any) {
	if n != nil && len(n.tokens) > 0 {
		old, live = withoutTokens(n, old), withoutTokens(n, live)
	}
	key := keyOf(old, live)
	switch {
	case key == nil && len(old) == len(live) && allObjects(old) && allObjects(live):
		for i := range old {
			d.value(&trail{at, Step{Index: i}}, n.item(i), old[i], live[i])
		}
	case key == nil:
		if !equal(old, live) {
			d.add(at, old, live)
		}
	default:
		d.keyed(at, n, key, old, live)
	}
}

// keyed compares lists whose items bear unique keys.
func (d *differ) keyed(at *trail, n *node, key []string, old, live []any) {
	position := make(map[string]int, len(live))
	for i, v := range live {
		position[keyText(key, v)] = i
	}
	last, ordered := -1, true
	for i, o := range old {
		k := keyText(key, o)
		j, there := position[k]
		if !there {
			d.add(&trail{at, Step{Index: i, Key: k}}, o, nil)
			continue
		}
		ordered = ordered && j > last
		last = j
		d.value(&trail{at, Step{Index: i, Key: k}}, n.item(i), o, live[j])
		delete(position, k)
	}
	added := make([]int, 0, len(position))
	for _, j := range position {
		added = append(added, j)
	}
	slices.Sort(added)
	for _, j := range added {
		d.add(&trail{at, Step{Index: j, Key: keyText(key, live[j])}}, nil, live[j])
	}
	if !ordered {
		d.add(at, old, live)
	}
}
