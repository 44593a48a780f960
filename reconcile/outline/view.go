package outline

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"gitgate.dev/gitgate/reconcile/render"
)

// A View is a tree without the files that another tree, of which there is an outline,
// has too. Files that are hidden can still be read by whoever knows their names.
//
// It is for one goroutine.
type View struct {
	Tree
	other   Tree
	outline *Outline
	// whole says that hiding would change the meaning of what is left.
	whole bool
}

// NewView shows what matters of tree, as compared with other. One of the two is the
// tree of the outline.
func NewView(o *Outline, tree, other Tree) *View {
	v := &View{Tree: tree, other: other, outline: o}
	for dir := o.dir; dir != "."; {
		dir = path.Dir(dir)
		v.attributes(dir)
	}
	v.survey(o.dir)
	return v
}

// Whole reports whether the tree must be looked at whole after all: something that
// differs says how other files are read.
func (v *View) Whole() bool { return v.whole }

// survey looks for that in the directories that differ.
func (v *View) survey(dir string) {
	if v.same(dir) || v.whole {
		return
	}
	v.attributes(dir)
	entries, err := v.Tree.ReadDir(dir)
	v.whole = v.whole || err != nil && !errors.Is(err, fs.ErrNotExist)
	for _, e := range entries {
		v.whole = v.whole || render.IsKustomization(e.Name())
		if e.IsDir() {
			v.survey(path.Join(dir, e.Name()))
		}
	}
}

func (v *View) same(dir string) bool {
	hash := v.Tree.TreeHash(dir)
	return hash != "" && hash == v.other.TreeHash(dir)
}

// attributes notices whether files below dir are read in another way now.
func (v *View) attributes(dir string) {
	name := path.Join(dir, ".gitattributes")
	here, hereErr := v.Tree.BlobHash(name)
	there, thereErr := v.other.BlobHash(name)
	none := errors.Is(hereErr, fs.ErrNotExist) && errors.Is(thereErr, fs.ErrNotExist)
	v.whole = v.whole || !none && (hereErr != nil || thereErr != nil || here != there)
}

// ReadDir implements [fs.ReadDirFS].
func (v *View) ReadDir(dir string) ([]fs.DirEntry, error) {
	entries, err := v.Tree.ReadDir(dir)
	if err != nil || dir != v.outline.dir && v.outline.dir != "." && !strings.HasPrefix(dir, v.outline.dir+"/") {
		return entries, err
	}
	return slices.DeleteFunc(slices.Clone(entries), func(e fs.DirEntry) bool {
		return v.hides(path.Join(dir, e.Name()), e)
	}), nil
}

func (v *View) hides(name string, e fs.DirEntry) bool {
	if v.outline.apart[name] {
		return false
	}
	if e.IsDir() {
		return v.same(name)
	}
	if !e.Type().IsRegular() || !render.IsManifest(name) {
		return false
	}
	here, err := v.Tree.BlobHash(name)
	if err != nil {
		return false
	}
	there, err := v.other.BlobHash(name)
	return err == nil && here == there
}
