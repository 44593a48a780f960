package render

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	yamlv3 "go.yaml.in/yaml/v3"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// viaText returns what kustomize build prints, as an API server reads it.
func viaText(res *resource.Resource) (map[string]any, error) {
	raw, err := res.MarshalJSON()
	if err != nil {
		return nil, err
	}
	var top map[string]any
	return top, utiljson.Unmarshal(raw, &top)
}

// trickyValues are written alike and read differently by some.
var trickyValues = []string{
	"", "a", "0777", "0o17", "0x1F", "1_000", "9007199254740993", "9223372036854775807", "9223372036854775808", "-0", "1.0", "1e3", "1e400", ".5", ".inf", ".nan",
	"NO", "yes", "on", "true", "True", "null", "~", "2001-01-01", "2001-01-01T00:00:00Z", "12:30:45", "a: b", "- a", "#c", " a ", "a\nb\n", "a\n\n", "\n", "\t", "é", "\u2028", "\u0085", "\x00",
	"!!str a", "&a", "*a", "<<", "=", "[a", "{a", "%a", "@a", "`a", "'a'", "\"a\"", "\\", strings.Repeat("long ", 40), "\ufeffa", "\U0001f600", "a\r\nb",
}

// TestBuiltValueEqualsText requires that the way round the text gives what the way
// through it gives, for every value in every form that a node can have.
func TestBuiltValueEqualsText(t *testing.T) {
	direct := 0
	for _, value := range trickyValues {
		for _, tag := range []string{"", "!!str", "!!int", "!!float", "!!bool", "!!null", "!!timestamp", "!!binary", "!!map", "!x"} {
			for _, style := range []yamlv3.Style{0, yamlv3.DoubleQuotedStyle, yamlv3.SingleQuotedStyle, yamlv3.LiteralStyle, yamlv3.FoldedStyle, yamlv3.TaggedStyle, yamlv3.FlowStyle} {
				for _, asKey := range []bool{false, true} {
					if sameAsText(t, value, tag, style, asKey) {
						direct++
					}
				}
			}
		}
	}
	if direct < 300 {
		t.Errorf("only %d values were read directly", direct)
	}
}

func sameAsText(t *testing.T, value, tag string, style yamlv3.Style, asKey bool) (direct bool) {
	t.Helper()
	scalar := &yamlv3.Node{Kind: yamlv3.ScalarNode, Value: value, Tag: tag, Style: style}
	text := &yamlv3.Node{Kind: yamlv3.ScalarNode, Value: "k"}
	pair := []*yamlv3.Node{text, scalar}
	if asKey {
		pair = []*yamlv3.Node{scalar, text}
	}
	list := &yamlv3.Node{Kind: yamlv3.SequenceNode, Content: []*yamlv3.Node{scalar, {Kind: yamlv3.MappingNode, Content: pair}}}
	if asKey {
		list.Content = list.Content[1:]
	}
	top := &yamlv3.Node{Kind: yamlv3.MappingNode, Content: []*yamlv3.Node{{Kind: yamlv3.ScalarNode, Value: "list"}, list}}
	res := &resource.Resource{RNode: *yaml.NewRNode(top)}
	plain := plainNode(top)
	want, wantErr := viaText(res)
	got, err := builtValue(res)
	if (err != nil) != (wantErr != nil) {
		t.Errorf("%q %s style %d key %t: error %v, through text %v", value, tag, style, asKey, err, wantErr)
	}
	if diff := cmp.Diff(want, got); err == nil && diff != "" {
		t.Errorf("%q %s style %d key %t (-text +direct):\n%s", value, tag, style, asKey, diff)
	}
	return plain && err == nil
}

// FuzzBuiltValue is the same for documents as people write them.
func FuzzBuiltValue(f *testing.F) {
	for _, v := range trickyValues {
		f.Add("a: " + v)
		f.Add("{a: \"" + v + "\", b: ['" + v + "']}")
	}
	f.Add("{a}") // null without a text
	f.Add("a: &x {b: 1}\nc: *x\n")
	f.Add("a: 1\na: 2\n")
	f.Add("? [a]\n: 1\n1: 2\n")
	f.Fuzz(func(t *testing.T, text string) {
		var doc yamlv3.Node
		if yamlv3.Unmarshal([]byte(text), &doc) != nil || len(doc.Content) != 1 || doc.Content[0].Kind != yamlv3.MappingNode {
			t.Skip()
		}
		res := &resource.Resource{RNode: *yaml.NewRNode(doc.Content[0])}
		want, wantErr := viaText(res)
		got, err := builtValue(res)
		if (err != nil) != (wantErr != nil) {
			t.Fatalf("error %v, through text %v", err, wantErr)
		}
		if diff := cmp.Diff(want, got); err == nil && diff != "" {
			t.Errorf("(-text +direct):\n%s", diff)
		}
	})
}
