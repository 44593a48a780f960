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

// Object names the object of an entry. It fails on an ID that nothing of ours wrote.
func (e Entry) Object() (group, kind, namespace, name string, err error) {
	k, _, err := e.parse()
	return k.group, k.kind, k.namespace, k.name, err
}

// sorted returns the inventory sorted, each ID once; the last version wins. What is
// in order already is returned as it is.
func (inv Inventory) sorted() Inventory {
	if inv != nil && inv.inOrder() {
		return inv
	}
	out := slices.Clone(inv)
	slices.SortStableFunc(out, byID)
	// Of equal IDs the last one is to stay, and Compact keeps the first.
	slices.Reverse(out)
	out = slices.CompactFunc(out, func(a, b Entry) bool { return a.ID == b.ID })
	slices.Reverse(out)
	if out == nil {
		out = Inventory{}
	}
	return out
}

func byID(a, b Entry) int { return strings.Compare(a.ID, b.ID) }

func (inv Inventory) inOrder() bool {
	for i := 1; i < len(inv); i++ {
		if inv[i-1].ID >= inv[i].ID {
			return false
		}
	}
	return true
}

// Union returns everything that is in either; entries of more win.
func (inv Inventory) Union(more Inventory) Inventory {
	a, b := inv.sorted(), more.sorted()
	out := make(Inventory, 0, max(len(a), len(b)))
	for len(a) > 0 && len(b) > 0 {
		switch c := byID(a[0], b[0]); {
		case c < 0:
			out, a = append(out, a[0]), a[1:]
		case c > 0:
			out, b = append(out, b[0]), b[1:]
		default:
			out, a, b = append(out, b[0]), a[1:], b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// without returns the entries whose ID other does not have.
func (inv Inventory) without(other Inventory) (out Inventory) {
	b := other.sorted()
	for _, e := range inv.sorted() {
		for len(b) > 0 && b[0].ID < e.ID {
			b = b[1:]
		}
		if len(b) == 0 || b[0].ID != e.ID {
			out = append(out, e)
		}
	}
	return out
}

// Equal reports whether both list the same objects in the same versions.
func (inv Inventory) Equal(other Inventory) bool {
	return slices.Equal(inv.sorted(), other.sorted())
}
