package main

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A testFunc is a test function that tests rows of the catalogue.
type testFunc struct {
	Package string
	Name    string
	// IDs are the rows that its name, or the names of its subtests, carry.
	IDs []string
	// Subtests tells that only the subtests carry ids: the others are not run.
	Subtests bool
}

var (
	idInName    = regexp.MustCompile(`^[GPYSIOK][1-9][0-9]*$`)
	idOfLiteral = regexp.MustCompile(`^([GPYSIOK][1-9][0-9]*)/`)
)

// discover finds the test functions of the rows in the source of the module.
func discover(root, module string, rows []row) ([]testFunc, error) {
	var found []testFunc
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return skipDir(root, file, d.Name())
		}
		if !strings.HasSuffix(file, "_test.go") {
			return nil
		}
		dir, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			return err
		}
		tests, err := testsIn(file, path.Join(module, filepath.ToSlash(dir)), ids(rows))
		found = append(found, tests...)
		return err
	})
	return found, err
}

// skipDir leaves out what go test ./... leaves out.
func skipDir(root, dir, name string) error {
	if dir == root {
		return nil
	}
	if name == "testdata" || name == "vendor" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
		return fs.SkipDir
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
		return fs.SkipDir // another module
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func testsIn(file, pkg string, wanted []string) ([]testFunc, error) {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var found []testFunc
	for _, decl := range parsed.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Recv != nil || !strings.HasPrefix(f.Name.Name, "Test") || f.Name.Name == "TestMain" {
			continue
		}
		t := testFunc{Package: pkg, Name: f.Name.Name, IDs: idsIn(f.Name.Name)}
		if len(t.IDs) == 0 {
			t.IDs, t.Subtests = idsOfSubtests(f), true
		}
		t.IDs = slices.DeleteFunc(t.IDs, func(id string) bool { return !slices.Contains(wanted, id) })
		if len(t.IDs) > 0 {
			found = append(found, t)
		}
	}
	return found, nil
}

// idsIn returns the ids in the name of a test: TestAttack_G3_DuplicateTree,
// TestG3, TestG3_Twice, TestPlan/P6/NoIdentity.
func idsIn(test string) (out []string) {
	for i, part := range strings.FieldsFunc(test, func(r rune) bool { return r == '_' || r == '/' }) {
		if i == 0 {
			part = strings.TrimPrefix(part, "Test")
		}
		if idInName.MatchString(part) && !slices.Contains(out, part) {
			out = append(out, part)
		}
	}
	return out
}

// idsOfSubtests reads the names of subtests off the strings in a test: "P6/Prune"
// as the key of a table, or "P6/" before a name.
func idsOfSubtests(f *ast.FuncDecl) (out []string) {
	ast.Inspect(f, func(n ast.Node) bool {
		lit, ok := n.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return true
		}
		text, err := strconv.Unquote(lit.Value)
		if err != nil {
			return true
		}
		if m := idOfLiteral.FindStringSubmatch(text); m != nil && !slices.Contains(out, m[1]) {
			out = append(out, m[1])
		}
		return true
	})
	return out
}

// pattern is what go test -run needs to run these tests and no others.
func pattern(tests []testFunc) string {
	var whole, parts, subtests []string
	for _, t := range tests {
		if !t.Subtests {
			whole = append(whole, t.Name)
			continue
		}
		parts = append(parts, t.Name)
		subtests = append(subtests, t.IDs...)
	}
	var out []string
	if len(whole) > 0 {
		out = append(out, "^("+alternatives(whole)+")$")
	}
	if len(parts) > 0 {
		out = append(out, "^("+alternatives(parts)+")$/^("+alternatives(subtests)+")$")
	}
	return strings.Join(out, "|")
}

func alternatives(names []string) string {
	slices.Sort(names)
	return strings.Join(slices.Compact(names), "|")
}

func packages(tests []testFunc) (out []string) {
	for _, t := range tests {
		out = append(out, t.Package)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
