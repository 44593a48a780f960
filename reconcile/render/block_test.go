package render

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	yamlv3 "go.yaml.in/yaml/v3"

	"gitgate.dev/gitgate/policy/blockyaml"
)

// sameNodes fails unless what blockyaml reads is what the library reads.
func sameNodes(t *testing.T, raw []byte) (read bool) {
	t.Helper()
	if checkBytes(raw, Limits{}.withDefaults()) != nil {
		return false
	}
	got, ok := blockyaml.Nodes(raw)
	if !ok {
		return false
	}
	want, p := readNodes(raw)
	if p != nil {
		t.Fatalf("%q was read, and is not YAML: %s", raw, p.message)
	}
	if w, g := flatten(want), flatten(got); !reflect.DeepEqual(w, g) {
		t.Fatalf("%q (-library +block reader)\n%s", raw, cmp.Diff(w, g))
	}
	return true
}

type flatNode struct {
	Kind         yamlv3.Kind
	Style        yamlv3.Style
	Tag, Value   string
	Line, Column int
	Content      []flatNode
}

func flatten(nodes []*yamlv3.Node) []flatNode {
	out := make([]flatNode, len(nodes))
	for i, n := range nodes {
		out[i] = flatNode{n.Kind, n.Style, n.ShortTag(), n.Value, n.Line, n.Column, flatten(n.Content)}
	}
	return out
}

// blockPlaces are places of a value: % is the value, ^ the value with its later lines
// indented.
var blockPlaces = []string{
	"k: %\n", "- %\n", "- - %\n", "a:\n- %\n- b\n", "a:\n  - k: %\n    j: 1\n  - x\nb: c\n", "- k: %\n  # c\n  j:\n  - l\n- m\n", "k:\n  j: %\n\nl: m\n",
	"k: % # comment\n", "k: %\n---\nj: %\n", "---\nk: %\n---\n- %\n", "k: [%]\n", "k: [a, %, \"b\"] # c\n", "%: v\n", "k:\n  %\n", "%\n", "# a\n\n---\n# b\nk: %\nj:\n",
	"k: %\n  more\n", "k: %\n\n  more\n", "k: %\n# c\n  more\n", "k: %\n j: 1\n", " k: %\n", "a:\n    k: %\n  j: 1\n", "k: é %\n", "é: %\n", "\"k\": %\n'j' : %\n", "a: b\n- %\n",
	"k:\n- %\n  - a\n", "-   k: %\n    j: 1\n", "-  %\n-\n-\n  k: %\n- # c\n  %\n", "k: |\n  a\n   %\n\n  b\n\nj: %\n", "k: |-\n    %\n  \n    b\n\n\n", "- |\n %\n- |-\n  %\nk: 1\n",
}

var blockValues = append([]string{
	"a - b", "a -b", "-b", "- b", "a:b", "a :b", "a : b", "a#b", "a #", "\"a\" b", "'a' 'b'", "\"a\"#", "\"\"", "''", "\"a: b\"", "\"a # b\"", "'a\\b'", "\"a\\\\\"", "[a", "a]", "[a,b]", "[ a , b ]",
	"[a,]", "[]]", "[] x", "{} # c", "{}x", "[é, a]", "[\"é\", a]", "[-a]", "[a b]", "[1, 2.0, true]", "|", "|-\n", "|+\n  a\n\n", "| # c\n  a", "|x", "|\n\n   a\n  b\n", "a ", "   a  ", "a\n---", "--- a", "---", "...",
	"a\n   b", "a  \n\n\n   b # c\n", "a # c\n   b", "a\n   - b\n   * c\n", "a\n   b: c", "a\n   # b\n", "a\n   b:", "'a\n   b'", "\"a  \n\n   b\"", "'a\n   b'' c' # d", "'a\nb'", "'\n  a'", "'a\n  '",
	"\"a\\\n   b\"", "'a\n   # b\n   c: d'", "'it''s, '", "'a''", "{a: b}", "{a: b, \"c\": [1, {d: e}], f: {}} # g", "{a}", "{a:b}", "{a: }", "{ a : b }", "{a: b,}", "{\"a\":b}", "{a: b}x", "[{a: b}, [c]]", "{a: {b: c}", "[a: b]",
	"a\x01", "\"a\x7f\"", "a\u0080", "a\ufffe", "a\u2028b", "k: v", "k:\n    j: 1", "http://a/b?c=d#e", "a, b", "@", "a @", "$(A)", "*", "**", "a'b", "a\"b", "x: [", "?", "? a", "~", "%", "a%", "\\", "\\n",
}, simpleScalars...)

// TestBlockNodes: whatever is read becomes what the library makes of it.
func TestBlockNodes(t *testing.T) {
	read := 0
	for _, place := range blockPlaces {
		for _, v := range blockValues {
			if sameNodes(t, []byte(strings.ReplaceAll(place, "%", v))) {
				read++
			}
		}
	}
	if read < 1500 {
		t.Errorf("%d of %d texts were read: the test compares little", read, len(blockPlaces)*len(blockValues))
	}
}

