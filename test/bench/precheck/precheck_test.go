package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/policy/schema"
	"gitgate.dev/gitgate/test/bench/internal/measure"
	"gitgate.dev/gitgate/test/testkit/lab"
)

// The benchmark starts itself, as floors and to launch what it measures.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "launch" || os.Args[1] == "floor") {
		main()
		return
	}
	os.Exit(m.Run())
}

// Everything runs, and all programs agree: the whole benchmark on small
// repositories, without conftest.
func TestQuick(t *testing.T) {
	gitgate, err := lab.Binary(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var out, progress bytes.Buffer
	if err := run(t.Context(), []string{"-quick", "-gitgate", gitgate}, &out, &progress); err != nil {
		t.Fatalf("%v\n%s", err, &progress)
	}
	for _, want := range []string{"500 objects in 50 files", "40 rules", "5 objects of the\nlarge repository were denied", "| Cold, 500 objects | 0."} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}

// What is missing, or another file, is told: that conftest reads bundles hangs on it.
func TestSameFiles(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	if err := sameFiles(dir, other); err == nil {
		t.Error("nothing is the same as nothing")
	}
	for i, content := range []string{"", "other", "same"} {
		if err := os.WriteFile(filepath.Join(dir, "a.rego"), []byte("same"), 0o600); err != nil {
			t.Fatal(err)
		}
		if content != "" {
			if err := os.WriteFile(filepath.Join(other, "a.rego"), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := sameFiles(dir, other); (err == nil) != (i == 2) {
			t.Errorf("with %q: %v", content, err)
		}
	}
}

var kubernetes = sync.OnceValues(func() ([]document, error) { return readDocuments(context.Background()) })

// The manifests are what the figures are about: whole objects, each under a name
// of its own, and the rest as Kubernetes has it.
func TestManifests(t *testing.T) {
	docs, err := kubernetes()
	if err != nil {
		t.Fatal(err)
	}
	files := manifests(docs, 2*len(docs))
	if want := (2*len(docs) + objectsPerFile - 1) / objectsPerFile; len(files) != want {
		t.Errorf("%d files, want %d", len(files), want)
	}
	var objects []map[string]any
	for i := range len(files) {
		for _, text := range documentLine.Split(files[fileName(i)], -1)[1:] {
			o, err := decodeYAML(text)
			if err != nil {
				t.Fatalf("%v in\n%s", err, text)
			}
			objects = append(objects, o)
			if strings.Contains(text, "image: ") && o["kind"] != "ConfigMap" && !strings.Contains(text, "@sha256:") {
				t.Errorf("an image without a digest in\n%s", text)
			}
		}
	}
	if len(objects) != 2*len(docs) {
		t.Fatalf("%d objects, want %d", len(objects), 2*len(docs))
	}
	seen := map[string]bool{}
	for i, o := range objects {
		meta := o["metadata"].(map[string]any)
		name := meta["name"].(string)
		if seen[name] {
			t.Errorf("%s comes twice", name)
		}
		seen[name] = true
		meta["name"] = strings.TrimSuffix(name, name[strings.LastIndexByte(name, '-'):])
		if i < len(docs) {
			continue
		}
		if diff := cmp.Diff(objects[i-len(docs)], o); diff != "" {
			t.Errorf("copies of one manifest differ in more than their name:\n%s", diff)
		}
	}
}

func TestReadDocument(t *testing.T) {
	const account = "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: a\n"
	for name, tc := range map[string]struct {
		reason, text string
		want         string // a copy; empty if it is left out
	}{
		"Plain":     {"A name is where YAML says.", "# name: x\n" + account, "# name: x\n" + account[:len(account)-1] + "-00007\n"},
		"Quoted":    {"The name goes on within its quotes.", strings.Replace(account, " a\n", " \"a\" # b\n", 1), strings.Replace(account, " a\n", " \"a-00007\" # b\n", 1)},
		"JSON":      {"JSON is YAML.", `{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"a"}}`, `{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"a-00007"}}` + "\n"},
		"Template":  {"A template is no manifest.", strings.Replace(account, " a\n", " '{{ a }}'\n", 1), ""},
		"Variable":  {"Nor is what a script fills in.", strings.Replace(account, " a\n", " __PILLAR__A__\n", 1), ""},
		"Nameless":  {"An object has a name.", strings.Replace(account, "name:", "generateName:", 1), ""},
		"Secret":    {"Git does not hold Secrets in plain text.", strings.Replace(account, "ServiceAccount", "Secret", 1), ""},
		"Unknown":   {"gitgate knows no schema of it.", strings.Replace(account, "v1", "example.com/v1", 1), ""},
		"Invalid":   {"gitgate would deny it for its schema.", account + "spec: {}\n", ""},
		"Duplicate": {"gitgate would deny it for the key.", account + "kind: ServiceAccount\n", ""},
		"Nothing":   {"What is between separators may be empty.", "# nothing\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if d, ok := readDocument(t.Context(), schema.New(schema.Options{}), tc.text); ok {
				got = d.copyOf(7)
			}
			if got != tc.want {
				t.Errorf("%s\ngot %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}

func TestPinImages(t *testing.T) {
	const digest = "@sha256:3f85b7caad41a95462cf5b787d8a04604c8262cdcdf9a472b8c52ef83375fe15"
	for _, text := range []string{"  - image: \"a.example/b:1\"\n", "image: a # why\n", "  \"image\": \"a:1\",\n"} {
		if got := pinImages(text); !strings.Contains(got, "@sha256:") || len(got) != len(text)+len(digest) {
			t.Errorf("%q becomes %q", text, got)
		}
	}
	for _, text := range []string{"image: a" + digest + "\n", "imagePullPolicy: Always\n"} {
		if got := pinImages(text); got != text {
			t.Errorf("%q becomes %q", text, got)
		}
	}
}

func TestFlags(t *testing.T) {
	for name, args := range map[string][]string{
		"Output": {"-o", "yaml"}, "Objects": {"-objects", "4"}, "Rounds": {"-rounds", "0"}, "Argument": {"first"},
	} {
		t.Run(name, func(t *testing.T) {
			if o, err := parse(args, io.Discard); err == nil {
				t.Errorf("parse(%q) = %+v, want an error", args, o)
			}
		})
	}
	o, err := parse([]string{"-quick"}, io.Discard)
	if err != nil || !o.without || !o.noGator || o.rounds != 1 || !filepath.IsAbs(o.gitgate) {
		t.Errorf("parse(-quick) = %+v, %v", o, err)
	}
}

func TestRow(t *testing.T) {
	slow, quick := measure.Series{8, 10, 12}, measure.Series{2, 2, 3}
	for name, tc := range map[string]struct {
		reason string
		row    row
		ratio  string
		met    string
	}{
		"Faster":    {"8/2, 10/2 and 12/3 are 4 at the median.", row{Gitgate: quick, Conftest: slow}.faster(4), "4× less", "met"},
		"NotFaster": {"Nor are they more.", row{Gitgate: quick, Conftest: slow}.faster(4.1), "4× less", "**missed**"},
		"Slower":    {"A ratio below one is said the other way round.", row{Gitgate: slow, Conftest: quick}.faster(1), "4× more", "**missed**"},
		"Alone":     {"Without conftest nobody knows.", row{Gitgate: quick}.faster(4), "", "not known"},
		"Within":    {"4 times the floor is not within 3.", row{Gitgate: slow, Floor: quick}.within(3), "4× the floor", "**missed**"},
		"AtMost":    {"The median counts, not the worst.", row{Gitgate: quick, Conftest: slow}.atMost(2), "4× less", "met"},
		"NoGoal":    {"Some figures are only told.", row{Gitgate: quick, Floor: slow}, "0.250× the floor", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := tc.row.compare()
			if got.ratio() != tc.ratio || measure.Verdict(got.Goal, got.Met) != tc.met {
				t.Errorf("%s\n%q, %q, want %q, %q", tc.reason, got.ratio(), measure.Verdict(got.Goal, got.Met), tc.ratio, tc.met)
			}
		})
	}
}

// A missed goal is in the table and in what -check says.
func TestMissed(t *testing.T) {
	r := &report{Rows: []row{
		row{Name: "One", Unit: "s", Gitgate: measure.Series{3}, Conftest: measure.Series{6}}.faster(4.5).compare(),
		row{Name: "Two", Unit: "ms", Gitgate: measure.Series{3}}.atMost(150).compare(),
	}}
	if got := r.missed(); len(got) != 1 || got[0] != "One: 3 s, 2× less, want ≥ 4.50× less" {
		t.Errorf("missed = %q", got)
	}
	for _, want := range []string{"| One | 3 s | 6 s |  | 2× less | ≥ 4.50× less | **missed** |\n", "| Two | 3 ms |  |  |  | ≤ 150 ms | met |\n"} {
		if !strings.Contains(r.markdown(), want) {
			t.Errorf("no line %q in\n%s", want, r.markdown())
		}
	}
}

func TestOrder(t *testing.T) {
	s := &step{programs: map[column]func() (program, error){gitgateColumn: someProgram, conftestColumn: someProgram, hashColumn: someProgram}}
	even, odd := s.order(0), s.order(1)
	slices.Reverse(odd)
	if diff := cmp.Diff([]column{gitgateColumn, conftestColumn, hashColumn}, even); diff != "" || !slices.Equal(even, odd) {
		t.Errorf("order %q and, turned round, %q", even, odd)
	}
}

func someProgram() (program, error) { return program{}, nil }
