package render

//lint:file-ignore SA1019 kustomizations still use the deprecated fields, so they are read

import (
	"encoding/json"
	"path"
	"reflect"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/types"
)

// A division splits a build into parts that kustomize can build one by one with
// the same result, so that only those are built that changed, and that none is so
// large that the time kustomize takes, which grows with the square of the number
// of objects, is felt.
//
// A part is right on its own because of how kustomize works, as of api v0.21:
//
//   - Every transformer that a divisible kustomization can have changes each object
//     by what the kustomization says and what the object holds, and nothing else.
//   - Objects meet only where identifiers are compared (two of the same identifier,
//     the target of a patch without a selector, replicas) and where a reference by
//     name is updated. All of these compare names, and a name is that of the
//     manifest with prefixes and suffixes of the kustomizations around it.
//
// So objects are in one part if one holds a text that is or becomes the name of the
// other. Objects whose name is anywhere in what the kustomizations themselves say,
// and generated ones, are shared: they are there whenever a part is built.
type division struct {
	c     *collector
	dirs  []string         // with a kustomization, in the order of the result
	slots []slot           // in the order of the result
	index map[position]int // of slots

	words      map[string]bool // texts of all that steers the build
	namespaces map[string]bool // that objects declare, "default" for none
	moves      bool            // a kustomization sets the namespace
	subjects   bool            // there may be references by name and namespace
	images     bool            // a kustomization composes image references
	deletes    bool            // a patch may delete objects
	generated  map[string]bool // possible names of generated objects, without hash
}

// A slot is one entry of the tree that makes an object at most.
type slot struct {
	position
	manifest *manifest // nil for a generator
	parsed   *parsedFile
	kust     *kustFile // that generates it
	dirs     []string  // of the kustomizations around it
	facts    facts
	names    []string // that it may have at any time during the build
	shared   bool     // is there whenever a part is built
}

// divide returns a division of the build, or nil where it is not known how to.
func (c *collector) divide() *division {
	d := &division{c: c, index: map[position]int{}, words: map[string]bool{}, namespaces: map[string]bool{}, generated: map[string]bool{}}
	if !d.walk(c.root, nil, nil) || !d.patches() {
		return nil
	}
	// kustomize finds a subject's namespace among the original namespaces of all
	// objects first: which of them exist must then be no question.
	if d.subjects && d.moves && len(d.namespaces) > 1 {
		return nil
	}
	d.share()
	return d
}

// walk gathers the slots below a directory, in the order of kustomize's result.
// It reports false for what cannot be divided.
func (d *division) walk(dir string, around []*kustFile, dirs []string) bool {
	kf := d.c.kusts[dir]
	if slices.Contains(d.dirs, dir) || !d.kustomization(kf, dir) {
		return false
	}
	around, dirs = append(slices.Clip(around), kf), append(slices.Clip(dirs), dir)
	d.dirs = append(d.dirs, dir)
	before := len(d.slots)
	for _, entries := range [][]string{kf.k.Resources, kf.k.Bases} {
		for _, entry := range entries {
			name := path.Join(dir, entry)
			if _, isDir := d.c.kusts[name]; isDir {
				if !d.walk(name, around, dirs) {
					return false
				}
				continue
			}
			if !d.file(name, around, dirs) {
				return false
			}
		}
	}
	for i := range len(kf.k.ConfigMapGenerator) + len(kf.k.SecretGenerator) {
		args := kf.generator(i)
		if args.Behavior != "" && args.Behavior != "create" {
			return false // changes another object
		}
		s := slot{position: position{kf.name, -1 - i}, kust: kf, dirs: dirs, names: possibleNames(args.Name, "", around)}
		if !d.add(s) {
			return false
		}
		for _, n := range s.names {
			d.generated[n] = true
		}
		d.namespaces[namespaceOrDefault(args.Namespace)] = true
	}
	// What makes no object would be part of no part, and what is wrong with it
	// would not be seen.
	return len(d.slots) > before
}

// add takes in a slot. It reports false if its names cannot be told or the tree
// includes it twice.
func (d *division) add(s slot) bool {
	if _, twice := d.index[s.position]; twice || s.names == nil {
		return false
	}
	d.index[s.position] = len(d.slots)
	d.slots = append(d.slots, s)
	return true
}

// generator returns the arguments of one generator, ConfigMaps first.
func (kf *kustFile) generator(i int) *types.GeneratorArgs {
	if n := len(kf.k.ConfigMapGenerator); i >= n {
		return &kf.k.SecretGenerator[i-n].GeneratorArgs
	}
	return &kf.k.ConfigMapGenerator[i].GeneratorArgs
}

func (d *division) file(name string, around []*kustFile, dirs []string) bool {
	file := d.c.inputs[name].file
	known := file.facts()
	for i := range file.manifests {
		m := &file.manifests[i]
		kind := m.object.GetKind()
		s := slot{
			position: position{name, i}, manifest: m, parsed: file, dirs: dirs, facts: known[i],
			names: possibleNames(m.object.GetName(), kind, around),
		}
		if s.facts.steers || !d.add(s) {
			return false
		}
		d.subjects = d.subjects || s.facts.subjects
		if !inNoNamespace[m.object.GetAPIVersion()+" "+kind] {
			d.namespaces[namespaceOrDefault(m.object.GetNamespace())] = true
		}
	}
	return len(file.manifests) > 0
}

// inNoNamespace lists kinds that kustomize knows to be of the cluster. Any other
// counts as one that lives in a namespace, which is the careful assumption.
var inNoNamespace = map[string]bool{
	"v1 Namespace": true, "v1 PersistentVolume": true,
	"rbac.authorization.k8s.io/v1 ClusterRole": true, "rbac.authorization.k8s.io/v1 ClusterRoleBinding": true,
	"apiextensions.k8s.io/v1 CustomResourceDefinition": true, "storage.k8s.io/v1 StorageClass": true,
	"scheduling.k8s.io/v1 PriorityClass": true, "networking.k8s.io/v1 IngressClass": true,
	"admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration": true,
	"admissionregistration.k8s.io/v1 MutatingWebhookConfiguration":   true,
}

