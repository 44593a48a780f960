package schema

import "slices"

// AnyItem is the step of a path that stands for any item of a list or a mapping.
const AnyItem = "*"

// Fields returns the names of the fields at a path of a built-in kind, in any of its
// groups and versions. It returns false where there may be others: in a kind that is
// not built in, and where a value is no object with fields of its own.
func Fields(kind string, path []string) (names []string, closed bool) {
	c := catalogue()
	for _, b := range c.byName[kind] {
		b.once.Do(func() { b.node, b.err = b.document.compile(c.archive, b.Schema) })
		if b.err != nil {
			return nil, false
		}
		n := b.node
		for _, step := range path {
			var known bool
			if n, known = n.at(step); !known {
				return nil, false
			}
			if n == nil {
				break
			}
		}
		if n == nil { // not in this version
			continue
		}
		if n.shape != object {
			return nil, false
		}
		for name := range n.fields {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), len(names) > 0
}

// at returns what is below a step; nil if there can be nothing, and false if that is
// not known.
func (n *node) at(step string) (below *node, known bool) {
	switch n.shape {
	case object:
		return n.fields[step], step != AnyItem
	case mapping:
		return n.elem, true
	case list:
		return n.elem, step == AnyItem
	}
	return nil, false
}
