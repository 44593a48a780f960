package apply

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// An Entry names one object of an [Inventory], in the form of Flux.
type Entry struct {
	// ID is namespace_name_group_kind. A colon in the name is written as two
	// underscores; a name that itself has two underscores has each as %5F.
	ID string `json:"id"`
	// V is the API version of the kind, as in v1.
	V string `json:"v"`
}

// An Inventory lists the objects of an owner, sorted by ID.
type Inventory []Entry

// A key identifies an object whatever version it is read in.
type key struct{ group, kind, namespace, name string }

func (k key) String() string {
	s := k.kind
	if k.group != "" {
		s += "." + k.group
	}
	s += "/" + k.name
	if k.namespace != "" {
		s = k.namespace + "/" + s
	}
	return s
}

func (k key) id() string {
	name := k.name
	if strings.Contains(name, "__") {
		name = strings.ReplaceAll(name, "_", "%5F")
	}
	name = strings.ReplaceAll(name, ":", "__")
	return strings.Join([]string{k.namespace, name, k.group, k.kind}, "_")
}

// maxID bounds an entry of an inventory that comes from outside.
const maxID = 1024

// parse reads the entry, which comes from a status that others may have written.
func (e Entry) parse() (key, schema.GroupVersionKind, error) {
	bad := func() (key, schema.GroupVersionKind, error) {
		return key{}, schema.GroupVersionKind{}, fmt.Errorf("inventory entry %.80q is not namespace_name_group_kind", e.ID)
	}
	if len(e.ID) > maxID || strings.ContainsAny(e.ID, "/\x00\n") || strings.ContainsAny(e.V, "/\x00\n") {
		return bad()
	}
	namespace, rest, ok := strings.Cut(e.ID, "_")
	if !ok {
		return bad()
	}
	i := strings.LastIndexByte(rest, '_')
	if i < 0 {
		return bad()
	}
	rest, kind := rest[:i], rest[i+1:]
	if i = strings.LastIndexByte(rest, '_'); i < 0 {
		return bad()
	}
	name, group := rest[:i], rest[i+1:]
	name = strings.ReplaceAll(name, "__", ":")
	name = strings.ReplaceAll(name, "%5F", "_")
	if name == "" || kind == "" || e.V == "" {
		return bad()
	}
	k := key{group: group, kind: kind, namespace: namespace, name: name}
	return k, schema.GroupVersionKind{Group: group, Version: e.V, Kind: kind}, nil
}

// sorted returns the inventory sorted, each ID once; the last version wins.
func (inv Inventory) sorted() Inventory {
	byID := make(map[string]Entry, len(inv))
	for _, e := range inv {
		byID[e.ID] = e
	}
	out := make(Inventory, 0, len(byID))
	for _, e := range byID {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b Entry) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// Union returns everything that is in either; entries of more win.
func (inv Inventory) Union(more Inventory) Inventory {
	return append(slices.Clone(inv), more...).sorted()
}

// Equal reports whether both list the same objects in the same versions.
func (inv Inventory) Equal(other Inventory) bool {
	return slices.Equal(inv.sorted(), other.sorted())
}
