package render

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"

	"sigs.k8s.io/kustomize/api/types"

	"gitgate.dev/gitgate/policy/gate"
)

// A position is one entry of the tree that makes an object: the manifest of a file
// with this index, or, where item is negative, generator -1-item of a
// kustomization file, ConfigMaps counted before Secrets.
type position struct {
	file string
	item int
}

// A stage is what kustomize is given: the collected files, with a mark in every
// object that leads back to where it came from.
type stage struct {
	memory    *memory
	mark      string // annotation key, unknown to the authors of the tree
	sources   []gate.Source
	positions []position // of the sources
	bytes     int
}

// A selection is the part of the collected objects that is built. Kustomizations
// without any of them are left out.
type selection struct {
	positions map[position]bool
	names     map[string]bool // files and directories with selected positions
}

// stage prepares the collected files: those of a selection, or all where it is nil.
// What was collected is not changed and can be staged again.
func (c *collector) stage(only *selection) (*stage, error) {
	nonce := make([]byte, 16)
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	s := &stage{memory: newMemory(), mark: "source.gitgate.dev/" + hex.EncodeToString(nonce)}
	for name, in := range c.inputs {
		data := in.data
		if in.file != nil {
			if only != nil && !only.names[name] {
				continue
			}
			var err error
			if data, err = s.objects(name, in.file, only); err != nil {
				return nil, err
			}
		}
		s.bytes += len(data)
		s.memory.put(name, data)
	}
	for dir, kf := range c.kusts {
		if only != nil && !only.names[dir] {
			continue
		}
		k := kf.fixed()
		if only != nil {
			k.Resources = slices.DeleteFunc(k.Resources, func(entry string) bool { return !only.names[path.Join(dir, entry)] })
		}
		s.generators(kf, &k)
		raw, err := json.Marshal(k)
		if err != nil {
			return nil, err
		}
		s.bytes += len(raw)
		s.memory.put(kf.name, raw)
	}
	return s, nil
}

// fixed returns a copy in which deprecated fields are replaced by what they stand
// for. kustomize would do so too, and print warnings to stderr.
func (kf *kustFile) fixed() types.Kustomization {
	k := kf.k
	k.Resources = slices.Clone(k.Resources)
	k.Images = slices.Clone(k.Images)
	k.HelmCharts = slices.Clone(k.HelmCharts)
	k.ConfigMapGenerator = slices.Clone(k.ConfigMapGenerator)
	for i := range k.ConfigMapGenerator {
		k.ConfigMapGenerator[i].EnvSources = slices.Clone(k.ConfigMapGenerator[i].EnvSources)
	}
	k.SecretGenerator = slices.Clone(k.SecretGenerator)
	for i := range k.SecretGenerator {
		k.SecretGenerator[i].EnvSources = slices.Clone(k.SecretGenerator[i].EnvSources)
	}
	k.FixKustomization()
	return k
}

// source returns the mark of a position.
func (s *stage) source(p position, src gate.Source) string {
	s.sources = append(s.sources, src)
	s.positions = append(s.positions, p)
	return strconv.Itoa(len(s.sources) - 1)
}

// objects writes marked copies of the objects of a file.
func (s *stage) objects(name string, file *parsedFile, only *selection) ([]byte, error) {
	var out []byte
	for i, m := range file.manifests {
		at := position{name, i}
		if only != nil && !only.positions[at] {
			continue
		}
		top := maps.Clone(m.object.Object)
		metadata := maps.Clone(top["metadata"].(map[string]any))
		annotations, _ := metadata["annotations"].(map[string]any)
		if annotations = maps.Clone(annotations); annotations == nil {
			annotations = map[string]any{}
		}
		annotations[s.mark] = s.source(at, source(name, m, file))
		metadata["annotations"] = annotations
		top["metadata"] = metadata
		raw, err := json.Marshal(top)
		if err != nil {
			return nil, err
		}
		out = append(append(out, "\n---\n"...), raw...)
	}
	return out, nil
}

// generators marks what the generators of a kustomization will make.
func (s *stage) generators(kf *kustFile, k *types.Kustomization) {
	mark := func(args *types.GeneratorArgs, item int) {
		options := types.GeneratorOptions{}
		if args.Options != nil {
			options = *args.Options
		}
		options.Annotations = maps.Clone(options.Annotations)
		if options.Annotations == nil {
			options.Annotations = map[string]string{}
		}
		options.Annotations[s.mark] = s.source(position{kf.name, item}, kf.generated(item))
		args.Options = &options
	}
	for i := range k.ConfigMapGenerator {
		mark(&k.ConfigMapGenerator[i].GeneratorArgs, -1-i)
	}
	for i := range k.SecretGenerator {
		mark(&k.SecretGenerator[i].GeneratorArgs, -1-len(k.ConfigMapGenerator)-i)
	}
}

// generated returns the source of what a generator makes.
func (kf *kustFile) generated(item int) gate.Source {
	field, i := "configMapGenerator", -1-item
	if n := len(kf.k.ConfigMapGenerator); i >= n {
		field, i = "secretGenerator", i-n
	}
	return gate.Source{File: kf.name, Line: lineOf(kf.node, fmt.Sprintf("%s[%d]", field, i), kf.node.Line)}
}
