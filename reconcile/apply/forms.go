package apply

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"reflect"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"gitgate.dev/gitgate/policy/desired"
)

// A form is an object as its owner has it applied. It stays the same for as long as
// the object does and what the plan says about it, and making it costs more than
// all else that an unchanged object costs. It does not change once it is complete.
type form struct {
	key    key
	gvk    schema.GroupVersionKind
	stage  int
	id     string    // of the key, in an inventory; empty until the form is complete
	title  string    // of the key, for people
	res    *resource // nil until the kind is known
	g      *unstructured.Unstructured
	body   []byte // g as JSON
	hash   [sha256.Size]byte
	mask   *desired.Mask
	ignore [][]string
	scaled bool // an autoscaler of the release scales it
	force  bool // it may be made anew
}

// newForm says what can be said of an object without its kind's resource.
func newForm(p *Plan, o *unstructured.Unstructured) *form {
	gvk := o.GroupVersionKind()
	f := &form{gvk: gvk, g: o}
	f.key = key{group: gvk.Group, kind: gvk.Kind, namespace: o.GetNamespace(), name: o.GetName()}
	f.stage = f.gk().stage()
	f.force = p.Force || o.GetAnnotations()[ForceAnnotation] == "Enabled"
	return f
}

func (f *form) gk() groupKind { return groupKind{f.key.group, f.key.kind} }

// complete makes the form of an object whose kind and namespace are known.
func (f *form) complete(p *Plan, res *resource, scaled bool) error {
	g, err := res.Manifest(f.g)
	if err != nil {
		return err
	}
	stamp(g, p.Owner, f.key.namespace)
	ignore, undeclared, err := p.ignored(g)
	if err != nil {
		return err
	}
	body, err := json.Marshal(g.Object)
	if err != nil {
		return fmt.Errorf("the manifest cannot be written as JSON")
	}
	f.id, f.title = f.key.id(), f.key.String()
	f.res, f.g, f.body, f.ignore, f.scaled = res, g, body, ignore, scaled
	f.mask = res.NewMask(g, desired.MaskOptions{Autoscaled: scaled, Ignore: ignore, Undeclared: undeclared})
	h := sha256.New()
	h.Write(body)
	fmt.Fprintf(h, "\x00%t\x00%q\x00%q", scaled, ignore, undeclared)
	h.Sum(f.hash[:0])
	return nil
}

// done reports whether the form is complete.
func (f *form) done() bool { return f.id != "" }

// fits reports whether a complete form is that of its object as this resource.
func (f *form) fits(res *resource, scaled map[key]bool) bool {
	return *f.res == *res && f.scaled == scaled[f.key]
}

// A formBook holds the forms of one owner's last plan by the object that each was
// made of, whose pointer stands for its content: see [Plan.Objects]. It never holds
// the form of a Secret.
type formBook struct {
	namespace string
	force     bool
	ignore    []IgnoreRule
	forms     map[*unstructured.Unstructured]*form
}

// speaksFor reports whether the plan says of its objects what the last one said.
func (b *formBook) speaksFor(p *Plan) bool {
	return b.namespace == p.namespace() && b.force == p.Force && reflect.DeepEqual(b.ignore, p.Ignore)
}

// formBooks holds the book of each owner.
type formBooks struct {
	mu      sync.Mutex
	byOwner map[Owner]*formBook
}

// known returns the forms that were made for the owner's last plan and hold for
// this one too, apart from what the cluster serves.
func (b *formBooks) known(p *Plan) map[*unstructured.Unstructured]*form {
	b.mu.Lock()
	defer b.mu.Unlock()
	if book := b.byOwner[p.Owner]; book != nil && book.speaksFor(p) {
		return book.forms
	}
	return nil
}

// keep replaces the forms that are known of the plan's owner by the plan's.
func (b *formBooks) keep(p *Plan, items []*item) {
	book := &formBook{namespace: p.namespace(), force: p.Force, ignore: p.Ignore,
		forms: make(map[*unstructured.Unstructured]*form, len(items))}
	for _, it := range items {
		if it.done() && !it.secret {
			book.forms[it.from] = it.form
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.byOwner[p.Owner] = book
}

func (b *formBooks) drop(o Owner) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.byOwner, o)
}
