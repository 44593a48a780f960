// Package arch holds the import rules of DESIGN.md as a test.
package arch

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "gitgate.dev/gitgate/"

// A rule says what a package of ours may never depend on, directly or through
// others, and which packages of ours it may import.
type rule struct {
	// ours lists the packages of ours that may be depended upon; "*" allows all.
	ours []string
	// never lists import path prefixes.
	never []string
	// stdOnly allows nothing but the standard library and ours.
	stdOnly bool
}

const (
	opa        = "github.com/open-policy-agent/opa"
	clientGo   = "k8s.io/client-go"
	ctrl       = "sigs.k8s.io/controller-runtime"
	k8s        = "k8s.io/"
	goGit      = "github.com/go-git/go-git"
	cosign     = "github.com/sigstore/cosign"
	sops       = "github.com/getsops/sops"
	admissions = module + "webhook"
)

var verifyAndVerdict = []string{"policy/verdict", "verify/commit", "verify/image"}

var (
	// lockAndBelow is what the parts of the webhook know of decisions.
	lockAndBelow = []string{"policy/verdict", "policy/desired", "webhook/lock"}
	// doorNever is what would bring keys, rules or Git to the admission path.
	doorNever = []string{opa, sops, cosign, goGit}
)

// rules is the table of DESIGN.md section 3.
var rules = map[string]rule{
	"policy/verdict":   {stdOnly: true},
	"policy/report":    {ours: []string{"policy/verdict"}, stdOnly: true},
	"policies":         {stdOnly: true},
	"policy":           {ours: []string{"policy/verdict"}, never: []string{clientGo, ctrl, "k8s.io/api", goGit, sops, cosign}},
	"policy/blockyaml": {ours: []string{}, never: []string{k8s, opa, goGit, sops, cosign}},
	"policy/author": {ours: []string{"policy", "policy/blockyaml", "policy/report", "policy/verdict"},
		never: []string{clientGo, ctrl, "k8s.io/api", goGit, sops, cosign}},
	"policy/bundle": {ours: []string{"policy", "policy/verdict"},
		never: []string{clientGo, ctrl, "k8s.io/api", goGit, sops, cosign}},
	"policy/gate":    {ours: verifyAndVerdict, never: []string{opa, ctrl, sops}},
	"policy/desired": {ours: []string{}, never: []string{opa, ctrl, goGit, sops, cosign}},
	"policy/schema": {ours: []string{"policy/desired", "policy/schema/internal/openapi"},
		never: []string{opa, ctrl, goGit, sops, cosign}},
	"policy/schema/internal/openapi":  {stdOnly: true},
	"policy/schema/internal/generate": {ours: []string{"policy/schema/internal/openapi"}, stdOnly: true},
	"verify/commit":                   {ours: []string{}, never: []string{k8s, ctrl, opa}},
	"verify/image":                    {ours: []string{}, never: []string{ctrl, opa}},
	"verify/bundle":                   {ours: []string{"verify/image"}, never: []string{ctrl, opa, cosign}},
	"secrets":                         {ours: []string{}, never: []string{clientGo, ctrl, opa}},
	"reconcile/api/v1alpha1":          {ours: []string{}, never: []string{opa, sops, cosign, goGit}},
	"reconcile/source":                {ours: []string{}, never: []string{k8s, ctrl, opa}},
	"reconcile/render":                {ours: append(verifyAndVerdict, "policy/blockyaml", "policy/gate"), never: []string{opa, ctrl, sops}},
	"reconcile/outline":               {ours: append(verifyAndVerdict, "policy/blockyaml", "policy/gate", "reconcile/render"), never: []string{opa, ctrl, sops}},
	"reconcile/apply":                 {ours: append(verifyAndVerdict, "policy/gate", "policy/desired"), never: []string{opa, sops}},
	"reconcile": {ours: append(verifyAndVerdict, "policy/blockyaml", "policy/gate", "policy/desired", "reconcile/api/v1alpha1",
		"reconcile/source", "reconcile/render", "reconcile/apply"), never: []string{opa, sops, admissions}},
	"webhook/lock":               {ours: []string{"policy/verdict", "policy/desired"}, never: doorNever},
	"webhook/certs":              {ours: []string{}, never: doorNever},
	"webhook/live":               {ours: lockAndBelow, never: doorNever},
	"webhook/audit":              {ours: lockAndBelow, never: doorNever},
	"webhook/registration":       {ours: lockAndBelow, never: doorNever},
	"webhook/breakglass":         {ours: []string{"reconcile/api/v1alpha1"}, never: doorNever},
	"webhook/doctor":             {ours: append(lockAndBelow, "reconcile/api/v1alpha1", "webhook/registration"), never: doorNever},
	"webhook":                    {ours: append(lockAndBelow, "webhook/certs"), never: doorNever},
	"deploy":                     {stdOnly: true},
	"cmd/gitgate/internal/start": {ours: []string{}, stdOnly: true},
	"cmd/gitgate":                {ours: []string{"*"}, never: []string{module + "test"}},
}

