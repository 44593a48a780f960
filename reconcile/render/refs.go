package render

//lint:file-ignore SA1019 kustomizations still use the deprecated fields, so they are read

import (
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"sigs.k8s.io/kustomize/api/types"
)

// A refKind says what a kustomization expects under a path.
type refKind uint8

const (
	refResource      refKind = iota // a file of objects, or a directory to build
	refComponent                    // a directory with a component
	refPlugin                       // a file that configures built-in plugins
	refPatch                        // a strategic merge or JSON patch
	refConfig                       // YAML that steers kustomize
	refData                         // content of a ConfigMap or Secret
	refEnv                          // key=value lines of a ConfigMap or Secret
	refKustomization                // a kustomization file itself, which no path may name
)

// A ref is one path in a kustomization file.
type ref struct {
	kind  refKind
	path  *string // rewritten to a local path before kustomize sees it
	field string  // as in resources[2]
}

// refs lists every field of a kustomization through which a file could be named.
// A field of types.Kustomization that names files and is missing here would find
// none: kustomize sees only what was collected.
func refs(k *types.Kustomization) []ref {
	var out []ref
	list := func(kind refKind, field string, paths []string) {
		for i := range paths {
			out = append(out, ref{kind, &paths[i], fmt.Sprintf("%s[%d]", field, i)})
		}
	}
	list(refResource, "resources", k.Resources)
	list(refResource, "bases", k.Bases)
	list(refComponent, "components", k.Components)
	list(refConfig, "crds", k.Crds)
	list(refConfig, "configurations", k.Configurations)
	list(refPlugin, "generators", k.Generators)
	list(refPlugin, "transformers", k.Transformers)
	list(refPlugin, "validators", k.Validators)
	patches := func(field string, patches []types.Patch) {
		for i := range patches {
			if patches[i].Path != "" {
				out = append(out, ref{refPatch, &patches[i].Path, fmt.Sprintf("%s[%d].path", field, i)})
			}
		}
	}
	patches("patches", k.Patches)
	patches("patchesJson6902", k.PatchesJson6902)
	for i := range k.PatchesStrategicMerge {
		if p := (*string)(&k.PatchesStrategicMerge[i]); !inline(*p) {
			out = append(out, ref{refPatch, p, fmt.Sprintf("patchesStrategicMerge[%d]", i)})
		}
	}
	for i := range k.Replacements {
		if k.Replacements[i].Path != "" {
			out = append(out, ref{refConfig, &k.Replacements[i].Path, fmt.Sprintf("replacements[%d].path", i)})
		}
	}
	for i := range k.ConfigMapGenerator {
		out = append(out, pairRefs(&k.ConfigMapGenerator[i].KvPairSources, fmt.Sprintf("configMapGenerator[%d]", i))...)
	}
	for i := range k.SecretGenerator {
		out = append(out, pairRefs(&k.SecretGenerator[i].KvPairSources, fmt.Sprintf("secretGenerator[%d]", i))...)
	}
	return out
}

func pairRefs(s *types.KvPairSources, field string) []ref {
	var out []ref
	for i := range s.FileSources {
		out = append(out, ref{refData, &s.FileSources[i], fmt.Sprintf("%s.files[%d]", field, i)})
	}
	for i := range s.EnvSources {
		out = append(out, ref{refEnv, &s.EnvSources[i], fmt.Sprintf("%s.envs[%d]", field, i)})
	}
	if s.EnvSource != "" {
		out = append(out, ref{refEnv, &s.EnvSource, field + ".env"})
	}
	return out
}

// inline reports whether an entry that may be a path or YAML is YAML.
func inline(s string) bool {
	return strings.ContainsAny(s, "\n{") || strings.Contains(s, ": ")
}

// split takes the "key=" off an entry of files, which goes before the path.
func (r ref) split() (key, file string, ok bool) {
	if r.kind != refData {
		return "", *r.path, true
	}
	key, file, found := strings.Cut(*r.path, "=")
	if !found {
		return "", *r.path, true
	}
	return key + "=", file, key != "" && file != "" && !strings.Contains(file, "=")
}

// set lets the entry name a file relative to a directory in a way that nobody can
// take for a URL.
func (r ref) set(key, dir, file string) {
	rel, err := filepath.Rel("/"+dir, "/"+file) // the tree's paths are slash-separated, as is the host's Linux
	if err != nil {
		rel = path.Join(strings.Repeat("../", strings.Count(dir, "/")+1), file)
	}
	if !strings.HasPrefix(rel, "..") {
		rel = "./" + rel
	}
	*r.path = key + rel
}

// remote matches what kustomize, now or in an older version, would fetch: a
// scheme, a getter prefix, the SCP form of SSH, GitHub's short form, a query.
var remote = regexp.MustCompile(`(?i)^[a-z][a-z0-9+.-]*:(//|:)|^[^/@]+@[^/]*:|^(www\.)?github\.com[:/]|^(gh|oci|git|file|ssh|https?):|[?&](ref|version)=`)
