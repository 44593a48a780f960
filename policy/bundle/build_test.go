package bundle_test

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	opa "github.com/open-policy-agent/opa/v1/bundle"

	"gitgate.dev/gitgate/policy"
	"gitgate.dev/gitgate/policy/bundle"
)

const (
	native = "package acme\n\ndeny contains \"no team\" if not input.object.metadata.labels.team\n"

	template = `apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata: {name: noteam}
spec:
  crd: {spec: {names: {kind: NoTeam}}}
  targets:
  - target: admission.k8s.gatekeeper.sh
    rego: |
      package noteam
      violation[{"msg": "no team"}] { not input.review.object.metadata.labels.team }
`
	constraint = "apiVersion: constraints.gatekeeper.sh/v1beta1\nkind: NoTeam\nmetadata: {name: all}\nspec: {}\n"

	service = `{"apiVersion":"v1","kind":"Service","metadata":{"name":"web","namespace":"shop"}}`
)

// tree makes a directory of names and contents.
func tree(files ...string) fstest.MapFS {
	out := fstest.MapFS{}
	for i := 0; i < len(files); i += 2 {
		out[files[i]] = &fstest.MapFile{Data: []byte(files[i+1]), Mode: 0o644}
	}
	return out
}

func build(t *testing.T, o bundle.Options, files ...string) ([]byte, *bundle.Bundle) {
	t.Helper()
	raw, b, err := bundle.Build(t.Context(), tree(files...), o)
	if err != nil {
		t.Fatal(err)
	}
	return raw, b
}

