package render

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// simpleScalars are plain scalars at the borders of every rule.
var simpleScalars = []string{
	"a", "web", "y", "Y", "yes", "Yes", "n", "No", "on", "OFF", "off", "true", "TRUE", "tRue", "false", "null", "Null", "~", "~a", "nul", "yes sir",
	"0", "7", "10", "007", "08", "0x1F", "0o17", "0b11", "1_000", "-1", "+1", "--1", "-a", "--flag=1_0", "--flag=x", "-f=$(A_B)", "--a-b=_1", "-a_b=c", "1.50", "12.0", "1234567.12345678", "12345678.1", "1.0.0", "00.5", "-1.5", "-1a", "-", "--", "---a", "-.5", "-.inf", ".inf",
	".nan", ".5", "5.", "5.5", "1e3", "1E3", "1e", "12e03x", "1.2.3", "1.2.3.4", "10.0.0.0/8", "1.2.3-x", "100m", "64Mi", "50%", "1d", "0m", "1f", "1F", "0x", "1a_b",
	"999999999999999999", "9999999999999999999", "18446744073709551616", "2001-01-01", "2001-01-01T00:00:00Z", "12:30:45", "190:20:30", "<<", "=", "<", "a b", "a: b", "a #b", "é",
	"'it''s'", `"a\tb"`, `"\u263a"`, "'01'", "[]", "{}", "[a, 1]", "{a: b}", "*a", "&a b", "!!str 1", "! 1", "!x y", "|\n  text\n  more\n", ">\n  a\n  b\n", "|-\n  a\n", "|+\n  a\n\n", "|2\n    a\n",
	"@a", "`a", "%a", "?", "? a", ":a", "a:", "http://x/y", "0.5", "1.", "Infinity", "NaN", "Inf", "-Inf", "+x", "0b", "-0b1", "1__", "_1", "$(X)", "a\n  b", "",
}

// sharedByAll has read every text of these tests before: what one says must not depend on
// those.
var sharedByAll = newSharer()