// TestBlockNodesOfManifests: manifests as people write them are read.
func TestBlockNodesOfManifests(t *testing.T) {
	files, read := 0, 0
	err := filepath.WalkDir(filepath.Join("..", "..", "deploy"), func(name string, _ os.DirEntry, err error) error {
		if err != nil || filepath.Ext(name) != ".yaml" {
			return err
		}
		raw, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		files++
		if sameNodes(t, raw) {
			read++
		}
		return nil
	})
	if err != nil || read*10 < files*6 {
		t.Errorf("%d of %d files were read (%v)", read, files, err)
	}
}

// FuzzBlockNodes is [TestBlockNodes] for as long as one likes.
func FuzzBlockNodes(f *testing.F) {
	for i, v := range blockValues {
		f.Add([]byte(strings.ReplaceAll(blockPlaces[i%len(blockPlaces)], "%", v)))
	}
	f.Add([]byte(webLike))
	f.Fuzz(func(t *testing.T, raw []byte) { sameNodes(t, raw) })
}

// blockTokens make texts that look like YAML and often are not.
var blockTokens = []string{
	"\n", "\n", "\n  ", "\n  ", "\n    ", "\n ", "\n- ", "\n  - ", "\n---\n", "\n\n", " ", "  ", "- ", "-", "k: ", "k:", "j: ", ": ", ":", "a", "b c", "1", "#", " # c", "|", "|-", "|\n  ", "|-\n    ",
	"'", "''", "\"", "\"a\"", "'b'", "[", "]", "[]", "{", "}", "{}", ", ", ",", "{a: b}", "é", "!", " !x", "~", "<<: ", "---", "...", "\"k\": ", "=", "?", "&a", "*a", ">", "%", "@", ".", "/", "$(x)",
}

// TestBlockNodesOfRandomTexts: what is read becomes what the library makes of it, and
// the second one of its values, also where nobody would write it.
func TestBlockNodesOfRandomTexts(t *testing.T) {
	rounds := 30_000
	if s := os.Getenv("GITGATE_BLOCK_ROUNDS"); s != "" {
		if _, err := fmt.Sscan(s, &rounds); err != nil {
			t.Fatal(err)
		}
	}
	random, read := rand.New(rand.NewPCG(1, uint64(rounds))), 0
	for range rounds {
		raw := []byte(randomText(random))
		if sameNodes(t, raw) {
			read++
			agree(t, raw)
		}
	}
	if read < rounds/50 {
		t.Errorf("%d of %d texts were read: the test compares little", read, rounds)
	}
}

func randomText(random *rand.Rand) string {
	var b strings.Builder
	pick := func(from []string) { b.WriteString(from[random.IntN(len(from))]) }
	if random.IntN(2) == 0 {
		for range 2 + random.IntN(14) {
			pick(blockTokens)
		}
		return b.String() + "\n"
	}
	for range 1 + random.IntN(6) {
		pick([]string{"", "", "  ", "  ", "    ", "      "})
		pick([]string{"", "", "", "- ", "- ", "-   ", "- - ", "# "})
		pick([]string{"k: ", "k: ", "j:", "l:", "", "'m': ", "\"n\" : "})
		pick([]string{"", "", "", "a", "a b", "|", "|-", "\"a", "'a", "b\"", "c' # d", "[]", "{a: b}", "[a, 'b']", "{k: [1, {}]}", "x # y", "-1", "~"})
		pick([]string{"\n", "\n", "\n", "\n\n", "\n  \n", "\n---\n"})
	}
	return b.String()
}

// TestPlainlyDistinct: what is plainly distinct is distinct to the thorough check.
func TestPlainlyDistinct(t *testing.T) {
	keys := []string{"a", "A", "kind", "Kind", "no", "No", "NULL", "true", "False", "", "x1", "é", "<<", "a.b", "\"kind\"", "'no'", "!!str no", "&a kind", "1", "~", "[a]"}
	plain := 0
	for _, a := range keys {
		for _, b := range keys {
			nodes, p := readNodes([]byte("? " + a + "\n: 1\n? " + b + "\n: 2\n"))
			if p != nil || nodes[0].Kind != yamlv3.MappingNode || !plainlyDistinct(nodes[0]) {
				continue
			}
			plain++
			c := &nodeChecker{limits: Limits{}.withDefaults()}
			if c.thoroughKeys(nodes[0], "spec"); len(c.problems) > 0 {
				t.Errorf("%q and %q are not distinct: %s", a, b, c.problems[0].message)
			}
		}
	}
	if plain < 8 {
		t.Errorf("%d pairs are plainly distinct", plain)
	}
}
