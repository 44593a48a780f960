package author

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"gitgate.dev/gitgate/policy/verdict"
)

// A converter turns YAML into what encoding/json writes, and refuses whatever
// readers of YAML understand in different ways.
type converter struct {
	nodes int
	// words takes yes and no for the strings that they are in YAML 1.2: Gatekeeper's
	// suites are written with them.
	words bool
}

func (c *converter) value(n *yaml.Node, depth int) (any, error) {
	if c.nodes++; c.nodes > maxNodes {
		return nil, &SyntaxError{verdict.LimitExceeded, n.Line, fmt.Sprintf("the document has more than %d values, aliases followed", maxNodes)}
	}
	if depth > maxDepth {
		return nil, &SyntaxError{verdict.LimitExceeded, n.Line, fmt.Sprintf("the document nests deeper than %d", maxDepth)}
	}
	switch n.Kind {
	case yaml.MappingNode:
		return c.mapping(n, depth)
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for _, e := range n.Content {
			v, err := c.value(e, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	case yaml.AliasNode:
		return c.value(n.Alias, depth+1)
	case yaml.ScalarNode:
		if c.words && n.ShortTag() == "!!str" {
			return n.Value, nil
		}
		return scalar(n)
	}
	return nil, invalid(n, "not a YAML value")
}

func (c *converter) mapping(n *yaml.Node, depth int) (any, error) {
	if tag := n.ShortTag(); tag != "!!map" {
		return nil, ambiguous(n, "the tag %s is not known to Kubernetes: remove it", tag)
	}
	m := make(map[string]any, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		switch {
		case k.Kind == yaml.ScalarNode && k.ShortTag() == "!!merge":
			return nil, ambiguous(k, "merge keys are not read everywhere: write the fields out")
		case k.Kind != yaml.ScalarNode || k.ShortTag() != "!!str":
			return nil, ambiguous(k, "the key %q is not a string: quote it", k.Value)
		}
		if _, dup := m[k.Value]; dup {
			return nil, ambiguous(k, "the key %q stands here twice: remove one", k.Value)
		}
		v, err := c.value(n.Content[i+1], depth+1)
		if err != nil {
			return nil, err
		}
		m[k.Value] = v
	}
	return m, nil
}

var (
	plainInteger = regexp.MustCompile(`^(0|-?[1-9][0-9]*)$`)
	plainFloat   = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)
	oldBoolean   = regexp.MustCompile(`^([yY]|[nN]|yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF)$`)
)

func scalar(n *yaml.Node) (any, error) {
	plain := n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
	switch tag := n.ShortTag(); tag {
	case "!!str":
		if plain && oldBoolean.MatchString(n.Value) {
			return nil, ambiguous(n, "%s is a string to some readers and a boolean to others: quote it, or write true or false", n.Value)
		}
		return n.Value, nil
	case "!!null":
		return nil, nil
	case "!!bool":
		return strings.EqualFold(n.Value, "true"), nil
	case "!!int":
		if plainInteger.MatchString(n.Value) {
			return json.Number(n.Value), nil
		}
		return nil, ambiguous(n, "%s is not the same number to all readers: write it in decimal, or quote it", n.Value)
	case "!!float":
		if plainFloat.MatchString(n.Value) {
			return json.Number(n.Value), nil
		}
		return nil, ambiguous(n, "%s is not a number in JSON: write it out, or quote it", n.Value)
	case "!!timestamp":
		return nil, ambiguous(n, "%s is a time to some readers and a string to others: quote it", n.Value)
	default:
		return nil, ambiguous(n, "the tag %s is not known to Kubernetes: remove it", tag)
	}
}
