package gate

import (
	"fmt"
	"strings"

	"gitgate.dev/gitgate/policy/verdict"
)

// podSpecPaths says where the built-in kinds hold a pod spec.
var podSpecPaths = map[string][]string{
	"/Pod":                   {"spec"},
	"/PodTemplate":           {"template", "spec"},
	"/ReplicationController": {"spec", "template", "spec"},
	"apps/Deployment":        {"spec", "template", "spec"},
	"apps/ReplicaSet":        {"spec", "template", "spec"},
	"apps/StatefulSet":       {"spec", "template", "spec"},
	"apps/DaemonSet":         {"spec", "template", "spec"},
	"batch/Job":              {"spec", "template", "spec"},
	"batch/CronJob":          {"spec", "jobTemplate", "spec", "template", "spec"},
}

// builtinGroups are the API groups that kube-apiserver itself serves. Of their
// kinds only those in podSpecPaths run images.
func builtinGroup(group string) bool {
	return group == "" || !strings.Contains(group, ".") || strings.HasSuffix(group, ".k8s.io") && builtinK8sGroups[group]
}

var builtinK8sGroups = map[string]bool{
	"admissionregistration.k8s.io": true, "apiextensions.k8s.io": true, "apiregistration.k8s.io": true,
	"authentication.k8s.io": true, "authorization.k8s.io": true, "certificates.k8s.io": true,
	"coordination.k8s.io": true, "discovery.k8s.io": true, "events.k8s.io": true,
	"flowcontrol.apiserver.k8s.io": true, "internal.apiserver.k8s.io": true, "networking.k8s.io": true,
	"node.k8s.io": true, "rbac.authorization.k8s.io": true, "resource.k8s.io": true,
	"scheduling.k8s.io": true, "storage.k8s.io": true, "storagemigration.k8s.io": true,
}

// An imageLeaf is one place in an object that holds an image reference.
type imageLeaf struct {
	path []any // string keys and int indexes
	ref  string
}

func (l imageLeaf) field() string { return fieldPath(l.path) }

// fieldPath spells a path as people do: spec.containers[0].image.
func fieldPath(path []any) string {
	var b strings.Builder
	for _, p := range path {
		switch p := p.(type) {
		case int:
			fmt.Fprintf(&b, "[%d]", p)
		case string:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(p)
		}
	}
	return b.String()
}

// An Extractor says where a kind holds images.
type Extractor struct {
	APIVersion, Kind string
	// Paths are as in .spec.templates[*].container.image; .* stands for every key
	// of a map. None says that the kind holds no image.
	Paths []string
}

// extractors finds image leaves by apiVersion and kind.
type extractors map[string][]imagePattern

func newExtractors(in []Extractor) (extractors, error) {
	out := extractors{}
	for _, e := range in {
		key := e.APIVersion + "/" + e.Kind
		if _, ok := out[key]; !ok {
			out[key] = nil
		}
		for _, p := range e.Paths {
			pat, err := parseImagePattern(p)
			if err != nil {
				return nil, fmt.Errorf("extractor for %s %s: %w", e.APIVersion, e.Kind, err)
			}
			out[key] = append(out[key], pat)
		}
	}
	return out, nil
}

// An imagePattern is a path with wildcards.
type imagePattern []string

const (
	everyItem = "[*]" // of a list
	everyKey  = "*"   // of a map
)

func parseImagePattern(s string) (imagePattern, error) {
	if !strings.HasPrefix(s, ".") || strings.HasSuffix(s, ".") || strings.Contains(s, "..") {
		return nil, fmt.Errorf("path %q: want a form like .spec.templates[*].container.image", s)
	}
	var out imagePattern
	for part := range strings.SplitSeq(s[1:], ".") {
		name, rest, indexed := strings.Cut(part, "[")
		if name == "" || indexed && rest != "*]" {
			return nil, fmt.Errorf("path %q: only [*] may follow a field name", s)
		}
		out = append(out, name)
		if indexed {
			out = append(out, everyItem)
		}
	}
	return out, nil
}

// find appends the string leaves at the pattern. A leaf of another type, or a
// field where a list is expected, is reported as malformed.
func (p imagePattern) find(v any, at []any, out *[]imageLeaf) (malformed []any) {
	if len(p) == 0 {
		s, ok := v.(string)
		if !ok {
			return append([]any{}, at...)
		}
		*out = append(*out, imageLeaf{path: append([]any{}, at...), ref: s})
		return nil
	}
	switch v := v.(type) {
	case nil:
		return nil
	case map[string]any:
		if p[0] == everyKey {
			for k, c := range v {
				if bad := p[1:].find(c, append(at, k), out); bad != nil {
					return bad
				}
			}
			return nil
		}
		if p[0] == everyItem {
			return append([]any{}, at...)
		}
		c, ok := v[p[0]]
		if !ok {
			return nil
		}
		return p[1:].find(c, append(at, p[0]), out)
	case []any:
		if p[0] != everyItem {
			return append([]any{}, at...)
		}
		for i, c := range v {
			if bad := p[1:].find(c, append(at, i), out); bad != nil {
				return bad
			}
		}
		return nil
	}
	return append([]any{}, at...)
}

