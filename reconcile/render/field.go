package render

import (
	"io/fs"
	"strconv"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"

	"gitgate.dev/gitgate/policy/gate"
)

// FieldLine returns the 1-based line in the object's source file of the field at a
// path such as spec.template.spec.containers[0].image or
// metadata.annotations.example.com/owner. Where the field itself is not written it
// returns the line of the closest field around it that is, and the object's line
// where the file does not tell: that is so for generated objects, and for fields
// that a kustomization adds. The file must be in fsys as it was when rendered.
func FieldLine(fsys fs.FS, src gate.Source, field string) int {
	limits := Limits{}.withDefaults()
	r := newReader(fsys, limits)
	raw, p := r.file(src.File)
	if p != nil || checkBytes(raw, limits) != nil {
		return src.Line
	}
	nodes, p := readNodes(raw)
	if p != nil || src.Document < 0 || src.Document >= len(nodes) {
		return src.Line
	}
	root := resolveAlias(nodes[src.Document])
	if root.Line != src.Line {
		// An item of a List, which is told apart by its line.
		items := resolveAlias(child(root, "items"))
		root = nil
		for i := 0; items != nil && i < len(items.Content); i++ {
			if items.Content[i].Line == src.Line {
				root = resolveAlias(items.Content[i])
			}
		}
	}
	return lineOf(root, field, src.Line)
}

// lineOf follows a field path as far as it goes and returns the line it ends on.
func lineOf(n *yamlv3.Node, field string, fallback int) int {
	line := fallback
	for n != nil && field != "" {
		var at int
		n, at, field = step(resolveAlias(n), field)
		if n != nil && at > 0 {
			line = at
		}
	}
	return line
}

// step takes the first segment off a path. Keys may hold dots, so the longest key
// that the path starts with is taken.
func step(n *yamlv3.Node, field string) (next *yamlv3.Node, line int, rest string) {
	switch {
	case n.Kind == yamlv3.SequenceNode && strings.HasPrefix(field, "["):
		number, rest, ok := strings.Cut(field[1:], "]")
		i, err := strconv.Atoi(number)
		if !ok || err != nil || i < 0 || i >= len(n.Content) {
			return nil, 0, ""
		}
		return n.Content[i], n.Content[i].Line, strings.TrimPrefix(rest, ".")
	case n.Kind == yamlv3.MappingNode:
		if key, rest, ok := quotedKey(field); ok {
			return child(n, key), keyLine(n, key), rest
		}
		best := -1
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i].Value
			if rest, ok := strings.CutPrefix(field, key); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') &&
				(best < 0 || len(key) > len(n.Content[best].Value)) {
				best = i
			}
		}
		if best >= 0 {
			return n.Content[best+1], n.Content[best].Line, strings.TrimPrefix(field[len(n.Content[best].Value):], ".")
		}
	}
	return nil, 0, ""
}

// quotedKey takes a segment such as ["tls.crt"] off a path.
func quotedKey(field string) (key, rest string, ok bool) {
	if !strings.HasPrefix(field, `["`) {
		return "", "", false
	}
	key, rest, ok = strings.Cut(field[2:], `"]`)
	return key, strings.TrimPrefix(rest, "."), ok
}

func resolveAlias(n *yamlv3.Node) *yamlv3.Node {
	if n != nil && n.Kind == yamlv3.AliasNode {
		return n.Alias
	}
	return n
}

// child returns the value of a key, or nil.
func child(n *yamlv3.Node, key string) *yamlv3.Node {
	if n == nil || n.Kind != yamlv3.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// keyLine returns the line of a key, and that of the mapping without such a key.
func keyLine(n *yamlv3.Node, key string) int {
	if n == nil {
		return 0
	}
	for i := 0; n.Kind == yamlv3.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i].Line
		}
	}
	return n.Line
}
