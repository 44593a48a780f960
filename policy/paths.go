package policy

import (
	"github.com/open-policy-agent/opa/v1/ast"
)

// readPaths is the part of the input that rules read, as a tree of keys. A nil
// pointer means that nothing below is read.
type readPaths struct {
	all  bool                  // this value whole
	keys map[string]*readPaths // these members of an object
	any  *readPaths            // members by a key not known before, and elements of arrays
}

// collectReads finds out what the compiled rules read of the input. Wherever it
// cannot tell which part is read, it takes the whole.
func collectReads(rules []*ast.Rule) *readPaths {
	if reads, ok := flowReads(rules); ok {
		return reads
	}
	return mentionedReads(rules)
}

// mentionedReads takes every reference to the input for one that reads all that
// it names.
func mentionedReads(rules []*ast.Rule) *readPaths {
	root := &readPaths{}
	for _, rule := range rules {
		heads := map[*ast.Term]bool{}
		ast.WalkTerms(rule, func(t *ast.Term) bool {
			switch v := t.Value.(type) {
			case ast.Ref:
				if v.HasPrefix(ast.InputRootRef) {
					heads[v[0]] = true
					root.add(v[1:])
				}
			case ast.Var: // the compiler makes references of them all; should one remain, it may read anything
				if v.Equal(ast.InputRootDocument.Value) && !heads[t] {
					root.all = true
				}
			}
			return false
		})
	}
	root.settle()
	return root
}

func (p *readPaths) add(ref ast.Ref) {
	for _, t := range ref {
		if key, ok := t.Value.(ast.String); ok {
			if p.keys == nil {
				p.keys = map[string]*readPaths{}
			}
			if p.keys[string(key)] == nil {
				p.keys[string(key)] = &readPaths{}
			}
			p = p.keys[string(key)]
			continue
		}
		if p.any == nil {
			p.any = &readPaths{}
		}
		p = p.any
	}
	p.all = true
}

// settle merges what is read by any key into each key that is named, so that one
// look-up finds all.
func (p *readPaths) settle() {
	if p == nil {
		return
	}
	if p.all {
		p.keys, p.any = nil, nil
		return
	}
	p.any.settle()
	for key, child := range p.keys {
		p.keys[key] = mergeReads(child, p.any)
		p.keys[key].settle()
	}
}

// mergeReads returns what either reads. It changes neither.
func mergeReads(a, b *readPaths) *readPaths {
	switch {
	case a == nil && b == nil:
		return nil
	case a != nil && a.all, b != nil && b.all:
		return &readPaths{all: true}
	case a == nil:
		a, b = b, a
	}
	out := &readPaths{any: a.any, keys: make(map[string]*readPaths, len(a.keys))}
	for k, v := range a.keys {
		out.keys[k] = mergeReads(v, nil)
	}
	if b == nil {
		return out
	}
	out.any = mergeReads(a.any, b.any)
	for k, v := range b.keys {
		out.keys[k] = mergeReads(out.keys[k], v)
	}
	if out.any != nil { // a key that one names may be any key of the other
		for k, v := range out.keys {
			out.keys[k] = mergeReads(v, out.any)
		}
	}
	return out
}

// key returns what is read of the member, nil for nothing.
func (p *readPaths) key(k string) *readPaths {
	if p == nil || p.all {
		return p
	}
	if child, ok := p.keys[k]; ok {
		return child
	}
	return p.any
}

// names reports whether the path is read by its very name.
func (p *readPaths) names(path ...string) bool {
	for _, key := range path {
		if p == nil || p.all || p.keys[key] == nil {
			return false
		}
		p = p.keys[key]
	}
	return true
}

// element returns what is read of the elements of an array.
func (p *readPaths) element() *readPaths {
	if p == nil || p.all {
		return p
	}
	return p.any
}
