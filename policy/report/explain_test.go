package report

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policy/verdict"
)

// declaredReasons reads the reasons from the source of policy/verdict.
func declaredReasons(t *testing.T) []verdict.Reason {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../verdict/reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []verdict.Reason
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if typ, ok := spec.Type.(*ast.Ident); !ok || typ.Name != "Reason" {
			return true
		}
		for _, v := range spec.Values {
			s, err := strconv.Unquote(v.(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, verdict.Reason(s))
		}
		return true
	})
	if len(out) < 60 {
		t.Fatalf("found only %d reasons in the source", len(out))
	}
	return out
}

func TestEveryReasonIsExplained(t *testing.T) {
	declared := declaredReasons(t)
	for _, r := range declared {
		if _, ok := Explain(r); !ok {
			t.Errorf("%s has no explanation: add one to reasons/", r)
		}
	}
	for _, r := range Reasons() {
		if !slices.Contains(declared, r) {
			t.Errorf("%s is explained and is no reason", r)
		}
	}
	if _, ok := Explain("Nonsense"); ok {
		t.Error("what is no reason is explained")
	}
}

func TestCatalogue(t *testing.T) {
	total := 0
	for _, stage := range verdict.Stages() {
		data, err := reasonFiles.ReadFile("reasons/" + string(stage) + ".md")
		if err != nil {
			t.Fatal(err)
		}
		list, err := parseReasons(string(data))
		if err != nil {
			t.Errorf("%s.md: %v", stage, err)
		}
		if n := strings.Count(string(data), "\n## "); n != len(list) {
			t.Errorf("%s.md: %d sections, and %d of them could be read", stage, n, len(list))
		}
		total += len(list)
	}
	if total != len(Reasons()) {
		t.Errorf("%d sections for %d reasons: one is explained twice", total, len(Reasons()))
	}
	for _, r := range Reasons() {
		e, _ := Explain(r)
		for what, text := range map[string]string{"title": e.Title, "meaning": e.Meaning, "why": e.Why, "next": e.Next, "fix": e.Fix} {
			if strings.TrimSpace(text) == "" || Printable(strings.ReplaceAll(text, "\n", "")) != strings.ReplaceAll(text, "\n", "") &&
				!strings.Contains(text, "\t") {
				t.Errorf("%s: the %s is empty or not printable", r, what)
			}
		}
		if len(e.Next) > 180 || strings.ContainsAny(e.Next+e.Title, "\n") || strings.HasSuffix(e.Title, ".") {
			t.Errorf("%s: title and next are one line each, and next is short: %q", r, e.Next)
		}
		if strings.Count(e.Fix, "\n```")%2 != 0 || strings.Count(e.Next, "`")%2 != 0 || strings.Contains(e.Meaning+e.Why, "\n") {
			t.Errorf("%s: a block of code is not closed, or stands where only text may", r)
		}
		if len(e.Stages) == 0 || !slices.IsSortedFunc(e.Stages, func(a, b verdict.Stage) int {
			return slices.Index(verdict.Stages(), a) - slices.Index(verdict.Stages(), b)
		}) {
			t.Errorf("%s: the stages %q are not in order", r, e.Stages)
		}
	}
}

func TestParseReasonsRefuses(t *testing.T) {
	const good = "# x\n\n## A: title\n\nStages: commit\n\nMeaning: m\n\nWhy: w\n\nNext: n\n\nFix: f\n\nmore\n"
	if list, err := parseReasons(good); err != nil || len(list) != 1 || list[0].Fix != "f\n\nmore" {
		t.Fatalf("the good one gives %+v, %v", list, err)
	}
	for name, bad := range map[string]string{
		"NoTitle":      strings.Replace(good, "A: title", "A", 1),
		"UnknownStage": strings.Replace(good, "commit", "lunch", 1),
		"MissingWhy":   strings.Replace(good, "Why: w\n\n", "", 1),
		"WrongOrder":   strings.Replace(good, "Next: n\n\nFix: f", "Fix: f\n\nNext: n", 1),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := parseReasons(bad); err == nil {
				t.Error("no error")
			}
		})
	}
}