// podImagePatterns are the image fields of a pod spec (Kubernetes 1.37), by the
// core/v1 API reference.
var podImagePatterns = []imagePattern{
	{"initContainers", everyItem, "image"},
	{"containers", everyItem, "image"},
	{"ephemeralContainers", everyItem, "image"},
	{"volumes", everyItem, "image", "reference"},
}

// References lists the images of an object, as far as they can be known.
func (g *Gate) References(o Object) []string {
	leaves, _ := g.extractors.images(o)
	out := make([]string, len(leaves))
	for i, l := range leaves {
		out[i] = l.ref
	}
	return out
}

// images lists the image leaves of an object, or says why they cannot be known.
func (x extractors) images(o Object) ([]imageLeaf, []verdict.Finding) {
	gvk := o.GroupVersionKind()
	var leaves []imageLeaf
	malformed := func(bad []any) []verdict.Finding {
		return []verdict.Finding{o.finding(verdict.Finding{
			Stage: verdict.StageImage, Reason: verdict.InvalidManifest, Severity: verdict.Deny, Field: fieldPath(bad),
			Message: fmt.Sprintf("%s is not of the type that holds an image: correct the manifest", fieldPath(bad)),
		})}
	}
	if prefix, ok := podSpecPaths[gvk.Group+"/"+gvk.Kind]; ok {
		for _, p := range podImagePatterns {
			full := append(append(imagePattern{}, prefix...), p...)
			if bad := full.find(o.Object, nil, &leaves); bad != nil {
				return nil, malformed(bad)
			}
		}
		return leaves, nil
	}
	if builtinGroup(gvk.Group) {
		return nil, nil
	}
	patterns, declared := x[o.GetAPIVersion()+"/"+gvk.Kind]
	for _, p := range patterns {
		if bad := p.find(o.Object, nil, &leaves); bad != nil {
			return nil, malformed(bad)
		}
	}
	if declared && len(patterns) == 0 || gvk.Group == "gitgate.dev" {
		return nil, nil
	}
	return leaves, x.uncovered(o, leaves)
}

// uncovered reports the fields of a custom resource that look like images and
// that no extractor declares: the kind may run them unseen.
func (x extractors) uncovered(o Object, covered []imageLeaf) []verdict.Finding {
	known := map[string]bool{}
	for _, l := range covered {
		known[l.field()] = true
	}
	var out []verdict.Finding
	walkStrings(o.Object, nil, func(path []any, s string) {
		field := fieldPath(path)
		if known[field] || !looksLikeImage(path) || s == "" || len(out) >= 10 {
			return
		}
		out = append(out, o.finding(verdict.Finding{
			Stage: verdict.StageImage, Reason: verdict.UncoveredImage, Severity: verdict.Deny, Field: field,
			Message: fmt.Sprintf("%s of %s looks like an image, and the TrustPolicy does not say where this kind holds images: add spec.images.extractors for %s %s (an empty list of paths if it runs none)",
				field, o.GetKind(), o.GetAPIVersion(), o.GetKind()),
		}))
	})
	return out
}

// looksLikeImage guesses from the names of a field and of what it is in whether it
// holds an image. It errs on the side of asking.
func looksLikeImage(path []any) bool {
	var names []string // the last ones, from the field outwards; indexes are no names
	for i := len(path) - 1; i >= 0 && len(names) < 2; i-- {
		if name, ok := path[i].(string); ok {
			names = append(names, name)
		}
	}
	switch strings.ToLower(names[0]) {
	case "image", "images", "imageref", "imagename", "imageurl":
		return true
	case "repository", "name", "ref", "reference", "url", "uri":
		return len(names) == 2 && (strings.EqualFold(names[1], "image") || strings.EqualFold(names[1], "images"))
	}
	return strings.HasSuffix(names[0], "Image")
}

func walkStrings(v any, at []any, visit func(path []any, s string)) {
	switch v := v.(type) {
	case string:
		if len(at) > 0 {
			visit(at, v)
		}
	case map[string]any:
		for _, k := range sortedKeys(v) {
			walkStrings(v[k], append(at, k), visit)
		}
	case []any:
		for i, c := range v {
			walkStrings(c, append(at, i), visit)
		}
	}
}
