package render

import (
	"errors"
	"regexp"
	"strconv"
	"strings"

	yamlv2 "go.yaml.in/yaml/v2"
	yamlv3 "go.yaml.in/yaml/v3"

	"gitgate.dev/gitgate/policy/verdict"
)

// A nodeChecker walks the nodes of one document.
type nodeChecker struct {
	limits   Limits
	problems []problem
	anchored map[*yamlv3.Node]extent
	open     map[*yamlv3.Node]bool // anchors around the node at hand
}

// An extent is how many values a node stands for, aliases expanded, and how deep
// they nest. Neither grows beyond one over its limit.
type extent struct{ size, height int }

// checkNode refuses what makes a document ambiguous and what makes it explode.
func checkNode(root *yamlv3.Node, l Limits) []problem {
	c := &nodeChecker{limits: l, anchored: map[*yamlv3.Node]extent{}, open: map[*yamlv3.Node]bool{}}
	if e := c.walk(root, "", 1); e.size > l.Nodes && len(c.problems) == 0 {
		c.refuse(verdict.LimitExceeded, root, "document has more than %d values once its aliases are expanded", l.Nodes)
	}
	return c.problems
}

func (c *nodeChecker) refuse(r verdict.Reason, n *yamlv3.Node, format string, args ...any) {
	if len(c.problems) < c.limits.Findings {
		c.problems = append(c.problems, deny(r, n.Line, format, args...))
	}
}

// walk judges the node under the key parent.
func (c *nodeChecker) walk(n *yamlv3.Node, parent string, depth int) extent {
	if depth > c.limits.Depth {
		c.refuse(verdict.LimitExceeded, n, "values nest deeper than %d", c.limits.Depth)
		return extent{1, 1}
	}
	if n.Kind == yamlv3.AliasNode {
		return c.alias(n, depth)
	}
	c.tag(n)
	if n.Anchor != "" {
		c.open[n] = true
		defer delete(c.open, n)
	}
	e := extent{size: 1}
	for i, child := range n.Content {
		key := ""
		if n.Kind == yamlv3.MappingNode && i%2 == 1 {
			key = n.Content[i-1].Value
		}
		ce := c.walk(child, key, depth+1)
		e.size = min(e.size+ce.size, c.limits.Nodes+1)
		e.height = max(e.height, ce.height)
	}
	e.height++
	switch n.Kind {
	case yamlv3.MappingNode:
		c.keys(n, parent)
	case yamlv3.ScalarNode:
		c.number(n)
	}
	if n.Anchor != "" {
		c.anchored[n] = e
	}
	return e
}

// alias uses the extent of the anchor, which stands before it: walking it again
// for each alias is the very bomb that this is to stop.
func (c *nodeChecker) alias(n *yamlv3.Node, depth int) extent {
	e, known := c.anchored[n.Alias]
	switch {
	case n.Alias == nil || c.open[n.Alias] || !known:
		c.refuse(verdict.LimitExceeded, n, "alias *%s contains itself", n.Value)
		return extent{1, 1}
	case depth+e.height-1 > c.limits.Depth:
		c.refuse(verdict.LimitExceeded, n, "values nest deeper than %d once the alias *%s is expanded", c.limits.Depth, n.Value)
	}
	return e
}

// coreTags say no more than the plain form of a value would.
var coreTags = map[string]bool{
	"!!str": true, "!!int": true, "!!bool": true, "!!float": true, "!!null": true,
	"!!map": true, "!!seq": true, "!!merge": true,
}

func (c *nodeChecker) tag(n *yamlv3.Node) {
	// yaml.v3 sets the tags of untagged values too, timestamps among them, which
	// yaml.v2 reads as strings.
	if n.Style&yamlv3.TaggedStyle != 0 && !coreTags[n.ShortTag()] {
		c.refuse(verdict.InvalidManifest, n, "tag %s is not supported; write the plain value", n.ShortTag())
	}
}

const quoted = yamlv3.SingleQuotedStyle | yamlv3.DoubleQuotedStyle | yamlv3.LiteralStyle | yamlv3.FoldedStyle

// integerLiteral matches integers in every base of YAML 1.1.
var integerLiteral = regexp.MustCompile(`^[-+]?(0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)$`)

// number refuses numbers that have no JSON form, and integers beyond 64 bits, which
// would silently become floats.
func (c *nodeChecker) number(n *yamlv3.Node) {
	if n.Style&quoted == 0 && notFinite[strings.ToLower(n.Value)] {
		c.refuse(verdict.AmbiguousManifest, n, "number %s has no JSON form; quote it if it is text", n.Value)
	}
	if n.Style&quoted != 0 || len(n.Value) < len("9223372036854775808") && !strings.HasPrefix(strings.TrimLeft(n.Value, "+-"), "0") ||
		!integerLiteral.MatchString(n.Value) {
		return
	}
	if _, err := strconv.ParseInt(strings.ReplaceAll(n.Value, "_", ""), 0, 64); errors.Is(err, strconv.ErrRange) {
		c.refuse(verdict.AmbiguousManifest, n, "integer %s does not fit into 64 bits and would lose digits; quote it if it is text", n.Value)
	}
}

var notFinite = map[string]bool{".nan": true, ".inf": true, "+.inf": true, "-.inf": true}