// secretsMayNotImport holds of the package itself: its libraries do both, for
// providers that it never calls.
var directNever = map[string][]string{
	"secrets": {"os/exec", "os"},
}

type pkg struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func list(t *testing.T) map[string]pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Imports,Deps", module+"...")
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatalf("go list: %v", err)
	}
	pkgs := map[string]pkg{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs[p.ImportPath] = p
	}
}

func TestImports(t *testing.T) {
	pkgs := list(t)
	for name, r := range rules {
		p, ok := pkgs[module+name]
		if !ok {
			t.Errorf("%s: the rule is for a package that does not exist", name)
			continue
		}
		for _, problem := range r.problems(p) {
			t.Errorf("%s %s", name, problem)
		}
		for _, path := range directNever[name] {
			if slices.Contains(p.Imports, path) {
				t.Errorf("%s imports %s", name, path)
			}
		}
	}
}

func (r rule) problems(p pkg) []string {
	var out []string
	for _, dep := range p.Deps {
		own, isOwn := strings.CutPrefix(dep, module)
		switch {
		case isOwn && !slices.Contains(r.ours, "*") && !slices.Contains(r.ours, own):
			out = append(out, "depends on "+dep)
		case !isOwn && r.stdOnly && strings.Contains(strings.Split(dep, "/")[0], "."):
			out = append(out, "depends on "+dep+", which is not in the standard library")
		case slices.ContainsFunc(r.never, func(n string) bool { return strings.HasPrefix(dep, n) }):
			out = append(out, "depends on "+dep)
		}
	}
	return out
}

// TestEveryPackageHasARule keeps new packages from slipping past the table.
func TestEveryPackageHasARule(t *testing.T) {
	for path := range list(t) {
		name, own := strings.CutPrefix(path, module)
		if !own || strings.HasPrefix(name, "test/") {
			continue
		}
		if _, ok := rules[name]; !ok {
			t.Errorf("%s has no rule in test/arch: add it to the table of DESIGN.md and here", name)
		}
	}
}

// TestProblems proves that the rules can fail.
func TestProblems(t *testing.T) {
	p := pkg{Deps: []string{"fmt", module + "webhook", opa + "/v1/rego", "example.com/x"}}
	for name, tc := range map[string]struct {
		rule rule
		want int
	}{
		"Ours":     {rule{ours: []string{"policy"}}, 1},
		"Never":    {rule{ours: []string{"*"}, never: []string{opa}}, 1},
		"StdOnly":  {rule{stdOnly: true}, 3},
		"Anything": {rule{ours: []string{"*"}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tc.rule.problems(p); len(got) != tc.want {
				t.Errorf("problems() = %q, want %d", got, tc.want)
			}
		})
	}
}
