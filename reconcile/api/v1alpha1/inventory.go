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
	type group struct{ before, after, version string }
	names := map[group][]string{}
	out := &Inventory{Entries: []InventoryEntry{}}
	for _, e := range objects {
		before, name, after, ok := e.split()
		if !ok || name == "" || strings.Contains(name, " ") {
			out.Entries = append(out.Entries, e)
			continue
		}
		g := group{before, after, e.Version}
		names[g] = append(names[g], name)
	}
	for g, names := range names {
		e := InventoryEntry{ID: g.before + g.after, Version: g.version, Names: strings.Join(names, " ")}
		if len(names) == 1 {
			e.ID, e.Names = g.before+names[0]+g.after, ""
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
			before, own, after, ok := e.split()
			for name := range strings.SplitSeq(e.Names, " ") {
				object := InventoryEntry{ID: before + name + after, Version: e.Version}
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

// split cuts the name out of an ID. It is the only part that may hold underscores.
func (e InventoryEntry) split() (before, name, after string, ok bool) {
	first := strings.IndexByte(e.ID, '_')
	last := strings.LastIndexByte(e.ID, '_')
	if first < 0 {
		return "", "", "", false
	}
	if last = strings.LastIndexByte(e.ID[:last], '_'); last <= first {
		return "", "", "", false
	}
	return e.ID[:first+1], e.ID[first+1 : last], e.ID[last:], true
}
