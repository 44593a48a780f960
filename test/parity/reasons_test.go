package parity

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/test/testkit/lab"
)

// elsewhere are the reasons that no commit of the corpus can get in a verdict of
// gitgate check or the reconciler, and why. The reasons of the admission stage are
// the webhook's, and not listed one by one.
var elsewhere = map[verdict.Reason]string{
	verdict.HashMismatch:         "a fetch computes every hash anew, so nothing gets into the reconciler's clone under another name; verify/commit tests damaged stores",
	verdict.NonFastForward:       "the reconciler knows what it applied; the check judges a branch as if it were merged, and says as a note that it has not all of its base; see TestRewritten",
	verdict.SourceUnavailable:    "the reconciler fetches, the check does not; without a tree there is no verdict",
	verdict.TransparencyMismatch: "no version verifies entries of transparency logs yet",
	verdict.RepositoryNotTrusted: "without trust there is no verdict; see TestConfiguration",
	verdict.TrustInvalid:         "without trust there is no verdict; see TestConfiguration",
	verdict.Conflict:             "who else owns an object only the cluster knows; reconcile/apply tests it",
	verdict.HealthCheckFailed:    "health is awaited after a release was applied",
}

// TestEveryReason demands that each reason that exists is in the corpus, or that it
// is known why not.
func TestEveryReason(t *testing.T) {
	all := declared(t)
	w := begin(t)
	total := 0
	for _, trials := range w.corpus() {
		total += len(trials)
	}
	if len(w.ran) < total {
		if flag.Lookup("test.run").Value.String() == "" {
			t.Fatalf("only %d of %d commits were judged", len(w.ran), total)
		}
		t.Log("not all commits were judged: nothing to say of reasons")
		return
	}
	seen := map[verdict.Reason]bool{}
	for _, a := range w.ran {
		for _, raw := range append(a.check.Findings, a.reconciler.Findings...) {
			seen[decoded(t, raw).Reason] = true
		}
	}
	for reason, admission := range all {
		switch why := elsewhere[reason]; {
		case seen[reason] && why != "":
			t.Errorf("%s is in the corpus, and is said not to be: %s", reason, why)
		case !seen[reason] && why == "" && !admission:
			t.Errorf("no commit of the corpus gets %s: add one, or say why there is none", reason)
		}
		delete(seen, reason)
	}
	for reason := range seen {
		t.Errorf("%s is no reason of policy/verdict", reason)
	}
}

// declared reads the reasons from the source, for a constant cannot be listed
// otherwise: by reason, whether it is of the admission stage.
func declared(t *testing.T) map[verdict.Reason]bool {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(lab.ModuleRoot(), "policy/verdict/reason.go"), nil, parser.ParseComments)
	must(t, "the reasons", err)
	out := map[verdict.Reason]bool{}
	for _, d := range file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		admission := strings.Contains(g.Doc.Text(), "admission")
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			if name, ok := v.Type.(*ast.Ident); !ok || name.Name != "Reason" {
				continue
			}
			text, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			must(t, "the reasons", err)
			out[verdict.Reason(text)] = admission
		}
	}
	if len(out) < 50 {
		t.Fatalf("only %d reasons were read", len(out))
	}
	return out
}
