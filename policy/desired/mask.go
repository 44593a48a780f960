package desired

import (
	"net/netip"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// A Mask knows which leaves of one object belong to others and are not compared:
// open leaves, slots that the manifest leaves free, and ignored fields. It is
// safe for concurrent use. The nil Mask compares everything.
type Mask struct{ root *node }

// MaskOptions says what else than the table of open leaves is left to others.
type MaskOptions struct {
	// Autoscaled means that a HorizontalPodAutoscaler of the release scales it.
	Autoscaled bool
	// Ignore are paths in segments, as [ParsePointer] gives them.
	Ignore [][]string
	// Undeclared are paths at and below which what the manifest leaves out is left
	// to others, and what it says is compared.
	Undeclared [][]string
	// Strict leaves out the table of open leaves: only slots and ignored fields
	// are left to others, as when an object is created.
	Strict bool
}

// A node of a mask stands for one place in the object.
type node struct {
	open     bool             // the whole value
	slot     bool             // any value of the same sort that the server may have allocated
	dropOnly bool             // items of this list may go, none may come
	tokens   []string         // items of this list of strings
	fields   map[string]*node // below, by field or index
	prefixes []string         // fields below that begin so
}

// NewMask makes the mask for objects of the manifest g, which is of kind k.
func (k Kind) NewMask(g *unstructured.Unstructured, o MaskOptions) *Mask {
	m := &Mask{root: &node{}}
	for _, l := range openLeaves {
		if o.Strict {
			break
		}
		if l.Kind != "*" && (l.Group != k.Group || l.Kind != k.Kind) || !l.holds(g.Object, o.Autoscaled) {
			continue
		}
		m.root.add(l)
	}
	if k.Group == "" && k.Kind == "Service" {
		for _, path := range freeSlots(g.Object) {
			m.root.at(path).slot = true
		}
	}
	for _, segments := range o.Ignore {
		m.root.at(segments).open = true
	}
	for _, segments := range o.Undeclared {
		m.root.at(segments).leave(declared(g.Object, segments))
	}
	if m.root.leaf() {
		return nil
	}
	return m
}

// leave opens what is not in the value that the manifest has here.
func (n *node) leave(value any) {
	switch value := value.(type) {
	case nil:
		n.open = true
	case map[string]any:
		n.prefixes = append(n.prefixes, "") // any field but these
		for field, v := range value {
			n.at([]string{field}).leave(v)
		}
	}
}

// declared returns what the manifest has at a path, or nil.
func declared(v any, path []string) any {
	for _, segment := range path {
		switch c := v.(type) {
		case map[string]any:
			v = c[segment]
		case []any:
			i, err := strconv.Atoi(segment)
			if err != nil || i < 0 || i >= len(c) {
				return nil
			}
			v = c[i]
		default:
			return nil
		}
	}
	return v
}

func (n *node) leaf() bool { return len(n.fields) == 0 && len(n.prefixes) == 0 }

// at returns the node at a path, made if need be.
func (n *node) at(path []string) *node {
	for _, field := range path {
		next := n.fields[field]
		if next == nil {
			next = &node{}
			if n.fields == nil {
				n.fields = map[string]*node{}
			}
			n.fields[field] = next
		}
		n = next
	}
	return n
}

func (n *node) add(l Leaf) {
	last := len(l.Path) - 1
	if prefix, ok := strings.CutSuffix(l.Path[last], "*"); ok {
		n = n.at(l.Path[:last])
		n.prefixes = append(n.prefixes, prefix)
		return
	}
	n = n.at(l.Path)
	switch {
	case len(l.Tokens) > 0:
		n.tokens = append(n.tokens, l.Tokens...)
	case l.DropOnly:
		n.dropOnly = true
	default:
		n.open = true
	}
}

// freeSlots lists what the server allocates and the manifest of a Service leaves
// out.
func freeSlots(g map[string]any) [][]string {
	var out [][]string
	spec, _ := g["spec"].(map[string]any)
	if spec["clusterIP"] == nil && spec["clusterIPs"] == nil {
		out = append(out, []string{"spec", "clusterIP"}, []string{"spec", "clusterIPs"})
	}
	if spec["healthCheckNodePort"] == nil {
		out = append(out, []string{"spec", "healthCheckNodePort"})
	}
	ports, _ := spec["ports"].([]any)
	for i, p := range ports {
		if p, ok := p.(map[string]any); ok && p["nodePort"] == nil {
			out = append(out, []string{"spec", "ports", strconv.Itoa(i), "nodePort"})
		}
	}
	return out
}

// allocated reports whether v is a value of the same sort as d that the server
// may have allocated instead. Nothing, or None for an address, is not: a Service
// that became headless is another Service.
func allocated(d, v any) bool {
	switch v := v.(type) {
	case string:
		_, was := d.(string)
		_, err := netip.ParseAddr(v)
		return was && err == nil
	case []any:
		was, _ := d.([]any)
		if len(was) != len(v) {
			return false
		}
		for i := range v {
			if !allocated(was[i], v[i]) {
				return false
			}
		}
		return true
	case int64:
		_, was := d.(int64)
		return was && v > 0 && v < 1<<16
	}
	return false
}

// below returns the node for a field, or nil.
func (n *node) below(field string) *node {
	if n == nil {
		return nil
	}
	if next := n.fields[field]; next != nil {
		return next
	}
	for _, p := range n.prefixes {
		if strings.HasPrefix(field, p) {
			return openNode
		}
	}
	return nil
}

var openNode = &node{open: true}

// item returns the node for an item, or nil.
func (n *node) item(i int) *node {
	if n == nil || len(n.fields) == 0 {
		return nil // most lists: spare the conversion
	}
	return n.fields[strconv.Itoa(i)]
}

// masked reports whether the difference between d and live is left to others.
func (n *node) masked(d, live any) bool {
	if n == nil {
		return false
	}
	return n.open || n.slot && allocated(d, live) || n.dropOnly && dropped(d, live)
}
