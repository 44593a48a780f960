package render

import (
	"unicode/utf8"

	yamlv3 "go.yaml.in/yaml/v3"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/kustomize/api/resource"
)

// builtValue returns the value of an object that kustomize made: what an API
// server reads from its JSON form. kustomize writes YAML and reads it again to get
// there. That is left out where it cannot make a difference.
func builtValue(res *resource.Resource) (map[string]any, error) {
	if node := res.YNode(); node != nil && node.Kind == yamlv3.MappingNode && plainNode(node) {
		var v map[string]any
		if err := node.Decode(&v); err == nil && v != nil {
			if top, ok := builtJSON(v); ok {
				return top.(map[string]any), nil
			}
		}
	}
	raw, err := res.MarshalJSON()
	if err != nil {
		return nil, err
	}
	var top map[string]any
	return top, utiljson.Unmarshal(raw, &top)
}

// plainNode reports whether writing a node as YAML and reading it again gives the
// same value for certain: it has no alias, no tag beyond those of JSON, and no
// text in a style whose line breaks need interpretation.
func plainNode(n *yamlv3.Node) bool {
	if n.Anchor != "" || n.Style&yamlv3.TaggedStyle != 0 || n.HeadComment != "" || n.LineComment != "" || n.FootComment != "" {
		return false
	}
	switch n.Kind {
	case yamlv3.MappingNode:
		if n.Tag != "" && n.Tag != "!!map" || len(n.Content)%2 != 0 {
			return false
		}
	case yamlv3.SequenceNode:
		if n.Tag != "" && n.Tag != "!!seq" {
			return false
		}
	case yamlv3.ScalarNode:
		return plainScalar(n)
	default:
		return false
	}
	for i, child := range n.Content {
		// A key that is not a string, or a merge, is for the reader to judge.
		if key := n.Kind == yamlv3.MappingNode && i%2 == 0; key && (child.Kind != yamlv3.ScalarNode || child.ShortTag() != "!!str" || child.Value == "<<") {
			return false
		}
		if !plainNode(child) {
			return false
		}
	}
	return true
}

func plainScalar(n *yamlv3.Node) bool {
	text := n.Tag == "" || n.Tag == "!!str"
	switch n.Style {
	case yamlv3.DoubleQuotedStyle:
		return text && utf8.ValidString(n.Value)
	case yamlv3.SingleQuotedStyle:
		return text && printable(n.Value) // quotes would win over another tag
	case 0:
		switch n.ShortTag() {
		case "!!str", "!!int", "!!float", "!!bool", "!!null":
			return n.Value != "" && printable(n.Value)
		}
	}
	return false
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// builtJSON turns what yaml.v3 decoded into what an API server decodes from its
// JSON form. It reports false for a value that it leaves to the detour.
func builtJSON(v any) (any, bool) {
	switch v := v.(type) {
	case nil, string, bool, int64:
		return v, true
	case int:
		return int64(v), true
	case float64:
		f, err := jsonFloat(v)
		return f, err == nil
	case []any:
		for i, e := range v {
			var ok bool
			if v[i], ok = builtJSON(e); !ok {
				return nil, false
			}
		}
		return v, true
	case map[string]any:
		for k, e := range v {
			var ok bool
			if v[k], ok = builtJSON(e); !ok {
				return nil, false
			}
		}
		return v, true
	}
	return nil, false
}
