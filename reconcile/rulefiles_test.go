package reconcile

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"gitgate.dev/gitgate/policy/verdict"
)

func TestReadRules(t *testing.T) {
	file := func(content string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(content), Mode: 0o444} }
	many := fstest.MapFS{}
	for i := range maxRuleFiles + 1 {
		many[fmt.Sprintf("r/%d.rego", i)] = file("")
	}
	deep := "r/" + strings.Repeat("d/", maxRuleDepth)
	for name, tc := range map[string]struct {
		reason string
		fsys   fs.FS
		dir    string
		want   []string
		wrong  verdict.Reason
	}{
		"Root":       {"The default is the root.", fstest.MapFS{"a.rego": file(""), "b/c.yaml": file("")}, "", []string{"a.rego", "b/c.yaml"}, ""},
		"Directory":  {"Names begin below the directory.", fstest.MapFS{"r/a.rego": file(""), "r/b/data.json": file(""), "o.rego": file("")}, "r/", []string{"a.rego", "b/data.json"}, ""},
		"Dot":        {"However it is written.", fstest.MapFS{"r/a.rego": file("")}, "./r", []string{"a.rego"}, ""},
		"Others":     {"What is no rule is left out.", fstest.MapFS{"r/a.rego": file(""), "r/README.md": file(""), "r/.git/x.rego": file(""), "r/.y.rego": file("")}, "r", []string{"a.rego"}, ""},
		"Nothing":    {"No rules are not the same as rules that pass.", fstest.MapFS{"r/README.md": file("")}, "r", nil, verdict.InvalidManifest},
		"Missing":    {"Nor is no directory.", fstest.MapFS{"a.rego": file("")}, "r", nil, verdict.InvalidManifest},
		"File":       {"A directory is not a file.", fstest.MapFS{"r": file("")}, "r", nil, verdict.InvalidManifest},
		"Link":       {"A link leads elsewhere.", fstest.MapFS{"r/a.rego": file(""), "r/b.rego": {Mode: fs.ModeSymlink, Data: []byte("a.rego")}}, "r", nil, verdict.PathEscape},
		"LinkOfAny":  {"Also one that seems to be of no interest: it may be a directory.", fstest.MapFS{"r/a.rego": file(""), "r/lib": {Mode: fs.ModeSymlink, Data: []byte("a.rego")}}, "r", nil, verdict.PathEscape},
		"HiddenLink": {"But for what is hidden.", fstest.MapFS{"r/a.rego": file(""), "r/.lib": {Mode: fs.ModeSymlink, Data: []byte("a.rego")}}, "r", []string{"a.rego"}, ""},
		"Submodule":  {"A submodule is nobody's word here.", fstest.MapFS{"r/a.rego": file(""), "r/sub": {Mode: fs.ModeIrregular}}, "r", nil, verdict.PathEscape},
		"Many":       {"Not without end.", many, "r", nil, verdict.LimitExceeded},
		"Large":      {"Nor without bound, together.", fstest.MapFS{"r/a.rego": file(strings.Repeat("x", maxRuleBytes/2)), "r/b.rego": file(strings.Repeat("x", maxRuleBytes/2+1))}, "r", nil, verdict.LimitExceeded},
		"Full":       {"Up to it.", fstest.MapFS{"r/a.rego": file(strings.Repeat("x", maxRuleBytes/2)), "r/b.rego": file(strings.Repeat("x", maxRuleBytes/2))}, "r", []string{"a.rego", "b.rego"}, ""},
		"Deep":       {"As deep as it may be.", fstest.MapFS{deep + "a.rego": file("")}, "r", []string{deep[2:] + "a.rego"}, ""},
		"Deeper":     {"And not deeper.", fstest.MapFS{deep + "d/a.rego": file("")}, "r", nil, verdict.LimitExceeded},
		"Escape":     {"There is no way out.", fstest.MapFS{"a.rego": file("")}, "../r", nil, verdict.InvalidManifest},
	} {
		t.Run(name, func(t *testing.T) {
			files, err := readRules(tc.fsys, tc.dir)
			var rule *ruleError
			if tc.wrong != "" {
				if !errors.As(err, &rule) || rule.reason != tc.wrong || files != nil {
					t.Errorf("%s\ngot %v, want %s", tc.reason, err, tc.wrong)
				}
				return
			}
			if err != nil {
				t.Fatalf("%s\n%v", tc.reason, err)
			}
			if got := slices.Sorted(maps.Keys(files)); !slices.Equal(got, tc.want) {
				t.Errorf("%s\ngot %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}

// The digest stands for names and contents, and for nothing that only looks alike.
func TestDigestOf(t *testing.T) {
	seen := map[string]string{}
	for name, files := range map[string]map[string]string{
		"Nothing": {}, "One": {"a": "bc"}, "Moved": {"ab": "c"}, "Two": {"a": "b", "c": ""}, "Joined": {"a": "bc", "": ""}, "Swapped": {"a": "", "c": "b"},
	} {
		d := digestOf(files)
		if other := seen[d]; other != "" {
			t.Errorf("%s and %s have one digest", name, other)
		}
		seen[d] = name
		if again := digestOf(maps.Clone(files)); again != d {
			t.Errorf("%s has two digests", name)
		}
	}
}
