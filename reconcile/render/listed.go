package render

//lint:file-ignore SA1019 kustomizations still use the deprecated fields, so they are read

import (
	"path"
	"reflect"

	"sigs.k8s.io/kustomize/api/types"

	"gitgate.dev/gitgate/policy/gate"
)

// listsOnly reports whether all that was collected does nothing but list files and
// directories. kustomize has nothing to change then, and would take time that
// grows with the square of the number of objects to find that out.
func (c *collector) listsOnly() bool {
	for _, kf := range c.kusts {
		rest := kf.k
		rest.TypeMeta, rest.MetaData = types.TypeMeta{}, nil
		rest.Resources, rest.Bases = nil, nil
		if !reflect.DeepEqual(rest, types.Kustomization{}) {
			return false
		}
	}
	return true
}

// listed renders a kustomization for which listsOnly holds, in the order in which
// kustomize would. Its entries are local paths by now.
func (r *renderer) listed(c *collector, dir string) bool {
	kf := c.kusts[dir]
	for _, entries := range [][]string{kf.k.Resources, kf.k.Bases} {
		for _, entry := range entries {
			name := path.Join(dir, entry)
			if _, isDir := c.kusts[name]; isDir {
				if !r.listed(c, name) {
					return false
				}
				continue
			}
			if !r.declared(name, c.inputs[name].file) {
				return false
			}
		}
	}
	return true
}

// declared takes over the objects of a file. It reports whether to go on.
func (r *renderer) declared(name string, file *parsedFile) bool {
	r.findings.add(name, file.problems...)
	for _, m := range file.manifests {
		if m.local {
			r.findings.add(name, leftOut(m))
			continue
		}
		if !r.add(gate.Object{Unstructured: m.object, Source: source(name, m, file)}) {
			return false
		}
	}
	return true
}