// yaml11Words are the words that YAML 1.1 reads as something else than a string.
var yaml11Words = map[string]bool{
	"": true, "~": true, "null": true, "y": true, "n": true, "yes": true, "no": true,
	"true": true, "false": true, "on": true, "off": true,
}

// notString reports whether a key is read as a number, a boolean or null.
func notString(k *yamlv3.Node) bool {
	if k.Style&quoted != 0 || k.Style&yamlv3.TaggedStyle != 0 && k.ShortTag() == "!!str" {
		return false
	}
	if yaml11Words[strings.ToLower(k.Value)] || k.Style&yamlv3.TaggedStyle != 0 {
		return true
	}
	if !strings.ContainsRune("0123456789+-.", rune(k.Value[0])) {
		return false
	}
	var v any
	if err := yamlv2.Unmarshal([]byte(k.Value), &v); err != nil {
		return false // a key that stands where no value can, such as "- a"
	}
	_, text := v.(string)
	return !text
}

// keys refuses mappings whose keys are not plainly distinct strings.
func (c *nodeChecker) keys(n *yamlv3.Node, parent string) {
	if !plainlyDistinct(n) {
		c.thoroughKeys(n, parent)
	}
}

func (c *nodeChecker) thoroughKeys(n *yamlv3.Node, parent string) {
	exact := make(map[string]*yamlv3.Node, len(n.Content)/2)
	folded := make(map[string]*yamlv3.Node, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if isMerge(k) {
			c.merge(n, i)
			continue
		}
		if k.Kind != yamlv3.ScalarNode {
			c.refuse(verdict.AmbiguousManifest, k, "a key must be a plain string")
			continue
		}
		if notString(k) {
			c.refuse(verdict.AmbiguousManifest, k, "key %q is not read as a string; quote it", k.Value)
			continue
		}
		if first, twice := exact[k.Value]; twice {
			c.refuse(verdict.AmbiguousManifest, k, "key %q is already set on line %d", k.Value, first.Line)
			continue
		}
		exact[k.Value] = k
		low := strings.ToLower(k.Value)
		if first, twice := folded[low]; twice && sameField(parent, k.Value) {
			c.refuse(verdict.AmbiguousManifest, k, "key %q differs only by case from %q on line %d; keep one", k.Value, first.Value, first.Line)
			continue
		}
		folded[low] = k
	}
}

// plainlyDistinct reports of a small mapping that there is nothing to look for: its keys
// are words that differ by more than case.
func plainlyDistinct(n *yamlv3.Node) bool {
	const small = 2 * 12
	if len(n.Content) > small {
		return false
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind != yamlv3.ScalarNode || k.Style != 0 || !lettersOnly(k.Value) ||
			len(k.Value) <= len("false") && yaml11Words[strings.ToLower(k.Value)] {
			return false
		}
		for j := 0; j < i; j += 2 {
			if other := n.Content[j].Value; len(other) == len(k.Value) && strings.EqualFold(other, k.Value) {
				return false
			}
		}
	}
	return true
}

func lettersOnly(s string) bool {
	for i := range len(s) {
		if c := s[i] | 0x20; c < 'a' || c > 'z' {
			return false
		}
	}
	return true
}

// freeKeys are the fields whose keys are names that users choose. Case tells such
// names apart; API fields it does not, to a reader who decodes as encoding/json.
var freeKeys = map[string]bool{
	"data": true, "stringData": true, "binaryData": true, "labels": true, "annotations": true,
	"matchLabels": true, "selector": true, "nodeSelector": true, "parameters": true, "env": true,
	"properties": true, "patternProperties": true, "definitions": true, "dependencies": true,
}

// sameField reports whether a key could be taken for an API field that is spelled
// alike: no API field has punctuation in its name.
func sameField(parent, key string) bool {
	return !freeKeys[parent] && !strings.ContainsAny(key, "./_- ")
}

func isMerge(k *yamlv3.Node) bool {
	return k.Kind == yamlv3.ScalarNode && k.Value == "<<" && k.ShortTag() == "!!merge"
}

// merge refuses a merge key whose meaning depends on the reader: yaml.v2 lets the
// later of << and a key win, YAML 1.1 the key. They agree when << comes first.
func (c *nodeChecker) merge(n *yamlv3.Node, at int) {
	from := map[string]bool{}
	sources := []*yamlv3.Node{n.Content[at+1]}
	if sources[0].Kind == yamlv3.SequenceNode {
		sources = sources[0].Content
	}
	for _, s := range sources {
		if s.Kind == yamlv3.AliasNode && s.Alias != nil {
			s = s.Alias
		}
		if s.Kind != yamlv3.MappingNode {
			c.refuse(verdict.InvalidManifest, s, "a merge key << takes a mapping or a list of mappings")
			return
		}
		for i := 0; i+1 < len(s.Content); i += 2 {
			if isMerge(s.Content[i]) {
				c.refuse(verdict.AmbiguousManifest, n.Content[at], "what is merged by << merges others itself; write it out")
				return
			}
			from[s.Content[i].Value] = true
		}
	}
	for i := 0; i < at; i += 2 {
		if k := n.Content[i]; isMerge(k) {
			c.refuse(verdict.AmbiguousManifest, n.Content[at], "a mapping may have only one merge key <<; give it a list")
		} else if from[k.Value] {
			c.refuse(verdict.AmbiguousManifest, n.Content[at], "merge key << comes after key %q, which it would override or not; put << first", k.Value)
		}
	}
}
