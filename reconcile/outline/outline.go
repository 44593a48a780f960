// Package outline knows what a tree declares without reading it again.
//
// An [Outline] is taken of a tree that was rendered whole. Of a later tree that
// shares files with it a [View] shows what may matter to a verdict on the difference:
// what differs, and every file that must be looked at in any case. What it hides is
// unchanged, byte by byte, and is known to the outline. Whoever judges a view has to
// ask [Outline.Clash] whether what is hidden would make a difference.
//
// An outline decides nothing about what it was not taken of: what a commit changes is
// always read and judged.
package outline

import (
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/reconcile/render"
)

// Hashes are those of the files and directories of a tree.
type Hashes interface {
	render.BlobHasher
	// TreeHash is empty where dir is no directory.
	TreeHash(dir string) string
}

// A Tree is a Git tree: it knows the hashes of what is in it without reading it. Those
// of package verify/commit do.
type Tree interface {
	fs.ReadDirFS
	fs.ReadFileFS
	fs.StatFS
	fs.ReadLinkFS
	Hashes
}

// An Outline says which objects the files below a directory declare. It is immutable.
type Outline struct {
	dir   string
	moved bool // see About
	files map[string]file
	// apart are the files to look at whatever happens, and the directories that they
	// are in.
	apart map[string]bool
}

// A file is what an outline knows of one file.
type file struct {
	keys   []string // of the objects, as declared
	images []string // that they run
	// special objects are judged together with others, or by what is not in the tree.
	special bool
}

// An About is what somebody knows who has judged a tree.
type About struct {
	// Dir is the directory that was rendered.
	Dir string
	// Moved says that objects were moved to a target namespace, where bindings follow
	// the accounts that the tree declares.
	Moved bool
	// Objects is what it rendered to.
	Objects []gate.Object
	// Images lists the images of an object.
	Images func(gate.Object) []string
	// Remarkable are the files about which there was anything to say.
	Remarkable []string
}

// Of takes the outline of a tree. It returns nil where there is none, because what a
// file declares depends on others: below a kustomization.
func Of(tree Tree, about About) (*Outline, error) {
	plain, err := isPlain(tree, about.Dir)
	if err != nil || !plain {
		return nil, err
	}
	o := &Outline{dir: path.Clean(about.Dir), moved: about.Moved, files: map[string]file{}}
	o.add(about)
	o.choose()
	return o, nil
}

// isPlain reports whether no directory holds a kustomization.
func isPlain(tree Tree, dir string) (bool, error) {
	plain := true
	err := fs.WalkDir(tree, path.Clean(dir), func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if render.IsKustomization(e.Name()) {
			plain = false
			return fs.SkipAll
		}
		return nil
	})
	return plain, err
}

func (o *Outline) add(about About) {
	for _, object := range about.Objects {
		f := o.files[object.Source.File]
		f.keys = append(f.keys, key(object))
		f.images = append(f.images, about.Images(object)...)
		f.special = f.special || o.special(object)
		o.files[object.Source.File] = f
	}
	for _, name := range about.Remarkable {
		f := o.files[name]
		f.special = true
		o.files[name] = f
	}
}

// key names the object whatever its version, and wherever it is moved to.
func key(o gate.Object) string {
	gvk := o.GroupVersionKind()
	return gvk.Group + "/" + gvk.Kind + "/" + o.GetNamespace() + "/" + o.GetName()
}

// special reports whether an object has to be looked at whatever happens: it says of
// others what they are (whether a kind is namespaced, which account a binding follows,
// what judges the rest), or it is a Secret, of which nothing may be overlooked.
func (o *Outline) special(object gate.Object) bool {
	switch gk := object.GroupVersionKind().GroupKind(); {
	case object.Source.Encrypted != nil, gk.Group == "gitgate.dev":
		return true
	case gk == schema.GroupKind{Kind: "ServiceAccount"}:
		return o.moved
	default:
		return gk == schema.GroupKind{Kind: "Secret"} || gk == schema.GroupKind{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}
	}
}

// choose finds out which files stand apart: those that are special, and one at least,
// for a path that shows nothing would seem to declare nothing.
func (o *Outline) choose() {
	o.apart = map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(o.files)) {
		take := o.files[name].special || len(o.apart) == 0
		for at := name; take && !o.apart[at] && at != "."; at = path.Dir(at) {
			o.apart[at] = true
		}
	}
}

// Objects counts what the tree declares.
func (o *Outline) Objects() int {
	n := 0
	for _, f := range o.files {
		n += len(f.keys)
	}
	return n
}

// Images lists what is run, each image once.
func (o *Outline) Images() []string {
	seen := map[string]bool{}
	for _, f := range o.files {
		for _, image := range f.images {
			seen[image] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// Clash reports whether what a view hides could make a difference to a verdict on the
// objects that it shows: former ones of the outline's tree, and those of now.
func (o *Outline) Clash(former, now []gate.Object) bool {
	if o.meaning(former) != o.meaning(now) {
		return true
	}
	shown := map[string]bool{}
	for _, object := range former {
		shown[object.Source.File] = true
	}
	declared := make(map[string]bool, len(now))
	for _, object := range now {
		declared[key(object)] = true
	}
	for name, f := range o.files {
		if shown[name] {
			continue
		}
		for _, k := range f.keys {
			if declared[k] {
				return true // twice: which would win is for a whole look to say
			}
		}
	}
	return false
}

// meaning identifies what objects say about others.
func (o *Outline) meaning(objects []gate.Object) string {
	var out []string
	for _, object := range objects {
		if !o.special(object) || object.GetKind() == "Secret" {
			continue
		}
		text := key(object)
		for _, at := range [][]string{{"group"}, {"scope"}, {"names", "kind"}} {
			// A field of another type leaves the default, as it does where scopes are read.
			value, _, _ := unstructured.NestedString(object.Object, append([]string{"spec"}, at...)...)
			text += " " + value
		}
		out = append(out, text)
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// Then is the outline of a later tree, of which a view was judged: former are the
// objects that it showed of this one.
func (o *Outline) Then(former []gate.Object, about About) *Outline {
	next := &Outline{dir: o.dir, moved: o.moved, files: maps.Clone(o.files)}
	for _, object := range former {
		delete(next.files, object.Source.File)
	}
	next.add(about)
	next.choose()
	return next
}
