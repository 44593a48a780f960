package desired

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// AnySubresource in [Leaf.Subresource] means that it does not matter through
// which the writer writes.
const AnySubresource = "*"

// A Writer is who writes an object, and through what.
type Writer struct {
	// User is the user name, as in system:serviceaccount:kube-system:job-controller.
	User string
	// Subresource is empty for the object itself.
	Subresource string
}

// controllerManager is whom all controllers are when they share credentials.
const controllerManager = "system:kube-controller-manager"

const kubeSystem = "system:serviceaccount:kube-system:"

// Is reports whether the user goes by this name in a table of writers: the name
// itself, or without a colon a service account in kube-system, which may be
// hidden behind credentials that all controllers share.
func (w Writer) Is(name string) bool {
	if strings.Contains(name, ":") {
		return w.User == name
	}
	return w.User == controllerManager || strings.TrimPrefix(w.User, kubeSystem) == name && len(w.User) == len(kubeSystem)+len(name)
}

// writes reports whether the row is this writer's. Metadata may be written along
// with the status.
func (l *Leaf) writes(w Writer) bool {
	switch l.Subresource {
	case AnySubresource:
	case "":
		if w.Subresource != "" && w.Subresource != "status" {
			return false
		}
	default:
		if w.Subresource != l.Subresource {
			return false
		}
	}
	if l.Exact {
		return slices.Contains(l.Writers, w.User)
	}
	return len(l.Writers) == 0 || slices.ContainsFunc(l.Writers, w.Is)
}

// A Guard knows who may write which leaves of one object. Where a [Mask] leaves
// an open leaf to everybody, a Guard leaves it to its writer alone. It is safe
// for concurrent use. The nil Guard leaves nothing to anybody.
type Guard struct{ root *place }

// GuardOptions says what else than the table of open leaves is left to others.
type GuardOptions struct {
	// Autoscaled means that a HorizontalPodAutoscaler of the release scales it.
	Autoscaled bool
	// Ignore are paths in segments that are left to everybody.
	Ignore [][]string
	// Delegated are rows beside those of the table. Group, Kind and When are not
	// read.
	Delegated []Leaf
	// Declared are the paths that the manifest declares, as [Schemas.Declared]
	// tells them: what a row would open and the manifest declares stays Git's.
	// Nil means the manifest's own fields with lists as a whole.
	Declared *fieldpath.Set
}

// A place is a node of a guard.
type place struct {
	free     bool    // anybody's
	slot     bool    // allocated by the server
	declared bool    // Git's: rows of the places above end here
	shared   bool    // declared to be empty: its writer may fill it, and others empty it
	keep     []any   // items of this list that Git declares, under a row
	rows     []*Leaf // whose it is
	fields   map[string]*place
	prefixes []*Leaf // rows for the fields that begin as the row's last segment
}

// NewGuard makes the guard for objects of the manifest g, which is of kind k.
func (k Kind) NewGuard(g *unstructured.Unstructured, o GuardOptions) *Guard {
	root := &place{}
	for _, table := range [][]Leaf{openLeaves, collectorLeaves} {
		for i := range table {
			l := &table[i]
			if (l.Kind == "*" || l.Group == k.Group && l.Kind == k.Kind) && l.holds(g.Object, o.Autoscaled) {
				root.add(l)
			}
		}
	}
	for i := range o.Delegated {
		root.add(&o.Delegated[i])
	}
	for _, prefix := range root.leased(nil) {
		for _, path := range o.declaredUnder(g.Object, prefix) {
			if emptyAt(g.Object, path) {
				root.share(path)
			} else {
				root.declare(path)
			}
		}
	}
	if k.Group == "" && k.Kind == "Service" {
		for _, path := range freeSlots(g.Object) {
			root.at(path).slot = true
		}
	}
	for _, path := range o.Ignore {
		root.at(path).free = true
	}
	if root.leaf() {
		return nil
	}
	return &Guard{root: root}
}

// leased lists the paths at which rows give a whole value to a writer.
func (p *place) leased(at []string) [][]string {
	whole := func(l *Leaf) bool { return len(l.Tokens) == 0 && !l.DropOnly }
	if slices.ContainsFunc(p.rows, whole) || slices.ContainsFunc(p.prefixes, whole) {
		return [][]string{slices.Clone(at)}
	}
	var out [][]string
	for _, field := range slices.Sorted(maps.Keys(p.fields)) {
		out = append(out, p.fields[field].leased(append(at, field))...)
	}
	return out
}

// declaredUnder lists the declared leaves at and below a path.
func (o GuardOptions) declaredUnder(g map[string]any, prefix []string) []fieldpath.Path {
	at := make(fieldpath.Path, 0, len(prefix))
	for i := range prefix {
		at = append(at, fieldpath.PathElement{FieldName: &prefix[i]})
	}
	var out []fieldpath.Path
	if o.Declared == nil {
		walkFields(g, prefix, at, &out)
		return out
	}
	set := o.Declared
	for i, e := range at {
		if i == len(at)-1 && set.Members.Has(e) {
			out = append(out, at)
		}
		set = set.WithPrefix(e)
	}
	set.Leaves().Iterate(func(rest fieldpath.Path) {
		out = append(out, append(slices.Clone(at), rest...))
	})
	if len(out) > 1 && len(out[0]) == len(at) {
		out = out[1:] // a field that holds others is no leaf
	}
	return out
}

