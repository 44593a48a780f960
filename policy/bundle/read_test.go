package bundle_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
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

// An entry is one of an archive; the zero type is a file.
type entry struct {
	name, content string
	kind          byte
	link          string
}

// pack makes an archive of any entries, which a bundle may not have.
func pack(t testing.TB, entries ...entry) []byte {
	t.Helper()
	return zip(t, unzipped(t, entries...))
}

func unzipped(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Linkname: e.link, Mode: 0o644, Size: int64(len(e.content))}
		if e.kind == 0 {
			h.Typeflag = tar.TypeReg
		}
		if e.kind == tar.TypeXGlobalHeader {
			h.Name, h.PAXRecords = "", map[string]string{"comment": "0123"}
			h.Mode = 0
		}
		if err := archive.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write([]byte(e.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zip(t testing.TB, raw []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

var rule = entry{name: "acme/team.rego", content: native}

func TestRead(t *testing.T) {
	b, err := bundle.Read(pack(t,
		entry{kind: tar.TypeXGlobalHeader},                                              // git archive
		entry{name: "./", kind: tar.TypeDir}, entry{name: "./acme/", kind: tar.TypeDir}, // tar
		entry{name: "/data.json", content: `{"lists": {"a": 1}}`}, // opa build
		entry{name: "./lists/data.yaml", content: "b: 2\n"},
		entry{name: "/.manifest", content: `{"revision": "r1", "roots": ["acme", "lists"], "rego_version": 1, "file_rego_versions": {"/x.rego": 1}}`},
		entry{name: "/.signatures.json", content: `{"signatures": ["x"]}`},
		entry{name: ".hidden/evil.rego", content: "package evil"},
		rule, entry{name: "acme/team_test.rego", content: "package elsewhere"}, entry{name: "README.md", content: "# Rules"},
	), bundle.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	want := bundle.Manifest{Revision: "r1", Roots: []string{"acme", "lists"}, RegoVersion: policy.RegoV1}
	if diff := cmp.Diff(want, b.Manifest()); diff != "" {
		t.Error(diff)
	}
	files := []string{".manifest", "README.md", "acme/team.rego", "acme/team_test.rego", "data.json", "lists/data.yaml"}
	if diff := cmp.Diff(files, b.Files()); diff != "" {
		t.Error(diff)
	}
	set, err := b.Set("s", bundle.Dialect{RegoVersion: policy.RegoV1})
	if err != nil {
		t.Fatal(err)
	}
	if lists := set.Data["lists"].(map[string]any); len(lists) != 2 || set.RegoVersion != policy.RegoV1 {
		t.Errorf("the set is %+v", set)
	}
	if diff := cmp.Diff([]string{"no team"}, denials(t, b)); diff != "" {
		t.Error(diff)
	}
	if err := fstest.TestFS(b.FS(), files...); err != nil {
		t.Error(err)
	}
	b.File("acme/team.rego")[0] = 'X'
	if b.File("acme/team.rego")[0] == 'X' || b.File("none") != nil {
		t.Error("the content of a bundle can be changed")
	}
}

// TestReadOPA reads what OPA's own writer makes, in the older dialect.
func TestReadOPA(t *testing.T) {
	var out bytes.Buffer
	b, err := opa.NewReader(bytes.NewReader(pack(t,
		entry{name: ".manifest", content: `{"revision": "r9", "rego_version": 0}`},
		entry{name: "main.rego", content: "package acme\n\ndeny[msg] { not input.object.metadata.labels.team; msg := data.texts.team }\n"},
		entry{name: "texts/data.json", content: `{"team": "no team"}`},
	))).Read()
	if err != nil {
		t.Fatal(err)
	}
	if err := opa.Write(&out, b); err != nil {
		t.Fatal(err)
	}
	got, err := bundle.Read(out.Bytes(), bundle.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"no team"}, denials(t, got)); diff != "" || got.Manifest().RegoVersion != policy.RegoV0 || got.Manifest().Revision != "r9" {
		t.Errorf("%+v\n%s", got.Manifest(), diff)
	}
}

func TestReadRefuses(t *testing.T) {
	whole := pack(t, rule)
	plain := unzipped(t, entry{name: "a.rego", content: "x"})
	for name, tc := range map[string]struct {
		reason string
		raw    []byte
		want   string
	}{
		"Empty":        {"Nothing is no bundle.", nil, "not a gzipped archive"},
		"Plain":        {"An archive has to be gzipped.", plain, "not a gzipped archive"},
		"NotTar":       {"And be an archive.", zip(t, bytes.Repeat([]byte("x"), 2000)), "not a tar archive"},
		"Truncated":    {"A download may end early.", whole[:len(whole)-20], "cut off or damaged"},
		"Checksum":     {"Or be damaged.", append(bytes.Clone(whole[:len(whole)-8]), 0, 0, 0, 0, 0, 0, 0, 0), "cut off or damaged"},
		"Trailing":     {"Another reader may see more than we do.", append(bytes.Clone(whole), "more"...), "something follows"},
		"TwoMembers":   {"gzip would go on.", append(bytes.Clone(whole), whole...), "something follows"},
		"AfterEnd":     {"What tar ends before.", zip(t, append(bytes.Clone(plain), "more"...)), "something follows"},
		"Twice":        {"Which one counts?", pack(t, rule, rule), "acme/team.rego: it is there twice"},
		"TwiceSpelt":   {"Spellings of one path are one.", pack(t, rule, entry{name: "./acme/team.rego", content: "package acme"}), "it is there twice"},
		"FileAndDir":   {"A file is no directory.", pack(t, rule, entry{name: "acme", content: "x"}), "acme: it is there twice"},
		"DirAndFile":   {"Nor the other way.", pack(t, entry{name: "acme", content: "x"}, rule), "acme: a file and a directory"},
		"Device":       {"A bundle has no devices.", pack(t, entry{name: "a.rego", kind: tar.TypeChar}), "neither a file nor a directory"},
		"Fifo":         {"Nor pipes.", pack(t, entry{name: "a.rego", kind: tar.TypeFifo}), "neither a file nor a directory"},
		"Root":         {"The root is no file.", patchedName(t, "."), "without a name"},
		"Wasm":         {"Compiled rules cannot be looked at.", pack(t, rule, entry{name: "policy.wasm"}), "policy.wasm: compiled rules"},
		"Delta":        {"A patch needs what it patches.", pack(t, entry{name: "/patch.json", content: `{"data": []}`}), "patch.json: a delta bundle"},
		"Proto":        {"One form of manifest is enough.", pack(t, rule, entry{name: ".manifest.pb"}), ".manifest.pb: write the manifest as JSON"},
		"DeepManifest": {"OPA takes one anywhere.", pack(t, rule, entry{name: "a/.manifest", content: "{}"}), "a/.manifest: a manifest stands at the root"},
		"NotJSON":      {"The manifest is JSON.", pack(t, rule, entry{name: ".manifest", content: "{"}), ".manifest: unexpected"},
		"TwoManifests": {"And one document.", pack(t, rule, entry{name: ".manifest", content: "{} {}"}), "more than one JSON"},
		"Resolvers":    {"It may refer to compiled rules.", pack(t, rule, entry{name: ".manifest", content: `{"wasm": [{"module": "x"}]}`}), "compiled rules"},
		"Rego9":        {"A dialect that nobody knows.", pack(t, rule, entry{name: ".manifest", content: `{"rego_version": 9}`}), "rego_version: 9"},
		"MixedRego":    {"A set has one dialect.", pack(t, rule, entry{name: ".manifest", content: `{"rego_version": 1, "file_rego_versions": {"*": 0}}`}), "several versions"},
		"UnsaidRego":   {"The dialect of some files says nothing of the others.", pack(t, rule, entry{name: ".manifest", content: `{"file_rego_versions": {"*": 0}}`}), "say rego_version"},
		"Overlap":      {"Roots do not overlap.", pack(t, rule, entry{name: ".manifest", content: `{"roots": ["acme", "acme/team"]}`}), "overlap"},
		"Format":       {"A format that nobody knows.", pack(t, rule, entry{name: ".manifest", content: `{"metadata": {"gitgate.dev/format": 7}}`}), "gitgate.dev/format"},
		"Revision":     {"A revision is shown to people.", pack(t, rule, entry{name: ".manifest", content: `{"revision": "\u001b[2J"}`}), "revision"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := bundle.Read(tc.raw, bundle.Limits{})
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.ContainsAny(err.Error(), "\x00\x1b\n") {
				t.Errorf("%s\nRead() = %v, want %q", tc.reason, err, tc.want)
			}
			if errors.Is(err, bundle.ErrLimit) {
				t.Errorf("%v is ErrLimit", err)
			}
		})
	}
}

// TestSetRefuses holds rules and data to the roots and to each other, and names both
// places.
func TestSetRefuses(t *testing.T) {
	manifest := func(roots string) entry { return entry{name: ".manifest", content: `{"roots": [` + roots + `]}`} }
	for name, tc := range map[string]struct {
		reason  string
		dialect bundle.Dialect
		entries []entry
		want    []string
	}{
		"Shadow":         {"Data at the path of a rule.", bundle.Dialect{}, []entry{rule, {name: "acme/data.json", content: `{"deny": []}`}}, []string{"acme/team.rego:3", "acme/data.json", "data.acme.deny"}},
		"ShadowAbove":    {"Data in the place of a package.", bundle.Dialect{}, []entry{rule, {name: "data.json", content: `{"acme": 1}`}}, []string{"acme/team.rego:3", "the data of data.json at data.acme "}},
		"ShadowDeep":     {"Data below a rule, from a file deeper down.", bundle.Dialect{}, []entry{rule, {name: "acme/deny/x/data.yaml", content: "y: 1"}}, []string{"acme/team.rego:3", "acme/deny/x/data.yaml", "data.acme.deny"}},
		"ShadowV0":       {"In the older dialect too.", bundle.Dialect{RegoVersion: policy.RegoV0}, []entry{{name: "a.rego", content: "package acme\ndeny[x] { x := 1 }"}, {name: "data.json", content: `{"acme": {"deny": {}}}`}}, []string{"a.rego:2", "data.json"}},
		"ShadowConftest": {"And in any file of conftest's.", bundle.Dialect{Format: policy.FormatConftest}, []entry{rule, {name: "acme/values.yaml", content: "deny: x"}}, []string{"acme/team.rego:3", "acme/values.yaml"}},
		"Package":        {"A package that the roots do not cover.", bundle.Dialect{}, []entry{rule, manifest(`"other", "acm"`)}, []string{"acme/team.rego:1", "do not cover the package acme"}},
		"PackageAbove":   {"A root below the package is not the package.", bundle.Dialect{}, []entry{rule, manifest(`"acme/deny"`)}, []string{"do not cover the package acme"}},
		"NoRoots":        {"No root at all covers nothing.", bundle.Dialect{}, []entry{rule, manifest("")}, []string{"do not cover the package acme"}},
		"Data":           {"Data that the roots do not cover.", bundle.Dialect{}, []entry{rule, manifest(`"acme"`), {name: "lists/data.json", content: `{"a": 1}`}}, []string{"lists/data.json", "do not cover data.lists"}},
		"DataBeside":     {"Data beside a root that is deeper.", bundle.Dialect{}, []entry{rule, manifest(`"acme", "lists/a"`), {name: "lists/data.json", content: `{"a": 1, "b": 2}`}}, []string{"lists/data.json", "do not cover data.lists.b"}},
		"Conflict":       {"Two values of one path.", bundle.Dialect{}, []entry{rule, {name: "data.json", content: `{"a": {"b": 1}}`}, {name: "a/data.json", content: `{"b": 2}`}}, []string{"data.json", "a/data.json", "data.a.b"}},
		"OtherFormat":    {"Another format than the bundle's.", bundle.Dialect{Format: policy.FormatConftest}, []entry{rule, {name: ".manifest", content: `{"metadata": {"gitgate.dev/format": "Gatekeeper"}}`}}, []string{"Gatekeeper, not Conftest"}},
		"OtherRego":      {"Another dialect than the bundle's.", bundle.Dialect{RegoVersion: policy.RegoV0}, []entry{rule, {name: ".manifest", content: `{"rego_version": 1}`}}, []string{"Rego v1, not v0"}},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := bundle.Read(pack(t, tc.entries...), bundle.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = b.Set("s", tc.dialect)
			var load *policy.LoadError
			if !errors.As(err, &load) {
				t.Fatalf("%s\nSet() = %v", tc.reason, err)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%s\nSet() = %v, want %q", tc.reason, err, want)
				}
			}
		})
	}
}

