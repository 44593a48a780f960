package render

import (
	"crypto/sha256"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
)

// facts are what the division of a build needs to know of one object.
type facts struct {
	hash string // of its content
	size int    // of its JSON form
	// words are the texts in it that could be the name of an object.
	words []string
	// subjects tells that it may refer to an object by name and namespace, as a
	// role binding does to its subjects.
	subjects bool
	// steers tells that it carries annotations through which kustomize talks to
	// itself.
	steers bool
}

// facts returns the facts of every manifest of a file, which are gathered once.
func (f *parsedFile) facts() []facts {
	f.once.Do(func() {
		f.known = make([]facts, len(f.manifests))
		for i, m := range f.manifests {
			f.known[i] = factsOf(m.object.Object)
		}
	})
	return f.known
}

func factsOf(object map[string]any) facts {
	raw, err := json.Marshal(object)
	if err != nil {
		return facts{steers: true} // it was JSON or YAML, so this cannot be
	}
	sum := sha256.Sum256(raw)
	kind, _ := object["kind"].(string)
	metadata, _ := object["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	out := facts{hash: string(sum[:]), size: len(raw), subjects: strings.HasSuffix(kind, "RoleBinding")}
	for key := range annotations {
		out.steers = out.steers || key != konfig.IgnoredByKustomizeAnnotation && steering(key)
	}
	words := map[string]bool{}
	visit := func(text string, isKey bool) {
		switch {
		case isKey:
			out.subjects = out.subjects || text == "namespace"
		case mayBeName(text):
			words[text] = true
		}
	}
	for key, v := range object {
		if key != "metadata" {
			eachText(v, visit)
		}
	}
	for _, v := range metadata {
		eachText(v, visit)
	}
	out.words = slices.Collect(maps.Keys(words))
	return out
}

// steering reports whether a key or text has a meaning to kustomize itself.
func steering(text string) bool {
	return strings.Contains(text, "config.kubernetes.io") || strings.Contains(text, "config.k8s.io")
}

// maxName is longer than any name that an object can have, with the prefixes and
// suffixes that a divided build can give it.
const maxName = 1024

// mayBeName reports whether an object could have this name. No object can have one
// with a slash or a percent sign, see objectCheck.names.
func mayBeName(text string) bool {
	return text != "" && len(text) <= maxName && !strings.ContainsAny(text, "/%")
}

// eachText calls f for every key and every text of a value.
func eachText(v any, f func(text string, isKey bool)) {
	switch v := v.(type) {
	case string:
		f(v, false)
	case []any:
		for _, e := range v {
			eachText(e, f)
		}
	case map[string]any:
		for k, e := range v {
			f(k, true)
			eachText(e, f)
		}
	}
}
