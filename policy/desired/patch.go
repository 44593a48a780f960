package desired

import "maps"

// Patch returns the JSON merge patch (RFC 7396) that makes live equal to d where
// the mask compares, and leaves alone what it leaves to others. Both are
// normalised; uid is the live object's. It is nil when there is nothing to do.
//
// The patch shares values with d and live. It holds no precondition: set
// metadata.resourceVersion in it, or it may undo what it has not seen.
func (m *Mask) Patch(d, live map[string]any, uid string) map[string]any {
	p := patcher{uid: uid}
	return p.object(m.top(), d, live)
}

type patcher struct{ uid string }

func (p patcher) object(n *node, d, live map[string]any) map[string]any {
	patch := map[string]any{}
	for k, want := range d {
		if v, differs := p.field(n.below(k), want, live[k]); differs {
			patch[k] = v
		}
	}
	for k, is := range live {
		if _, wanted := d[k]; !wanted {
			if v, differs := p.surplus(n.below(k), is); differs {
				patch[k] = v
			}
		}
	}
	if len(patch) == 0 {
		return nil
	}
	return patch
}

// field patches a field that is wanted.
func (p patcher) field(n *node, want, is any) (any, bool) {
	if n.masked(want, is) || n != nil && hidden(n, want) && hidden(n, is) {
		return nil, false
	}
	switch want := want.(type) {
	case map[string]any:
		if is, ok := is.(map[string]any); ok {
			patch := p.object(n, want, is)
			return patch, patch != nil
		}
	case []any:
		is, there := is.([]any)
		var d differ
		d.list(nil, n, want, is)
		if len(d.changes) == 0 && there {
			return nil, false
		}
		return p.list(n, want, is), true
	}
	return p.restore(want), !equal(want, is)
}

// surplus patches a field that is not wanted.
func (p patcher) surplus(n *node, is any) (any, bool) {
	if n.masked(nil, is) || n != nil && hidden(n, is) {
		return nil, false
	}
	switch is := is.(type) {
	case map[string]any:
		if n != nil && !n.leaf() { // something in it may have to stay
			patch := p.object(n, nil, is)
			if len(patch) < len(is) {
				return patch, patch != nil
			}
		}
	case []any:
		if kept := p.list(n, nil, is); len(kept) > 0 {
			return kept, true
		}
	}
	return nil, true
}

// list makes the list that is wanted, with what belongs to others taken from is.
func (p patcher) list(n *node, want, is []any) []any {
	out := make([]any, 0, len(want))
	for i, w := range want {
		w = p.restore(w)
		if b := n.item(i); b != nil {
			w = overlay(b, w, counterpart(want, is, i))
		}
		out = append(out, w)
	}
	if n == nil {
		return out
	}
	for _, v := range is {
		if s, ok := v.(string); ok && contains(n.tokens, s) && !containsValue(out, v) {
			out = append(out, v)
		}
	}
	return out
}

func containsValue(l []any, v any) bool {
	for _, w := range l {
		if equal(v, w) {
			return true
		}
	}
	return false
}

// counterpart finds the item of is that stands for want[i].
func counterpart(want, is []any, i int) any {
	key := keyOf(want, is)
	if key == nil {
		if i < len(is) {
			return is[i]
		}
		return nil
	}
	text := keyText(key, want[i])
	for _, v := range is {
		if keyText(key, v) == text {
			return v
		}
	}
	return nil
}

// overlay returns want with the leaves that n leaves to others taken from is.
func overlay(n *node, want, is any) any {
	if is != nil && n.masked(want, is) {
		return is
	}
	w, ok := want.(map[string]any)
	i, also := is.(map[string]any)
	if !ok || !also {
		return want
	}
	out := maps.Clone(w)
	for k, v := range i {
		if b := n.below(k); b != nil {
			if merged := overlay(b, w[k], v); merged != nil {
				out[k] = merged
			}
		}
	}
	return out
}

// restore puts the live object's UID where the placeholder stands.
func (p patcher) restore(v any) any {
	switch v := v.(type) {
	case string:
		if v == ownUID {
			return p.uid
		}
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, f := range v {
			out[k] = p.restore(f)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = p.restore(item)
		}
		return out
	}
	return v
}
