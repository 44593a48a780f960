package audit

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"gitgate.dev/gitgate/policy/verdict"
)

var podID = objectID{resource{schema.GroupVersionResource{Version: "v1", Resource: "pods"}, "Pod"}, "shop", "web"}

// TestShards proves that nothing is left out of reports that do not fit into one.
func TestShards(t *testing.T) {
	var findings []verdict.Finding
	for i := range 1000 {
		findings = append(findings, verdict.Finding{Policy: "set/p.deny", Severity: verdict.Deny, Reason: verdict.PolicyDenied,
			Message: fmt.Sprintf("%04d %s", i, strings.Repeat("x", 4000))})
	}
	results := resultsOf(PolicySet{Name: "set"}, Judgement{Rules: []string{"set/p.deny"}, Findings: findings})
	for _, f := range formats {
		documents := f.documents(podID, "u1", results)
		seen, names := 0, map[string]bool{}
		for _, d := range documents {
			raw, err := json.Marshal(d)
			if err != nil {
				t.Fatal(err)
			}
			if len(raw) > 1<<20 {
				t.Errorf("%s: a report of %d bytes", f.group, len(raw))
			}
			name := d["metadata"].(map[string]any)["name"].(string)
			if names[name] || baseName(name) != "gitgate-u1" {
				t.Errorf("%s: the name %q", f.group, name)
			}
			names[name] = true
			list := d["results"].([]any)
			seen += len(list)
			if got := d["summary"].(map[string]any)["fail"]; got != int64(len(list)) {
				t.Errorf("%s: the summary counts %v of %d", f.group, got, len(list))
			}
		}
		if len(documents) < 4 || seen != 1000 {
			t.Errorf("%s: %d results in %d reports, want 1000 in several", f.group, seen, len(documents))
		}
	}
}

func TestResults(t *testing.T) {
	deny := verdict.Finding{Policy: "set/p.deny", Severity: verdict.Deny, Reason: verdict.PolicyDenied, Message: "b"}
	first := deny
	first.Message = "a"
	for name, tc := range map[string]struct {
		reason   string
		rules    []string
		findings []verdict.Finding
		want     string
	}{
		"Passes":    {"A rule that finds nothing passes.", []string{"set/p.deny", "set/p.warn"}, nil, "pass p.deny|pass p.warn"},
		"Order":     {"The order of findings does not matter.", nil, []verdict.Finding{deny, first}, "fail p.deny a|fail p.deny b"},
		"Once":      {"The same is said once.", nil, []verdict.Finding{deny, deny}, "fail p.deny b"},
		"Error":     {"What failed is an error, whatever it would have meant.", []string{"set/p.deny"}, []verdict.Finding{{Policy: "set/p.deny", Severity: verdict.Deny, Reason: verdict.PolicyError}}, "error p.deny"},
		"Undecided": {"What is not known is no pass.", nil, []verdict.Finding{{Policy: "set/p.deny", Severity: verdict.Undetermined, Reason: verdict.PolicyDenied}}, "error p.deny"},
		"Info":      {"What a set notes only is a warning.", nil, []verdict.Finding{{Policy: "set/p.deny", Severity: verdict.Info, Reason: verdict.PolicyDenied}}, "warn p.deny"},
		"Whole":     {"An object that could not be judged passes nothing.", []string{"set/p.deny"}, []verdict.Finding{{Severity: verdict.Deny, Reason: verdict.PolicyError, Message: "x"}}, "error  x"},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, r := range resultsOf(PolicySet{Name: "set"}, Judgement{Rules: tc.rules, Findings: tc.findings}) {
				got = append(got, strings.TrimRight(r.Result+" "+r.Rule+" "+r.Message, " "))
			}
			if g := strings.Join(got, "|"); g != tc.want {
				t.Errorf("%s\nresultsOf() = %q, want %q", tc.reason, g, tc.want)
			}
		})
	}
}

// TestNames proves that whatever a UID is, the report on it has a name.
func TestNames(t *testing.T) {
	for _, uid := range []types.UID{"", "00000000-0000-4000-8000-000000000001", "../../x", "A b\n", types.UID(strings.Repeat("a", 400))} {
		name := baseOf(podID, uid).name
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || len(name) > 100 || !strings.HasPrefix(name, reportPrefix) || len(name) == len(reportPrefix) {
			t.Errorf("uid %.20q: the name %q", uid, name)
		}
		for n := range 3 {
			if got := baseName(shardName(name, n)); got != name {
				t.Errorf("shard %d of %q is of %q", n, name, got)
			}
		}
	}
}
