package desired

import (
	"bytes"
	"encoding/json"
	"fmt"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// ForeignOwners splits the managedFields of a live object into the entries that
// may stay and the names of managers that own, on the object itself, any leaf that
// the mask compares. ours is the manager that may. Owners through a subresource
// may stay: what they write is not compared or has its own gate.
//
// Owning a field does no harm by itself, but server-side apply does not remove a
// field that has another owner.
func (m *Mask) ForeignOwners(managedFields []any, ours string) (stay []any, foreign []string, err error) {
	for _, v := range managedFields {
		entry, _ := v.(map[string]any)
		manager, _ := entry["manager"].(string)
		sub, _ := entry["subresource"].(string)
		if manager == ours || sub != "" {
			stay = append(stay, v)
			continue
		}
		raw, err := json.Marshal(entry["fieldsV1"])
		if err != nil {
			return nil, nil, err
		}
		var set fieldpath.Set
		if err := set.FromJSON(bytes.NewReader(raw)); err != nil {
			return nil, nil, fmt.Errorf("managed fields of %q: %w", manager, err)
		}
		if m.allOpen(&set) {
			stay = append(stay, v)
		} else {
			foreign = append(foreign, manager)
		}
	}
	return stay, foreign, nil
}

// allOpen reports whether every leaf of the set is left to others.
func (m *Mask) allOpen(set *fieldpath.Set) bool {
	open := true
	set.Leaves().Iterate(func(p fieldpath.Path) { open = open && m.leafOpen(p) })
	return open
}

func (m *Mask) leafOpen(p fieldpath.Path) bool {
	n := m.top()
	for _, e := range p {
		switch {
		case n == nil:
			return false
		case n.open:
			return true
		case e.FieldName != nil:
			n = n.below(*e.FieldName)
		case e.Value != nil: // an item of a set, such as a finalizer
			s, ok := (*e.Value).Unstructured().(string)
			return ok && contains(n.tokens, s)
		default:
			return n.slot
		}
	}
	return n != nil && (n.open || n.slot)
}