// TestSetTakes is what is near to what is refused.
func TestSetTakes(t *testing.T) {
	for name, entries := range map[string][]entry{
		"DataBesideRules": {rule, {name: "acme/data.json", content: `{"den": [], "denied": 1}`}},
		"RootIsRule":      {rule, {name: ".manifest", content: `{"roots": ["acme"]}`}, {name: "acme/lists/data.json", content: `{"deny": 1}`}},
		"DeepRoot":        {rule, {name: ".manifest", content: `{"roots": ["acme", "lists/a"]}`}, {name: "data.json", content: `{"lists": {"a": {"b": 1}}}`}},
		"TestElsewhere":   {rule, {name: ".manifest", content: `{"roots": ["acme"]}`}, {name: "x_test.rego", content: "package x_test"}},
	} {
		b, err := bundle.Read(pack(t, entries...), bundle.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"no team"}, denials(t, b)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// FuzzRead wants no panic, and what can be read to be read again as it was.
func FuzzRead(f *testing.F) {
	f.Add(unzipped(f, rule, entry{name: ".manifest", content: `{"revision": "r1"}`}))
	f.Add(unzipped(f, entry{name: "../x"}, entry{name: "a/", kind: tar.TypeDir}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := bundle.Read(zip(t, raw), bundle.Limits{Content: 1 << 20})
		if err != nil {
			return
		}
		for _, name := range b.Files() {
			if !fs.ValidPath(name) {
				t.Errorf("%q is no path", name)
			}
		}
		if _, err := b.Set("s", bundle.Dialect{}); err != nil {
			return
		}
		if got, err := fs.ReadFile(b.FS(), ".manifest"); err == nil && !bytes.Equal(got, b.File(".manifest")) {
			t.Error("the tree holds something else than the bundle")
		}
	})
}

func TestTree(t *testing.T) {
	files := bundle.Tree(map[string]string{"a.rego": "a", "b/c.rego": "bc", "b/d/e.json": "{}", "b.rego": ""})
	if err := fstest.TestFS(files, "a.rego", "b/c.rego", "b/d/e.json", "b.rego"); err != nil {
		t.Error(err)
	}
}
