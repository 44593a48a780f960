package policy

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// A flow finds out which part of the input rules read, following its values
// through variables, through the values of other rules and into functions. A
// value that goes anywhere else is taken to be read whole. The outcome is never
// too little, but for one thing: values that differ only where no rule looks
// count as equal, as elements of a set and as results of a rule that may have
// one only.
type flow struct {
	groups map[string]*group
	root   node
	lost   bool // something was met that is not understood
}

// A shape is what the rules of one name make together.
type shape int

const (
	opaque    shape = iota // its values are not followed
	complete               // one value
	partial                // an object whose last key is a variable
	elements               // a set
	functions              // calls
)

// A group is all rules of one name.
type group struct {
	path   ast.Ref
	rules  []*ast.Rule
	shape  shape
	value  node   // of the rule, of its members, or its elements
	params []node // of a function
}

// A node is a place for values that may come from the input.
type node struct {
	whole bool
	edges []edge
	reads *readPaths
	busy  bool
}

// An edge says that what is at path of a node goes on to another one; to nil, it
// is read whole. A step of the path is the keys that it may stand for; nil is
// any.
type edge struct {
	path [][]string
	to   *node
}

// groupRules sorts rules by name. The nodes are empty.
func groupRules(rules []*ast.Rule) map[string]*group {
	groups := map[string]*group{}
	for _, rule := range rules {
		path := rule.Ref().GroundPrefix()
		key := path.String()
		g := groups[key]
		if g == nil {
			g = &group{path: path, shape: shapeOf(rule), params: make([]node, len(rule.Head.Args))}
			groups[key] = g
		}
		if shapeOf(rule) != g.shape || len(rule.Head.Args) != len(g.params) {
			g.shape = opaque
		}
		g.rules = append(g.rules, rule)
	}
	for _, g := range groups {
		for i := 2; i < len(g.path); i++ { // a rule below another one
			if above := groups[g.path[:i].String()]; above != nil {
				g.shape, above.shape = opaque, opaque
			}
		}
	}
	return groups
}

// shapeOf says what a rule on its own makes.
func shapeOf(rule *ast.Rule) shape {
	ref := rule.Head.Ref()
	dynamic := len(ref) - len(ref.GroundPrefix())
	switch {
	case rule.Else != nil || rule.Default:
		return opaque
	case len(rule.Head.Args) > 0:
		return functions
	case rule.Head.RuleKind() == ast.MultiValue && dynamic == 0:
		return elements
	case rule.Head.RuleKind() == ast.SingleValue && dynamic == 0:
		return complete
	case rule.Head.RuleKind() == ast.SingleValue && dynamic == 1:
		return partial
	}
	return opaque
}

// flowReads returns what the rules read of the input, and false where that is
// not understood.
func flowReads(rules []*ast.Rule) (*readPaths, bool) {
	f := &flow{groups: groupRules(rules)}
	scan := newFlowScan(f)
	for _, g := range f.groups {
		if m := entryName.MatchString(ruleNameOf(g)); m || g.shape == opaque {
			g.demand() // entries and what is not followed are asked for whole
		}
		for _, rule := range g.rules {
			scan.run(g, rule)
		}
	}
	if f.lost {
		return nil, false
	}
	reads := f.root.demand()
	reads.settle()
	return reads, true
}

// A dependencies says on which rules others depend. It is not changed once it is made.
type dependencies struct {
	groups map[string]*group
	below  map[string][]*group // by the beginning of their path
	direct map[*ast.Rule][]*group
}

func newDependencies(groups map[string]*group, rules []*ast.Rule) *dependencies {
	d := &dependencies{groups: groups, below: map[string][]*group{}, direct: make(map[*ast.Rule][]*group, len(rules))}
	for _, g := range groups {
		for n := 1; n <= len(g.path); n++ {
			key := g.path[:n].String()
			d.below[key] = append(d.below[key], g)
		}
	}
	for i, direct := range sideBySide(rules, d.read) { // each rule is looked at once
		d.direct[rules[i]] = direct
	}
	return d
}

// reachable lists the rules on which the value of a group may depend, its own
// included.
func (d *dependencies) reachable(from *group) []*ast.Rule {
	var rules []*ast.Rule
	seen := map[*group]bool{from: true}
	for queue := []*group{from}; len(queue) > 0; {
		g := queue[0]
		queue = queue[1:]
		for _, rule := range g.rules {
			rules = append(rules, rule)
			for _, to := range d.direct[rule] {
				if !seen[to] {
					seen[to] = true
					queue = append(queue, to)
				}
			}
		}
	}
	return rules
}

