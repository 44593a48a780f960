package v1alpha1

import (
	"iter"
	"slices"
	"strings"
)

// Inventory lists applied objects. Nil and the zero value list none.
type Inventory struct {
	// Entries of the inventory.
	// +listType=atomic
	Entries []InventoryEntry `json:"entries"`
}

// InventoryEntry names one applied object, or several of one kind in one namespace.
type InventoryEntry struct {
	// ID is namespace_name_group_kind, as in Flux. Where names are listed beside it,
	// its own name is empty: namespace__group_kind.
	ID string `json:"id"`
	// Version is the API version with which the objects were applied.
	Version string `json:"v"`
	// Names of the objects, with a space between two, if there are several.
	// +optional
	Names string `json:"names,omitempty"`
}

// NewInventory lists objects, of which each has an entry of its own that names no
// others. Objects of one kind share an entry: an API server reads, validates and
// copies a status as a whole whenever any field of it changes, and with an entry an
// object that is most of what it does for a release of a thousand.
func NewInventory(objects []InventoryEntry) *Inventory {
	type sharing struct{ namespace, group, kind, version string }
	names := map[sharing][]string{}
	out := &Inventory{Entries: []InventoryEntry{}}
	for _, e := range objects {
		namespace, name, group, kind, ok := e.Parts()
		if !ok || name == "" || strings.Contains(name, " ") {
			out.Entries = append(out.Entries, e)
			continue
		}
		s := sharing{namespace, group, kind, e.Version}
		names[s] = append(names[s], name)
	}
	for s, names := range names {
		e := InventoryEntry{ID: inventoryID(s.namespace, "", s.group, s.kind), Version: s.version, Names: strings.Join(names, " ")}
		if len(names) == 1 {
			e.ID, e.Names = inventoryID(s.namespace, names[0], s.group, s.kind), ""
		}
		out.Entries = append(out.Entries, e)
	}
	slices.SortStableFunc(out.Entries, func(a, b InventoryEntry) int {
		if c := strings.Compare(a.ID, b.ID); c != 0 {
			return c
		}
		return strings.Compare(a.Version, b.Version)
	})
	return out
}

// Objects yields an entry for each object, with its name in the ID. An entry that
// nothing of ours wrote yields an ID that is none.
func (i *Inventory) Objects() iter.Seq[InventoryEntry] {
	return func(yield func(InventoryEntry) bool) {
		if i == nil {
			return
		}
		for _, e := range i.Entries {
			if e.Names == "" {
				if !yield(e) {
					return
				}
				continue
			}
			namespace, own, group, kind, ok := e.Parts()
			for name := range strings.SplitSeq(e.Names, " ") {
				object := InventoryEntry{ID: inventoryID(namespace, name, group, kind), Version: e.Version}
				if !ok || own != "" {
					object.ID = strings.ReplaceAll(e.ID, "_", " ")
				}
				if !yield(object) {
					return
				}
			}
		}
	}
}

// Len counts the objects.
func (i *Inventory) Len() int {
	n := 0
	if i != nil {
		for _, e := range i.Entries {
			n += 1 + strings.Count(e.Names, " ")
		}
	}
	return n
}

// Parts takes the ID apart, the name as it is written there. It is the only part that
// may hold underscores; false means that nothing of ours wrote the ID.
func (e InventoryEntry) Parts() (namespace, name, group, kind string, ok bool) {
	parts := strings.Split(e.ID, "_")
	n := len(parts)
	if n < 4 {
		return "", "", "", "", false
	}
	return parts[0], strings.Join(parts[1:n-2], "_"), parts[n-2], parts[n-1], true
}

func inventoryID(namespace, name, group, kind string) string {
	return strings.Join([]string{namespace, name, group, kind}, "_")
}
