package gate

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"gitgate.dev/gitgate/policy/verdict"
)

// A Source says where in the repository an object comes from.
type Source struct {
	// File is the slash-separated path from the repository's root.
	File string
	// Line is the 1-based line at which the object starts; 0 is unknown.
	Line int
	// Document is the 0-based index of the YAML document within File.
	Document int
	// Encrypted holds the raw bytes of File when the object carries SOPS
	// ciphertext, for the integrity check covers the file and not the object.
	// It is nil for all others.
	Encrypted []byte
}

// An Object is one rendered object and its source.
type Object struct {
	*unstructured.Unstructured
	Source Source
}

// ID names the object for people: namespace/Kind.group/name, without the parts
// that are empty.
func (o Object) ID() string { return ObjectID(o.Unstructured) }

// ObjectID names an object for people: namespace/Kind.group/name, without the
// parts that are empty. Findings carry it.
func ObjectID(u *unstructured.Unstructured) string {
	gvk := u.GroupVersionKind()
	id := gvk.Kind
	if gvk.Group != "" {
		id += "." + gvk.Group
	}
	name := u.GetName()
	if name == "" {
		name = u.GetGenerateName()
	}
	id += "/" + name
	if ns := u.GetNamespace(); ns != "" {
		id = ns + "/" + id
	}
	return id
}

// finding completes a finding with the object's name and place.
func (o Object) finding(f verdict.Finding) verdict.Finding {
	f.Object, f.File, f.Line = o.ID(), o.Source.File, o.Source.Line
	return f
}

// key identifies an object in the cluster, whatever version it is written in.
func (o Object) key() string {
	gvk := o.GroupVersionKind()
	return gvk.Group + "/" + gvk.Kind + "/" + o.GetNamespace() + "/" + o.GetName()
}