// read lists the groups that a rule may read itself.
func (d *dependencies) read(rule *ast.Rule) []*group {
	seen := map[string]bool{}
	var out []*group
	ast.WalkRefs(rule, func(ref ast.Ref) bool {
		if !ref[0].Equal(ast.DefaultRootDocument) {
			return false
		}
		ground := ref.GroundPrefix()
		if name := ground.String(); !seen[name] {
			seen[name] = true
			out = append(out, d.named(ground, name)...)
		}
		return false
	})
	return out
}

// named lists the groups that a reference to data may read.
func (d *dependencies) named(ground ast.Ref, name string) (out []*group) {
	for n := 2; n < len(ground); n++ {
		if g := d.groups[ground[:n].String()]; g != nil {
			out = append(out, g)
		}
	}
	return append(out, d.below[name]...)
}

func ruleNameOf(g *group) string {
	name, _ := g.path[len(g.path)-1].Value.(ast.String)
	return string(name)
}

// demand asks for the value of a group whole.
func (g *group) demand() {
	g.value.whole = true
	for i := range g.params {
		g.params[i].whole = true
	}
}

func (n *node) add(path [][]string, to *node) { n.edges = append(n.edges, edge{path, to}) }

// demand is what is read of the values that may be at a node. Rules do not
// recurse; should they ever, all is read.
func (n *node) demand() *readPaths {
	switch {
	case n == nil || n.whole || n.busy:
		return &readPaths{all: true}
	case n.reads != nil:
		return n.reads
	}
	n.busy = true
	reads := &readPaths{}
	for _, e := range n.edges {
		reads.graft(e.path, e.to.demand())
	}
	n.busy = false
	n.reads = reads
	return reads
}

// graft adds what is read below a path.
func (p *readPaths) graft(path [][]string, below *readPaths) {
	if p.all {
		return
	}
	if len(path) > 0 && path[0] == nil {
		if p.any == nil {
			p.any = &readPaths{}
		}
		p.any.graft(path[1:], below)
		return
	}
	if len(path) > 0 {
		for _, key := range path[0] {
			p.child(key).graft(path[1:], below)
		}
		return
	}
	if below.all {
		*p = readPaths{all: true}
		return
	}
	if below.any != nil {
		p.graft([][]string{nil}, below.any)
	}
	for key, tree := range below.keys {
		p.child(key).graft(nil, tree)
	}
}

// child returns the tree below a key, made if it is not there.
func (p *readPaths) child(key string) *readPaths {
	if p.keys == nil {
		p.keys = map[string]*readPaths{}
	}
	if p.keys[key] == nil {
		p.keys[key] = &readPaths{}
	}
	return p.keys[key]
}

// lookUp finds the group whose value a reference to data begins with, and how
// much of the reference names it. Where a reference may stand for several
// groups, all of them are asked for whole.
func (f *flow) lookUp(ref ast.Ref) (*group, int) {
	ground := ref.GroundPrefix()
	for n := 2; n <= len(ground); n++ {
		if g := f.groups[ground[:n].String()]; g != nil {
			return g, n
		}
	}
	for _, g := range f.groups {
		if g.path.HasPrefix(ground) {
			g.demand()
		}
	}
	return nil, 0
}

// getRef returns the reference that a call of object.get with a constant key stands
// for, if there is something to follow.
func getRef(terms []*ast.Term) ast.Ref {
	if len(terms) < 4 || terms[0].Value.Compare(objectGet) != 0 {
		return nil
	}
	var base ast.Ref
	switch v := terms[1].Value.(type) {
	case ast.Ref:
		base = v
	case ast.Var:
		base = ast.Ref{terms[1]}
	default:
		return nil
	}
	var keys []*ast.Term
	switch v := terms[2].Value.(type) {
	case ast.String:
		keys = append(keys, terms[2])
	case *ast.Array: // a path, up to what is no constant
		for i := 0; i < v.Len(); i++ {
			if _, ok := v.Elem(i).Value.(ast.String); !ok {
				break
			}
			keys = append(keys, v.Elem(i))
		}
	}
	if len(keys) == 0 {
		return nil
	}
	return append(slices.Clip(base), keys...)
}

var objectGet = ast.ObjectGet.Ref()