func namespaceOrDefault(ns string) string {
	if ns == "" {
		return "default"
	}
	return ns
}

// maxNames bounds the names that one object may have during a build.
const maxNames = 64

// possibleNames returns every name that an object may have while the kustomizations
// around it, outermost first, are applied. It returns nil where they cannot be told.
func possibleNames(name, kind string, around []*kustFile) []string {
	names := []string{name}
	add := func(n string) {
		if !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	for i := len(around) - 1; i >= 0; i-- {
		k := &around[i].k
		if len(k.NamePrefix) > maxName || len(k.NameSuffix) > maxName {
			return nil
		}
		if kind == "Namespace" && k.Namespace != "" {
			add(k.Namespace) // of any group, to be safe
		}
		for _, n := range names {
			add(k.NamePrefix + n)
		}
		for _, n := range names {
			add(n + k.NameSuffix)
		}
		// kustomize keeps former names in a list that is separated by commas.
		if len(names) > maxNames || slices.ContainsFunc(names, func(n string) bool { return !mayBeName(n) || strings.Contains(n, ",") }) {
			return nil
		}
	}
	return names
}

// kustomization takes in what one kustomization says. It reports false if that has
// a part whose effect on an object depends on others.
func (d *division) kustomization(kf *kustFile, dir string) bool {
	k := kf.k
	k.TypeMeta, k.MetaData, k.Resources, k.Bases = types.TypeMeta{}, nil, nil, nil
	rest := k
	rest.NamePrefix, rest.NameSuffix, rest.Namespace = "", "", ""
	rest.CommonLabels, rest.Labels, rest.CommonAnnotations = nil, nil, nil
	rest.Patches, rest.PatchesStrategicMerge, rest.PatchesJson6902 = nil, nil, nil
	rest.Images, rest.Replicas = nil, nil
	rest.ConfigMapGenerator, rest.SecretGenerator, rest.GeneratorOptions = nil, nil, nil
	if !reflect.DeepEqual(rest, types.Kustomization{}) {
		return false
	}
	for _, l := range k.Labels {
		if len(l.FieldSpecs) > 0 {
			return false // could write a name
		}
	}
	for _, i := range k.Images {
		if i.TagSuffix != "" {
			return false // composes texts that stand nowhere
		}
	}
	for _, p := range append(append([]types.Patch{}, k.Patches...), k.PatchesJson6902...) {
		if p.Options != nil {
			return false // may change names
		}
		if p.Patch != "" && !d.patch([]byte(p.Patch)) {
			return false
		}
	}
	for _, p := range k.PatchesStrategicMerge {
		if _, file := d.c.inputs[path.Join(dir, string(p))]; !file && !d.patch([]byte(p)) {
			return false
		}
	}
	d.moves = d.moves || k.Namespace != ""
	d.images = d.images || len(k.Images) > 0
	raw, err := json.Marshal(k)
	return err == nil && d.document(raw) != nil
}

// document takes in the texts of a JSON document and returns its value, or nil if
// it steers kustomize by more than its own fields.
func (d *division) document(raw []byte) any {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil
	}
	plain := true
	eachText(v, func(text string, isKey bool) {
		plain = plain && !steering(text)
		d.deletes = d.deletes || strings.Contains(text, "$patch")
		if !isKey {
			d.words[text] = true
		}
	})
	if !plain {
		return nil
	}
	return v
}

// patches takes in the files of patches.
func (d *division) patches() bool {
	for _, in := range d.c.inputs {
		if in.kind == refPatch && !d.patch(in.data) {
			return false
		}
	}
	return true
}

// patch takes in a patch, in the form that collector.content gave it. It reports
// false if the patch may change what identifies an object.
func (d *division) patch(data []byte) bool {
	for raw := range strings.SplitSeq(string(data), "\n---\n") {
		switch v := d.document([]byte(raw)).(type) {
		case map[string]any:
			// kustomize puts name, namespace and kind back after a strategic merge.
			d.subjects = d.subjects || mentionsNamespace(v)
		case []any:
			for _, o := range v {
				op, _ := o.(map[string]any)
				for _, field := range []string{"path", "from"} {
					if at, has := op[field]; has && !harmless(at) {
						return false
					}
				}
				d.subjects = d.subjects || strings.Contains(jsonText(op["path"]), "namespace") || mentionsNamespace(op["value"])
			}
		default:
			return false
		}
	}
	return true
}

func jsonText(v any) string {
	s, _ := v.(string)
	return s
}

// mentionsNamespace reports whether a value could set a namespace anywhere.
func mentionsNamespace(v any) bool {
	found := false
	eachText(v, func(text string, isKey bool) { found = found || isKey && text == "namespace" })
	return found
}

// harmless reports whether a JSON pointer leads to nothing that identifies an
// object or that kustomize keeps there.
func harmless(pointer any) bool {
	text, ok := pointer.(string)
	if !ok {
		return false
	}
	// The library that applies patches ignores what precedes the first slash.
	_, rest, ok := strings.Cut(text, "/")
	if !ok {
		return false
	}
	first, rest, deeper := strings.Cut(rest, "/")
	switch strings.NewReplacer("~1", "/", "~0", "~").Replace(first) {
	case "", "kind", "apiVersion":
		return false
	case "metadata":
		second, _, further := strings.Cut(rest, "/")
		return deeper && (second == "labels" || second == "annotations" && further)
	}
	return true
}
