package gate_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"gitgate.dev/gitgate/policy/gate"
	"gitgate.dev/gitgate/policy/verdict"
)

// stock applies n ConfigMaps, m0 to m<n-1>, and returns their files.
func (s *site) stock(n int) (files []string) {
	s.t.Helper()
	change := map[string]string{}
	for i := range n {
		name := fmt.Sprintf("app/m%d.yaml", i)
		change[name] = configMap(fmt.Sprintf("m%d", i), `"1"`)
		files = append(files, name)
	}
	s.allowed(s.push("stock", change))
	s.cluster.live, s.cluster.judged = s.previous, false
	return files
}

func atMost(n int) func(int) int { return func(int) int { return n } }

func TestDeletionBudget(t *testing.T) {
	for name, tc := range map[string]struct {
		reason  string
		budget  func(int) int
		message string
		want    []verdict.Reason
	}{
		"Within":   {"Two of ten are within a budget of two.", atMost(2), "tidy", nil},
		"Over":     {"One too many.", atMost(1), "tidy", []verdict.Reason{verdict.DeletionBudget}},
		"None":     {"Without a budget nothing may be deleted.", nil, "tidy", []verdict.Reason{verdict.DeletionBudget}},
		"Negative": {"A broken budget allows nothing.", atMost(-1), "tidy", []verdict.Reason{verdict.DeletionBudget}},
		"Approved": {"The signed message says how many.", atMost(0), "tidy\n\nGitgate-Approve-Deletions: 2\n", nil},
		"TooFew":   {"An approval of one is not one of two.", atMost(0), "tidy\n\nGitgate-Approve-Deletions: 1\n", []verdict.Reason{verdict.DeletionBudget}},
		"Quoted":   {"Only a line of its own approves.", atMost(0), "tidy\n\n> Gitgate-Approve-Deletions: 2\n", []verdict.Reason{verdict.DeletionBudget}},
		"NaN":      {"A number that no one could mean approves nothing.", atMost(0), "tidy\n\nGitgate-Approve-Deletions: 99999999\n", []verdict.Reason{verdict.DeletionBudget}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.budget = tc.budget
			files := s.stock(10)
			_, v := s.admit(s.push(tc.message, nil, files[0], files[1]))
			if v.Allowed() != (tc.want == nil) {
				t.Fatalf("%s\nverdict %s", tc.reason, v.Summary())
			}
			if tc.want != nil && (len(v.Blocking()) != 1 || v.Blocking()[0].Reason != tc.want[0] || v.Blocking()[0].Stage != verdict.StagePolicy) {
				t.Errorf("%s\nfindings %v", tc.reason, v.Blocking())
			}
		})
	}
}

// The inventory comes from the status. Whoever can write there must not thereby
// raise the budget.
func TestDeletionBudgetOfForgedInventory(t *testing.T) {
	s := newSite(t)
	s.budget = func(inventory int) int { return inventory / 4 }
	files := s.stock(10)
	head := s.push("tidy", nil, files[:5]...)
	release, v := s.open().Admit(t.Context(), gate.Request{Previous: s.previous, Inventory: 100_000, Commit: s.request(head)})
	if release != nil || v.Blocking()[0].Reason != verdict.DeletionBudget {
		t.Errorf("verdict %s", v.Summary())
	}
}

const keepMaps = `package acme
deny contains "kept" if { input.operation == "DELETE"; input.oldObject.data.k == "1" }
`

// What is deleted is judged as Git declared it, not as somebody left it.
func TestDeletionIsJudged(t *testing.T) {
	s := newSite(t)
	s.rego, s.budget = keepMaps, atMost(10)
	files := s.stock(2)
	edited := gate.Object{Unstructured: s.previous[0].DeepCopy()}
	edited.Object["data"] = map[string]any{"k": "edited so that the rule looks away"}
	s.cluster.live = []gate.Object{edited, s.previous[1]}
	s.denied(s.push("tidy", nil, files[0]), verdict.PolicyDenied)
}

// An object that can only be changed by making it anew is deleted too: rules and
// budget see it once the dry run has told.
func TestRecreationIsADeletion(t *testing.T) {
	for name, tc := range map[string]struct {
		rego   string
		budget func(int) int
		want   []verdict.Reason
	}{
		"Rule":    {keepMaps, atMost(10), []verdict.Reason{verdict.PolicyDenied}},
		"Budget":  {quiet, atMost(1), []verdict.Reason{verdict.DeletionBudget}},
		"Allowed": {quiet, atMost(2), nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.rego, s.budget = tc.rego, tc.budget
			files := s.stock(3)
			change := map[string]string{files[0]: configMap("m0", `"2"`), files[1]: configMap("m1", `"2"`)}
			head := s.push("change", change)
			s.cluster.recreate = s.previous[:2]
			if tc.want == nil {
				s.allowed(head)
				return
			}
			_, v := s.admit(head)
			if v.Allowed() || v.Blocking()[0].Reason != tc.want[0] || v.Blocking()[0].Stage != verdict.StagePolicy {
				t.Errorf("verdict %s", v.Summary())
			}
		})
	}
}

func TestUnknownDeletionsAreUndetermined(t *testing.T) {
	s := newSite(t)
	s.cluster.deletions = errors.New("the API server is away")
	v := s.denied(s.push("one", map[string]string{"app/a.yaml": configMap("a", `"1"`)}), verdict.DryRunRejected)
	if !v.Undetermined() {
		t.Errorf("verdict %s is final", v.Summary())
	}
}

// What the cluster would say of a revision that was denied is noise: here that it
// cannot tell what would be deleted, because a Secret is not what it should be.
func TestDeniedRevisionIsNotPutToTheCluster(t *testing.T) {
	notAString := strings.Replace(secret, "password: "+canary, "password: [1, 2]", 1)
	for name, tc := range map[string]struct {
		reason string
		files  func(s *site) map[string]string
		want   verdict.Reason
	}{
		"Secret": {"A file that does not decrypt to strings.", func(s *site) map[string]string {
			return map[string]string{"app/db.yaml": s.encrypt("db.yaml", notAString, "")}
		}, verdict.InvalidManifest},
		"Plaintext": {"A Secret that was never encrypted.", func(*site) map[string]string {
			return map[string]string{"app/db.yaml": secret}
		}, verdict.PlaintextSecret},
		"Rule": {"An object that a rule denies.", func(*site) map[string]string {
			return map[string]string{"app/m.yaml": configMap("m", `"bad"`)}
		}, verdict.PolicyDenied},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.rego = "package acme\ndeny contains \"bad\" if input.object.data.k == \"bad\"\n"
			s.cluster.deletions = errors.New("the Secret cannot be prepared")
			s.denied(s.push("one", tc.files(s)), tc.want)
			if s.cluster.asked > 0 {
				t.Errorf("%s\nthe cluster was asked %d times", tc.reason, s.cluster.asked)
			}
		})
	}
}