// walkFields lists the leaves at and below a path, lists being leaves.
func walkFields(v any, prefix []string, at fieldpath.Path, out *[]fieldpath.Path) {
	for _, field := range prefix {
		m, ok := v.(map[string]any)
		if !ok {
			return
		}
		v = m[field]
	}
	m, ok := v.(map[string]any)
	if !ok || len(m) == 0 {
		if v != nil {
			*out = append(*out, at)
		}
		return
	}
	for field := range m {
		walkFields(m[field], nil, append(slices.Clone(at), fieldpath.PathElement{FieldName: &field}), out)
	}
}

func (p *place) leaf() bool { return len(p.fields) == 0 && len(p.prefixes) == 0 }

func (p *place) at(path []string) *place {
	for _, field := range path {
		next := p.fields[field]
		if next == nil {
			next = &place{}
			if p.fields == nil {
				p.fields = map[string]*place{}
			}
			p.fields[field] = next
		}
		p = next
	}
	return p
}

func (p *place) add(l *Leaf) {
	last := len(l.Path) - 1
	if last < 0 {
		return
	}
	if strings.HasSuffix(l.Path[last], "*") {
		p = p.at(l.Path[:last])
		p.prefixes = append(p.prefixes, l)
		return
	}
	p = p.at(l.Path)
	p.rows = append(p.rows, l)
}

// emptyAt reports whether the manifest declares nothing but emptiness there, such as
// the rules of an aggregated ClusterRole: that leaves it to whoever fills it.
func emptyAt(v any, path fieldpath.Path) bool {
	for _, e := range path {
		m, ok := v.(map[string]any)
		if e.FieldName == nil || !ok {
			return false
		}
		v = m[*e.FieldName]
	}
	return empty(v)
}

// share marks the place at path, if rows hold it, as one that others may empty.
func (p *place) share(path fieldpath.Path) {
	for _, e := range path {
		if e.FieldName == nil || p.fields[*e.FieldName] == nil {
			return
		}
		p = p.fields[*e.FieldName]
	}
	p.shared = len(p.rows) > 0
}

// declare marks the declared leaf at path, if rows reach it, as Git's.
func (p *place) declare(path fieldpath.Path) {
	under := false // a row holds the place reached
	for _, e := range path {
		if e.Value != nil { // an item of a set
			if under {
				p.keep = append(p.keep, (*e.Value).Unstructured())
			}
			return
		}
		name := segment(e)
		next := p.fields[name]
		if next == nil && (under || p.prefixed(name) != nil) {
			next = p.at([]string{name})
			under = true
		}
		if next == nil {
			return
		}
		p = next
		under = under || slices.ContainsFunc(p.rows, func(l *Leaf) bool { return len(l.Tokens) == 0 && !l.DropOnly })
	}
	if under {
		p.declared = true
	}
}

// segment names the child that a path element leads to: a field, a position, or
// the key of an item as [Step.Key] has it.
func segment(e fieldpath.PathElement) string {
	switch {
	case e.FieldName != nil:
		return *e.FieldName
	case e.Index != nil:
		return strconv.Itoa(*e.Index)
	case e.Key != nil:
		var b strings.Builder
		for i, f := range *e.Key {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, "%s=%v", f.Name, f.Value.Unstructured())
		}
		return b.String()
	}
	return ""
}

// prefixed returns the rows that open the field by its prefix.
func (p *place) prefixed(field string) []*Leaf {
	var rows []*Leaf
	for _, l := range p.prefixes {
		if strings.HasPrefix(field, strings.TrimSuffix(l.Path[len(l.Path)-1], "*")) {
			rows = append(rows, l)
		}
	}
	return rows
}

// below returns the place of a field, or nil.
func (p *place) below(field string) *place {
	if p == nil {
		return nil
	}
	next := p.fields[field]
	if next != nil && next.declared {
		return next
	}
	if rows := p.prefixed(field); rows != nil {
		if next == nil {
			return &place{rows: rows}
		}
		merged := *next
		merged.rows = append(slices.Clone(next.rows), rows...)
		return &merged
	}
	return next
}

// item returns the place of an item, by its key or by its position in D.
func (p *place) item(i int, key string) *place {
	if p == nil || len(p.fields) == 0 {
		return nil
	}
	if key != "" {
		if next := p.fields[key]; next != nil {
			return next
		}
	}
	if i < 0 {
		return nil
	}
	return p.fields[strconv.Itoa(i)]
}

// Signature returns a text that is equal for guards that guard alike, so that
// objects can share one. It is empty for nil.
func (g *Guard) Signature() string {
	if g == nil {
		return ""
	}
	var b strings.Builder
	g.root.sign(&b)
	return b.String()
}

func (p *place) sign(b *strings.Builder) {
	fmt.Fprintf(b, "{%t%t%t%t%q", p.free, p.slot, p.declared, p.shared, p.keep)
	for _, rows := range [][]*Leaf{p.rows, p.prefixes} {
		b.WriteByte('|')
		for _, l := range rows {
			fmt.Fprintf(b, "%q%q%q%q%t%t;", l.Path, l.Tokens, l.Writers, l.Subresource, l.DropOnly, l.Exact)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(p.fields)) {
		fmt.Fprintf(b, "%q", k)
		p.fields[k].sign(b)
	}
	b.WriteByte('}')
}