// denials are the messages of a bundle about a Service.
func denials(t *testing.T, b *bundle.Bundle) []string {
	t.Helper()
	set, err := b.Set("s", bundle.Dialect{})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := policy.Load(t.Context(), []policy.Set{set}, policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range engine.Evaluate(t.Context(), policy.Input{Object: []byte(service)}) {
		out = append(out, f.Message)
	}
	return out
}

func TestBuild(t *testing.T) {
	for name, tc := range map[string]struct {
		reason   string
		options  bundle.Options
		dir      []string
		manifest bundle.Manifest
		files    []string
		denials  []string
	}{
		"Gitgate": {
			"Tests, hidden files and what no rule reads stay out.",
			bundle.Options{Revision: "r1"},
			[]string{"a/team.rego", native, "a/team_test.rego", "package t", ".git/x.rego", "no", "README.md", "no", "values.yaml", "x: 1", "a/data.json", `{"x": 1}`},
			bundle.Manifest{Revision: "r1", Roots: []string{""}, RegoVersion: policy.RegoV1, Format: policy.FormatGitgate},
			[]string{".manifest", "a/data.json", "a/team.rego"}, []string{"no team"},
		},
		"Tests": {
			"Tests go along if they are asked for.", bundle.Options{Tests: true},
			[]string{"team.rego", native, "team_test.rego", "package t"},
			bundle.Manifest{Roots: []string{""}, RegoVersion: policy.RegoV1, Format: policy.FormatGitgate},
			[]string{".manifest", "team.rego", "team_test.rego"}, []string{"no team"},
		},
		"Conftest": {
			"All JSON and YAML is data of conftest's, and the dialect is kept.",
			bundle.Options{Dialect: bundle.Dialect{Format: policy.FormatConftest, RegoVersion: policy.RegoV0}},
			[]string{"p/main.rego", "package main\n\ndeny[msg] { not input.metadata.labels.team; msg := data.p.texts.team }\n", "p/texts.yaml", "texts: {team: no team}"},
			bundle.Manifest{Roots: []string{""}, RegoVersion: policy.RegoV0, Format: policy.FormatConftest},
			[]string{".manifest", "p/main.rego", "p/texts.yaml"}, []string{"no team"},
		},
		"Gatekeeper": {
			"Templates and constraints are kept as they are.",
			bundle.Options{Dialect: bundle.Dialect{Format: policy.FormatGatekeeper}},
			[]string{"t/template.yaml", template, "c/all.yml", constraint, "t/src.rego", "package noteam"},
			bundle.Manifest{Roots: []string{""}, Format: policy.FormatGatekeeper},
			[]string{".manifest", "c/all.yml", "t/template.yaml"}, []string{"no team"},
		},
		"OwnManifest": {
			"A manifest in the directory speaks where no option does.", bundle.Options{},
			[]string{"team.rego", native, ".manifest", `{"revision": "r7", "roots": ["acme", "/lists/"], "metadata": {"gitgate.dev/format": "Gitgate"}}`},
			bundle.Manifest{Revision: "r7", Roots: []string{"acme", "lists"}, RegoVersion: policy.RegoV1, Format: policy.FormatGitgate},
			[]string{".manifest", "team.rego"}, []string{"no team"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			raw, b := build(t, tc.options, tc.dir...)
			if diff := cmp.Diff(tc.manifest, b.Manifest()); diff != "" {
				t.Errorf("%s\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.files, b.Files()); diff != "" {
				t.Errorf("%s\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.denials, denials(t, b)); diff != "" {
				t.Errorf("%s\n%s", tc.reason, diff)
			}
			again, _ := build(t, tc.options, tc.dir...)
			if !bytes.Equal(raw, again) {
				t.Error("the same files gave other bytes")
			}
		})
	}
}

// TestBuildOPA has OPA's own reader read what we build.
func TestBuildOPA(t *testing.T) {
	raw, _ := build(t, bundle.Options{Revision: "r1"}, "a/team.rego", native, "a/data.json", `{"x": 1}`)
	b, err := opa.NewReader(bytes.NewReader(raw)).Read()
	if err != nil {
		t.Fatal(err)
	}
	if b.Manifest.Revision != "r1" || *b.Manifest.RegoVersion != 1 || len(b.Modules) != 1 || b.Data["a"] == nil {
		t.Errorf("OPA read %+v, %v", b.Manifest, b.Data)
	}
}

func TestBuildRefuses(t *testing.T) {
	big := strings.Repeat("#", 300)
	for name, tc := range map[string]struct {
		reason  string
		options bundle.Options
		dir     fstest.MapFS
		want    string
	}{
		"Syntax":       {"What does not parse is not shipped.", bundle.Options{}, tree("a.rego", "package a\ndeny["), "a.rego:2"},
		"Strict":       {"What lint calls an error is not shipped.", bundle.Options{}, tree("a.rego", "package a\ndeny contains \"x\" if { y := 1 }"), "a.rego:2"},
		"NoRule":       {"A bundle without rules would let everything pass.", bundle.Options{}, tree("a.rego", "package a\nx := 1"), "deny"},
		"Nothing":      {"An empty directory is a mistake.", bundle.Options{}, tree("README.md", ""), "deny"},
		"WrongFormat":  {"Templates are no modules.", bundle.Options{Dialect: bundle.Dialect{Format: policy.FormatGatekeeper}}, tree("a.rego", native), "template"},
		"UnknownOne":   {"A format that nobody knows.", bundle.Options{Dialect: bundle.Dialect{Format: "Kyverno"}}, tree("a.rego", native), "Kyverno"},
		"Roots":        {"The roots of the directory's manifest hold.", bundle.Options{}, tree("a.rego", native, ".manifest", `{"roots": ["other"]}`), "do not cover the package acme"},
		"Link":         {"A link would be followed.", bundle.Options{}, fstest.MapFS{"a.rego": {Data: []byte(native)}, "b.rego": {Mode: fs.ModeSymlink, Data: []byte("/etc/passwd")}}, "b.rego: a link"},
		"Shadow":       {"Data at the path of a rule.", bundle.Options{}, tree("a.rego", native, "acme/data.json", `{"deny": []}`), "acme/data.json"},
		"BadManifest":  {"A manifest that is none.", bundle.Options{}, tree("a.rego", native, ".manifest", "{"), ".manifest"},
		"LargeFile":    {"One file is bounded.", bundle.Options{Limits: bundle.Limits{FileBytes: 200}}, tree("a.rego", big), "more than 200 bytes"},
		"LargeTree":    {"And all together.", bundle.Options{Limits: bundle.Limits{Content: 500}}, tree("a.rego", big, "b.rego", big), "more than 500 bytes"},
		"ManyFiles":    {"And their number.", bundle.Options{Limits: bundle.Limits{Entries: 1}}, tree("a.rego", native, "b.rego", native), "more than 1 files"},
		"BadRevision":  {"A revision is shown.", bundle.Options{Revision: "a\x1b[2J"}, tree("a.rego", native), "revision"},
		"DeepManifest": {"A manifest is small.", bundle.Options{}, tree("a.rego", native, ".manifest", strings.Repeat(" ", 70<<10)), ".manifest: more than"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := bundle.Build(t.Context(), tc.dir, tc.options)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s\nBuild() = %v, want %q", tc.reason, err, tc.want)
			}
			if large := strings.Contains(tc.want, "more than"); large != errors.Is(err, bundle.ErrLimit) {
				t.Errorf("%v is ErrLimit: %t, want %t", err, !large, large)
			}
		})
	}
}
