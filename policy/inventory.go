package policy

import (
	"errors"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
)

// maxInventory bounds the objects of an inventory.
const maxInventory = 100_000

// An Inventory is what rules find in data.inventory: other objects, in the form that
// Gatekeeper gives them, which is namespace[ns][apiVersion][kind][name] and
// cluster[apiVersion][kind][name]. It is safe for concurrent use and never changes.
type Inventory struct{ root *ast.Term }

// NewInventory makes an inventory of objects as JSON. Values of Secrets are replaced
// by "(redacted)". It fails on what is no Kubernetes object, on one that is there
// twice, and when there are more than 100,000.
func NewInventory(objects [][]byte) (*Inventory, error) {
	if len(objects) > maxInventory {
		return nil, errors.New(tooMany("objects", len(objects), maxInventory))
	}
	cluster, namespaces := tree{}, tree{}
	for _, raw := range objects {
		src := string(raw)
		h, err := readHeader(src, nil)
		if err != nil {
			return nil, fmt.Errorf("the inventory: %w", err)
		}
		d := decoder{src: src, secret: h.isSecret()}
		t, err := d.decodeObject(&readPaths{all: true})
		if err != nil {
			return nil, fmt.Errorf("the inventory: %s: %w", h.id(), err)
		}
		at := cluster
		if h.namespace != "" {
			at = namespaces.below(h.namespace)
		}
		at = at.below(h.apiVersion).below(h.kind)
		if at[h.name] != nil {
			return nil, fmt.Errorf("the inventory: %s is there twice", h.id())
		}
		at[h.name] = t
	}
	return &Inventory{tree{"cluster": cluster, "namespace": namespaces}.term()}, nil
}

// A tree holds trees and terms by name.
type tree map[string]any

func (t tree) below(key string) tree {
	if t[key] == nil {
		t[key] = tree{}
	}
	return t[key].(tree)
}

func (t tree) term() *ast.Term {
	items := make([][2]*ast.Term, 0, len(t))
	for key, below := range t {
		value, ok := below.(*ast.Term)
		if !ok {
			value = below.(tree).term()
		}
		items = append(items, [2]*ast.Term{ast.StringTerm(key), value})
	}
	return ast.ObjectTerm(items...)
}

func (i *Inventory) term() *ast.Term {
	if i == nil {
		return nil
	}
	return i.root
}
