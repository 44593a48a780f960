package render

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/types"

	"gitgate.dev/gitgate/policy/verdict"
)

// A collector follows a kustomization through the tree and gathers all that it
// uses, before kustomize runs: what kustomize is then given cannot make it ask for
// more.
type collector struct {
	r       *renderer
	root    string
	inputs  map[string]input     // by path
	kusts   map[string]*kustFile // by directory
	weights map[string]weight    // by directory
	stack   []string             // directories being included
	copies  int                  // JSON patch operations that copy
	batch   int                  // objects to give kustomize at once, see batchSize
}

// An input is one file that a kustomization uses, as kustomize will see it.
type input struct {
	kind refKind
	hash string
	file *parsedFile // for a file of objects
	data []byte      // for all others
}

// A kustFile is one kustomization file with its paths made local.
type kustFile struct {
	name string // path in the tree
	node *yamlv3.Node
	k    types.Kustomization
}

// A weight is what a directory costs each time that it is included.
type weight struct{ builds, objects int }

// maxCopies bounds the JSON patch operations that copy: each may double an object.
const maxCopies = 10

func newCollector(r *renderer, root string) *collector {
	return &collector{
		r: r, root: root, batch: batchSize,
		inputs: map[string]input{}, kusts: map[string]*kustFile{}, weights: map[string]weight{},
	}
}

// IsKustomization reports whether a directory with a file of this name is built by
// kustomize.
func IsKustomization(name string) bool {
	return slices.Contains(konfig.RecognizedKustomizationFileNames(), name)
}

// kustomizationsIn returns the paths of the kustomization files of a directory,
// which should be one at most.
func (r *renderer) kustomizationsIn(dir string) ([]string, *problem) {
	var files []string
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		file := path.Join(dir, name)
		there, p := r.reader.exists(file)
		if p != nil {
			return nil, p
		}
		if there {
			files = append(files, file)
		}
	}
	return files, nil
}

// directory collects what one directory includes and returns its weight.
func (c *collector) directory(dir string, component bool) (weight, *problem) {
	if slices.Contains(c.stack, dir) {
		p := deny(verdict.LimitExceeded, 0, "kustomizations include each other: %s", strings.Join(append(c.stack, dir), " -> "))
		return weight{}, &p
	}
	if w, known := c.weights[dir]; known {
		return w, nil
	}
	if len(c.stack) >= maxNesting {
		p := deny(verdict.LimitExceeded, 0, "kustomizations nest deeper than %d", maxNesting)
		return weight{}, &p
	}
	kf, p := c.load(dir)
	if p != nil {
		return weight{}, p
	}
	if isComponent := kf.k.Kind == types.ComponentKind; isComponent != component {
		p := deny(verdict.InvalidManifest, 0, "%s has kind %q; components are listed under components, all others under resources", kf.name, kf.k.Kind)
		return weight{}, &p
	}
	c.kusts[dir] = kf
	c.stack = append(c.stack, dir)
	defer func() { c.stack = c.stack[:len(c.stack)-1] }()
	w := weight{builds: 1, objects: len(kf.k.ConfigMapGenerator) + len(kf.k.SecretGenerator)}
	c.refuseRemote(kf)
	for _, ref := range refs(&kf.k) {
		if c.r.stop() {
			break
		}
		w = w.plus(c.follow(kf, dir, ref), c.r.options.Limits)
	}
	c.inlineContent(kf)
	c.weights[dir] = w
	return w, nil
}

// maxNesting is how many kustomizations may include one another in a row.
const maxNesting = 50

func (w weight) plus(o weight, l Limits) weight {
	return weight{min(w.builds+o.builds, l.Builds+1), min(w.objects+o.objects, l.Objects+1)}
}

// load reads the kustomization file of a directory.
func (c *collector) load(dir string) (*kustFile, *problem) {
	if p := c.r.reader.directory(dir); p != nil {
		return nil, p
	}
	names, p := c.r.kustomizationsIn(dir)
	if p != nil {
		return nil, p
	}
	switch len(names) {
	case 0:
		p := deny(verdict.InvalidManifest, 0, "directory %s has no kustomization file", dir)
		return nil, &p
	case 1:
	default:
		p := deny(verdict.AmbiguousManifest, 0, "directory %s has several kustomization files: %s; keep one", dir, strings.Join(names, ", "))
		return nil, &p
	}
	kf := &kustFile{name: names[0]}
	hash, parsed, p := c.yaml(kf.name)
	if p != nil {
		return nil, p
	}
	if len(parsed) != 1 {
		p := deny(verdict.InvalidManifest, 0, "%s must hold one document, and has %d", kf.name, len(parsed))
		return nil, &p
	}
	kf.node = parsed[0].node
	if err := kf.decode(parsed[0].value); err != nil {
		p := deny(verdict.InvalidManifest, kf.node.Line, "not a kustomization: %v", err)
		return nil, &p
	}
	if _, known := c.inputs[kf.name]; known {
		p := deny(verdict.AmbiguousManifest, 0, "%s is used as a file and as a kustomization; copy it", kf.name)
		return nil, &p
	}
	c.inputs[kf.name] = input{kind: refKustomization, hash: hash}
	return kf, nil
}

func (kf *kustFile) decode(value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	return dec.Decode(&kf.k)
}

// parsedYAML is a file that steers kustomize, by content.
type parsedYAML struct {
	docs     []document
	problems []problem
}

