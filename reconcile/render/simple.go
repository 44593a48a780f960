package render

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
)

// Reading every file a second time, as [readDocuments] does to see what kubectl will
// see, is half of what parsing costs. Most files leave no room for a second opinion:
// simpleValues takes their values from the nodes, where both readers must agree, and
// declines everything else. That they do agree is what FuzzSimpleValues is for.

// maybeTag finds what may be a tag: the nodes do not show the non-specific one, "!".
var maybeTag = regexp.MustCompile(`(^|[ \n\[{,:-])!`)

// untagged reports whether there is no tag in a file.
func untagged(raw []byte) bool { return bytes.IndexByte(raw, '!') < 0 || !maybeTag.Match(raw) }

// simpleValues returns the values of the documents of a file that is [blockyaml.SimpleText] and
// [untagged], or false if one of them is not simple.
func simpleValues(nodes []*yamlv3.Node, s *sharer) ([]any, bool) {
	out := make([]any, len(nodes))
	for i, n := range nodes {
		var ok bool
		if out[i], ok = s.document(n); !ok {
			return nil, false
		}
	}
	return out, true
}

var (
	// otherText are plain scalars that begin like a number or a sign and are text in
	// every version of YAML: quantities as in 100m and 64Mi, addresses, and flags.
	otherText = regexp.MustCompile(`^([1-9][0-9]*([A-DF-Za-df-z%][A-Za-z0-9%]*|(\.[0-9]+){2,}(/[0-9]+)?)|--?[A-Za-z]([^_]*|[A-Za-z0-9-]*=.*))$`)
	// simpleInteger fits into 64 bits, whatever its digits.
	simpleInteger = regexp.MustCompile(`^(0|[1-9][0-9]{0,17})$`)
	// simpleFloat has few enough digits that every way to read them ends at one value.
	simpleFloat = regexp.MustCompile(`^(0|[1-9][0-9]{0,6})\.[0-9]{1,8}$`)
	// words that are booleans, or not, depending on whom one asks.
	disputed = map[string]bool{"y": true, "yes": true, "on": true, "n": true, "no": true, "off": true}
)

// simpleScalar resolves a scalar by what the core schema of YAML 1.2 and the types of
// YAML 1.1 have in common.
func simpleScalar(n *yamlv3.Node) (any, bool) {
	switch n.Style {
	case yamlv3.SingleQuotedStyle, yamlv3.DoubleQuotedStyle, yamlv3.LiteralStyle:
		return n.Value, true
	case 0, yamlv3.FlowStyle:
	default:
		return nil, false
	}
	switch n.Value {
	case "", "~", "null", "Null", "NULL":
		return nil, true
	case "true", "True", "TRUE":
		return true, true
	case "false", "False", "FALSE":
		return false, true
	}
	switch c := n.Value[0]; {
	case c >= '0' && c <= '9' && simpleInteger.MatchString(n.Value):
		i, err := strconv.ParseInt(n.Value, 10, 64)
		return i, err == nil
	case c >= '0' && c <= '9' && simpleFloat.MatchString(n.Value):
		f, err := strconv.ParseFloat(n.Value, 64)
		if err != nil {
			return nil, false
		}
		v, err := jsonFloat(f)
		return v, err == nil
	case c >= '0' && c <= '9', c == '-':
		return n.Value, otherText.MatchString(n.Value)
	case c == '+', c == '.', c == '<', c == '=':
		return nil, false
	}
	return n.Value, len(n.Value) > 3 || !disputed[strings.ToLower(n.Value)]
}
