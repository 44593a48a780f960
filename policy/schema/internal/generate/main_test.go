package main

import (
	"os"
	"path/filepath"
	"testing"
)

const top = "../../../.."

// TestCurrent holds that the archive is what this program makes of the module that
// it is stamped with. The module is fetched if it is not there, as for the control
// plane of other tests.
func TestCurrent(t *testing.T) {
	path := filepath.Join(top, "policy", "schema", "kubernetes.zip")
	want, err := stampOf(top)
	if err != nil {
		t.Fatal(err)
	}
	have, err := readArchive(path)
	if err != nil {
		t.Fatal(err)
	}
	if !have.current(want) {
		t.Errorf("the stamp is %+v, want %+v: run make generate", have.stamp, want)
	}
	dir, err := moduleDir(top, want.Module)
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := reduce(filepath.Join(dir, "api", "openapi-spec", "v3"), want.version())
	if err != nil {
		t.Fatal(err)
	}
	if !fresh.equal(have) {
		t.Error("the archive holds something else: run make generate")
	}
	if fi, err := os.Stat(path); err != nil || fi.Size() > 1<<20 {
		t.Errorf("the archive is %d bytes: %v", fi.Size(), err)
	}
}

// TestStamp holds that a stamp tells of every change.
func TestStamp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.zip")
	made := stamp{Module: "m@v1", Sum: "h1:x", Program: "p"}
	a := archive{entries: map[string][]byte{"a.json": []byte("{}"), "b.json": []byte("[]")}}
	if err := a.write(path, made); err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	have, err := readArchive(path)
	if err != nil || !have.current(made) || !have.equal(a) {
		t.Fatalf("read back: %v, %+v", err, have)
	}
	if err := have.write(path, made); err != nil {
		t.Fatal(err)
	}
	if second, err := os.ReadFile(path); err != nil || string(first) != string(second) {
		t.Errorf("written twice it differs: %v", err)
	}
	for name, change := range map[string]func(*archive, *stamp){
		"Module":  func(_ *archive, s *stamp) { s.Module = "m@v2" },
		"Sum":     func(_ *archive, s *stamp) { s.Sum = "h1:y" },
		"Program": func(_ *archive, s *stamp) { s.Program = "q" },
		"Entry":   func(a *archive, _ *stamp) { a.entries["a.json"] = []byte("{ }") },
		"More":    func(a *archive, _ *stamp) { a.entries["c.json"] = nil },
		"Less":    func(a *archive, _ *stamp) { delete(a.entries, "b.json") },
	} {
		t.Run(name, func(t *testing.T) {
			have, err := readArchive(path)
			if err != nil {
				t.Fatal(err)
			}
			want := made
			change(&have, &want)
			if have.current(want) {
				t.Error("nobody noticed")
			}
		})
	}
}

// TestNothingToDo holds that a current archive is left alone without the module.
func TestNothingToDo(t *testing.T) {
	t.Setenv("GOPROXY", "off")
	t.Setenv("GOMODCACHE", t.TempDir())
	if err := run(top, false); err != nil {
		t.Errorf("run() = %v", err)
	}
	if err := run(top, true); err == nil {
		t.Error("it did not need the module after all")
	}
}
