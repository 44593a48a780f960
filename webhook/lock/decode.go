package lock

import (
	"errors"
	"fmt"
	"strings"

	utiljson "k8s.io/apimachinery/pkg/util/json"

	"gitgate.dev/gitgate/policy/desired"
)

// Bounds on one object of a request. The API server itself takes 3 MiB.
const (
	maxObjectBytes = 4 << 20
	maxDepth       = 128
	maxValues      = 400_000
)

// errLimit means that an object exceeds what is judged.
var errLimit = errors.New("object exceeds the limits of what is judged")

// decode reads a JSON object of somebody else's making.
func decode(raw []byte) (map[string]any, error) {
	if err := bounded(raw); err != nil {
		return nil, err
	}
	var m map[string]any
	if err := utiljson.Unmarshal(raw, &m); err != nil {
		return nil, errors.New("not a JSON object") // the parser's text may quote it
	}
	if m == nil {
		return nil, errors.New("not a JSON object")
	}
	return m, nil
}

// bounded checks size, depth and number of values before anything is allocated
// for them.
func bounded(raw []byte) error {
	if len(raw) > maxObjectBytes {
		return fmt.Errorf("%w: %d bytes, at most %d", errLimit, len(raw), maxObjectBytes)
	}
	depth, values := 0, 0
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '"':
			for i++; i < len(raw) && raw[i] != '"'; i++ {
				if raw[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			if depth++; depth > maxDepth {
				return fmt.Errorf("%w: deeper than %d", errLimit, maxDepth)
			}
			values++
		case '}', ']':
			depth--
		case ',':
			if values++; values > maxValues {
				return fmt.Errorf("%w: more than %d values", errLimit, maxValues)
			}
		}
	}
	return nil
}

// podSpecs says where the built-in kinds hold a pod spec.
var podSpecs = map[string][]string{
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

// podSpec returns the pod spec of an object, or nil.
func podSpec(k *desired.Kind, obj map[string]any) map[string]any {
	path, ok := podSpecs[k.Group+"/"+k.Kind]
	if !ok {
		return nil
	}
	return object(obj, path...)
}

// podImages lists the images that a pod spec in the object names.
func podImages(k *desired.Kind, obj map[string]any) []string {
	spec := podSpec(k, obj)
	var refs []string
	for _, field := range [...]string{"initContainers", "containers", "ephemeralContainers"} {
		for _, c := range list(spec, field) {
			c, _ := c.(map[string]any)
			ref, _ := c["image"].(string)
			refs = append(refs, ref)
		}
	}
	for _, v := range list(spec, "volumes") {
		v, _ := v.(map[string]any)
		if ref, ok := object(v, "image")["reference"].(string); ok {
			refs = append(refs, ref)
		}
	}
	return refs
}

// canonicalise makes references that are as good as another equal, in place. It
// reports whether there were any.
func (s *images) canonicalise(v any) (changed bool) {
	if s == nil || len(s.tags) == 0 {
		return false
	}
	switch v := v.(type) {
	case map[string]any:
		for k, f := range v {
			if text, ok := f.(string); ok {
				if c := s.canonicalText(text); c != text {
					v[k], changed = c, true
				}
				continue
			}
			changed = s.canonicalise(f) || changed
		}
	case []any:
		for i, f := range v {
			if text, ok := f.(string); ok {
				if c := s.canonicalText(text); c != text {
					v[i], changed = c, true
				}
				continue
			}
			changed = s.canonicalise(f) || changed
		}
	}
	return changed
}

func (s *images) canonicalText(text string) string {
	if !strings.Contains(text, "@sha256:") {
		return text
	}
	return s.canonical(text)
}

// object returns the object at a path, or nil.
func object(v map[string]any, path ...string) map[string]any {
	for _, field := range path {
		v, _ = v[field].(map[string]any)
	}
	return v
}

func list(v map[string]any, field string) []any {
	l, _ := v[field].([]any)
	return l
}

func text(v map[string]any, path ...string) string {
	last := len(path) - 1
	s, _ := object(v, path[:last]...)[path[last]].(string)
	return s
}