// agree compares the values that are taken from nodes with those of the second reader.
func agree(t *testing.T, raw []byte) (simple bool) {
	t.Helper()
	l := Limits{}.withDefaults()
	if checkBytes(raw, l) != nil {
		return false
	}
	nodes, simple, p := structure(raw)
	if p != nil || !simple {
		return false
	}
	for _, n := range nodes {
		if len(checkNode(n, l)) > 0 {
			return false
		}
	}
	got, ok := simpleValues(nodes, sharedByAll)
	if !ok {
		return false
	}
	values, err := readValues(raw)
	if err != nil {
		t.Fatalf("%q is simple, and not to the second reader: %v", raw, err)
	}
	want := make([]any, len(values))
	for i, v := range values {
		if want[i], err = jsonValue(v); err != nil {
			t.Fatalf("%q is simple, and has no JSON form: %v", raw, err)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("%q (-second reader +nodes)\n%s", raw, diff)
	}
	return true
}

// TestSimpleValues: whatever is simple reads the same to both readers, in every place.
func TestSimpleValues(t *testing.T) {
	simple := 0
	for _, s := range simpleScalars {
		for _, place := range []string{"k: %\n", "- %\n", "%\n", "k: [%]\n", "{k: %}\n", "%: v\n", "k:\n  - % # comment\n", "---\n%\n---\nk: %\n", "# %\nk: %"} {
			if agree(t, []byte(strings.ReplaceAll(place, "%", s))) {
				simple++
			}
		}
	}
	if simple < 300 {
		t.Errorf("%d texts are simple: the test compares little", simple)
	}
}

// TestSimpleManifests: manifests as people write them are simple.
func TestSimpleManifests(t *testing.T) {
	files, simple := 0, 0
	err := filepath.WalkDir(filepath.Join("..", "..", "deploy"), func(name string, _ os.DirEntry, err error) error {
		if err != nil || filepath.Ext(name) != ".yaml" {
			return err
		}
		raw, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		files++
		if agree(t, raw) {
			simple++
		}
		return nil
	})
	if err != nil || simple*10 < files*7 {
		t.Errorf("%d of %d files are simple (%v)", simple, files, err)
	}
}

// TestNotSimple: what readers may differ about is left to the second one.
func TestNotSimple(t *testing.T) {
	for text, reason := range map[string]string{
		"k: yes":               "a boolean in YAML 1.1 only",
		"k: 0o17":              "a number in YAML 1.2 only",
		"k: 1_000":             "a number in YAML 1.1 only",
		"k: 2001-01-01":        "a date, perhaps",
		"k: 190:20:30":         "a number to base 60, perhaps",
		"k: 1.5e3":             "a float, of which there are many spellings",
		"<<: {a: b}":           "a merge",
		"k: &a b":              "an anchor",
		"k: !!str 1":           "a tag",
		"1: v":                 "a key that is no text",
		"k: >\n  a\n  b":       "folded text",
		"k: a\tb":              "a tab",
		"k: a\r\n":             "another break",
		"%YAML 1.1\n---\nk: v": "a directive",
		"k: v\n...\n":          "an end of a document",
	} {
		nodes, simple, p := structure([]byte(text))
		if p != nil {
			t.Fatalf("%q: %v", text, p)
		}
		if values, ok := simpleValues(nodes, newSharer()); simple && ok {
			t.Errorf("%q is %s, and was read as %v", text, reason, values)
		}
	}
}

// FuzzSimpleValues is [TestSimpleValues] for as long as one likes.
func FuzzSimpleValues(f *testing.F) {
	for _, s := range simpleScalars {
		f.Add([]byte("a: " + s + "\nb:\n- " + s + "\n"))
	}
	f.Add([]byte(webLike))
	f.Fuzz(func(t *testing.T, raw []byte) { agree(t, raw) })
}

const webLike = `# a comment
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web # another
  annotations: {a.example.com/b: "1"}
spec:
  # and one
  template:
    spec:
      containers:
      - name: web
        image: registry.example.com/web:1
        args: [--flag=x, -v, "2"]

        resources: {limits: {cpu: 100m, memory: 64Mi}}
        ports:
          - containerPort: 80
          # the last
---
data:
  text: |
    # no comment
    a: b

     indented
  more: |-
    x
`

// TestSimpleRandom writes documents in many ways of laying them out.
func TestSimpleRandom(t *testing.T) {
	simple := 0
	for seed := range uint64(3000) {
		w := &yamlWriter{rand.New(rand.NewPCG(seed, 1)), strings.Builder{}}
		for range 1 + w.IntN(3) {
			w.WriteString([]string{"---\n", "--- # x\n", "---   \n", "# y\n---\n"}[w.IntN(4)])
			w.value(0, 4, false)
		}
		if agree(t, []byte(w.String())) {
			simple++
		}
	}
	if simple < 1000 {
		t.Errorf("%d of 3000 documents are simple: the test compares little", simple)
	}
}

// A yamlWriter writes values in block style, with comments and blank lines anywhere.
type yamlWriter struct {
	*rand.Rand
	strings.Builder
}

// value ends with a line break. inline says that it begins behind a key or a dash.
func (w *yamlWriter) value(indent, depth int, inline bool) {
	pad := strings.Repeat(" ", indent)
	switch kind := w.IntN(6); {
	case depth == 0 || kind < 2:
		w.WriteString(" " + w.scalar() + w.comment() + "\n")
	case kind == 2 && inline:
		w.WriteString(" " + []string{"|", "|-", "|+", "| # c"}[w.IntN(4)] + "\n")
		for range 1 + w.IntN(3) {
			w.WriteString(pad + "  " + []string{"text", "  deeper", "# no comment", "a: b", "- c", "", "---"}[w.IntN(7)] + "\n")
		}
		w.gap(pad)
	case kind < 5:
		if inline {
			w.WriteString(w.comment() + "\n")
		}
		for i := range 1 + w.IntN(3) {
			w.gap(pad)
			key := []string{"k", "key-", "a.b/"}[w.IntN(3)] + string(rune('a'+i))
			if w.IntN(4) == 0 {
				key = `"` + key + `"`
			}
			w.WriteString(pad + key)
			w.WriteString(":")
			w.value(indent+2, depth-1, true)
		}
	default:
		if inline {
			w.WriteString("\n")
		}
		for range 1 + w.IntN(3) {
			w.gap(pad)
			w.WriteString(pad + "-")
			w.value(indent+2, depth-1, true)
		}
	}
}

func (w *yamlWriter) scalar() string {
	return []string{"a", "web-1", "true", "null", "7", "100m", "--flag=x", "-f=$(A_B)", "--a-b=_1", "-a_b=c", "1.50", "12.0", "1234567.12345678", "12345678.1", "1.0.0", "00.5", "-1.5", "'q # q'", `"d: d"`, "[a, b]", "{a: 1}", "a#b", "b", "", "x y", "10.0.0.1"}[w.IntN(16)]
}

func (w *yamlWriter) comment() string {
	return []string{"", "", "", " # c", "  #", " # - a: b"}[w.IntN(6)]
}

func (w *yamlWriter) gap(pad string) {
	w.WriteString([]string{"", "", "", "\n", pad + "# c\n", "# c\n", pad + "  # c: d\n", "\n\n# - c\n\n"}[w.IntN(8)])
}