// yaml reads the documents of a file. Problems within the file are reported here,
// and then there are no documents.
func (c *collector) yaml(name string) (hash string, docs []document, p *problem) {
	hash, raw, p := c.r.reader.hash(name)
	if p != nil {
		return "", nil, p
	}
	key := cacheKey{kind: parsedBuild, hash: hash, limits: c.r.options.Limits}
	var parsed *parsedYAML
	if v, ok := c.r.options.Cache.get(key); ok {
		parsed = v.(*parsedYAML)
	} else {
		if raw == nil {
			if raw, p = c.r.reader.file(name); p != nil {
				return "", nil, p
			}
		}
		parsed = &parsedYAML{}
		parsed.docs, parsed.problems = readDocuments(raw, c.r.options.Limits, c.r.shared)
		c.r.options.Cache.put(key, parsed, 1024+16*len(raw))
	}
	c.r.findings.add(name, parsed.problems...)
	if len(parsed.problems) > 0 {
		p := deny(verdict.InvalidManifest, 0, "%s cannot be used; see its own finding", name)
		return "", nil, &p
	}
	return hash, parsed.docs, nil
}

// at adds a problem at the line of a field of the kustomization file.
func (c *collector) at(kf *kustFile, field string, p problem) {
	p.line = lineOf(kf.node, field, kf.node.Line)
	p.field = field
	c.r.findings.add(kf.name, p)
}

// follow collects what one path names and makes the path local.
func (c *collector) follow(kf *kustFile, dir string, ref ref) weight {
	if ref.kind == refPlugin && inline(*ref.path) {
		return weight{} // see inlineContent
	}
	key, entry, ok := ref.split()
	if !ok {
		c.at(kf, ref.field, deny(verdict.InvalidManifest, 0, "%q is not [key=]path", *ref.path))
		return weight{}
	}
	if remote.MatchString(entry) {
		c.at(kf, ref.field, deny(verdict.RemoteInput, 0, "%q is fetched from outside of the signed tree; copy it into the repository", entry))
		return weight{}
	}
	target, inside := cleanPath(path.Join(dir, entry))
	if path.IsAbs(entry) || !inside {
		c.at(kf, ref.field, deny(verdict.PathEscape, 0, "%q leaves the repository", entry))
		return weight{}
	}
	w, p := c.target(target, ref.kind)
	if p != nil {
		c.at(kf, ref.field, *p)
		return weight{}
	}
	ref.set(key, dir, target)
	return w
}

// target collects a file or directory.
func (c *collector) target(name string, kind refKind) (weight, *problem) {
	mode, p := c.r.reader.stat(name)
	if p != nil {
		return weight{}, p
	}
	if kind == refComponent || kind == refResource && mode.IsDir() {
		return c.directory(name, kind == refComponent)
	}
	if before, known := c.inputs[name]; known && before.kind != kind {
		p := deny(verdict.AmbiguousManifest, 0, "%s is used in two ways; use a file of its own for each", name)
		return weight{}, &p
	} else if known {
		return before.weight(), nil
	}
	in, p := c.read(name, kind, mode)
	if p != nil {
		return weight{}, p
	}
	in.kind = kind
	c.inputs[name] = in
	return in.weight(), nil
}

func (in input) weight() weight {
	if in.file == nil {
		return weight{}
	}
	return weight{objects: len(in.file.manifests)}
}

// read reads a file as what it is used for.
func (c *collector) read(name string, kind refKind, mode fs.FileMode) (input, *problem) {
	switch kind {
	case refResource:
		file, hash, p := c.r.manifests(name)
		if p != nil {
			return input{}, p
		}
		c.r.findings.add(name, file.problems...)
		return input{hash: hash, file: file}, nil
	case refData, refEnv:
		raw, p := c.r.reader.file(name)
		if p == nil {
			p = checkGeneratorInput(name, raw, kind)
		}
		sum := sha256.Sum256(raw)
		return input{hash: hex.EncodeToString(sum[:]), data: raw}, p
	}
	hash, docs, p := c.yaml(name)
	if p != nil {
		return input{}, p
	}
	data, ps := c.content(docs, kind)
	c.r.findings.add(name, ps...)
	return input{hash: hash, data: data}, nil
}

// checkGeneratorInput refuses what a generator would copy blindly.
func checkGeneratorInput(name string, raw []byte, kind refKind) *problem {
	if bytes.Contains(raw, []byte("ENC[AES256_GCM,")) && bytes.Contains(raw, []byte("sops")) {
		p := deny(verdict.SecretUndecryptable, 0,
			"encrypted generator input %s is not supported: it would be applied as ciphertext; put an encrypted Secret under resources", name)
		return &p
	}
	if kind != refEnv {
		return nil
	}
	n := 0
	for line := range bytes.Lines(raw) {
		n++
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' && !bytes.ContainsRune(line, '=') {
			p := deny(verdict.AmbiguousManifest, 0,
				"line %d of %s has no '=': some versions of kustomize take such a value from their environment; write key=value", n, name)
			return &p
		}
	}
	return nil
}

// fingerprint identifies everything that the build depends on.
func (c *collector) fingerprint() string {
	names := make([]string, 0, len(c.inputs))
	for name := range c.inputs {
		names = append(names, name)
	}
	slices.Sort(names)
	h := sha256.New()
	fmt.Fprintf(h, "%q\n", c.root)
	for _, name := range names {
		in := c.inputs[name]
		fmt.Fprintf(h, "%q %d %q\n", name, in.kind, in.hash)
	}
	return hex.EncodeToString(h.Sum(nil))
}
