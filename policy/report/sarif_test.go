package report

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/rego"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/test/testkit/racing"
)

// validateSARIF holds a document against the schema of OASIS, by OPA's validator.
func validateSARIF(t *testing.T) func(t *testing.T, document string) {
	t.Helper()
	schema, err := os.ReadFile("testdata/sarif-schema-2.1.0.json")
	if err != nil {
		t.Fatal(err)
	}
	query, err := rego.New(rego.Query("result := json.match_schema(input.document, input.schema)")).PrepareForEval(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return func(t *testing.T, document string) {
		t.Helper()
		results, err := query.Eval(t.Context(), rego.EvalInput(map[string]any{"document": document, "schema": string(schema)}))
		if err != nil || len(results) != 1 {
			t.Fatalf("the schema cannot be asked: %v", err)
		}
		if result := results[0].Bindings["result"].([]any); result[0] != true {
			t.Errorf("not valid SARIF: %v", result[1])
		}
	}
}

func TestSARIFSchema(t *testing.T) {
	validate := validateSARIF(t)
	for name, r := range map[string]Report{"ordinary": ordinary(), "hostile": hostile(), "empty": {}} {
		t.Run(name, func(t *testing.T) { validate(t, write(t, "sarif", r, Options{})) })
	}
}

// TestSARIFSchemaRefuses proves that the validation can fail.
func TestSARIFSchemaRefuses(t *testing.T) {
	good := write(t, "sarif", ordinary(), Options{})
	validate := validateSARIF(t)
	validate(t, good)
	schema, _ := os.ReadFile("testdata/sarif-schema-2.1.0.json")
	query, err := rego.New(rego.Query("ok := json.match_schema(input.document, input.schema)[0]")).PrepareForEval(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][2]string{
		"Version": {`"version":"2.1.0"`, `"version":"2.2.0"`}, "Level": {`"level":"error"`, `"level":"fatal"`},
		"Line": {`"startLine":7`, `"startLine":0`}, "Unknown": {`"ruleIndex"`, `"ruleNumber"`},
	} {
		t.Run(name, func(t *testing.T) {
			bad := strings.ReplaceAll(good, change[0], change[1])
			results, err := query.Eval(t.Context(), rego.EvalInput(map[string]any{"document": bad, "schema": string(schema)}))
			if err != nil || bad == good || results[0].Bindings["ok"] != false {
				t.Errorf("the schema takes %s (%v)", change[1], err)
			}
		})
	}
}

func readSARIF(t *testing.T, r Report) sarifRun {
	t.Helper()
	var log sarifLog
	if err := json.Unmarshal([]byte(write(t, "sarif", r, Options{})), &log); err != nil {
		t.Fatal(err)
	}
	return log.Runs[0]
}

func TestSARIFResults(t *testing.T) {
	run := readSARIF(t, hostile())
	for _, res := range run.Results {
		uri := res.Locations[0].Physical.Artifact.URI
		u, err := url.Parse(uri)
		if err != nil || u.IsAbs() || u.Host != "" || u.RawQuery != "" || u.Fragment != "" ||
			strings.HasPrefix(u.Path, "/") || strings.HasPrefix(u.Path, "../") {
			t.Errorf("%q is no path below the root of the repository (%v)", uri, err)
		}
		if run.Tool.Driver.Rules[res.RuleIndex].ID != res.RuleID {
			t.Errorf("rule %d is not %q", res.RuleIndex, res.RuleID)
		}
		if strings.Contains(res.Message.Text, "](") {
			t.Errorf("the message holds a link: %q", res.Message.Text)
		}
	}
	if len(run.Results) < len(breakouts) || run.Invocations[0].Successful {
		t.Errorf("%d results, successful: %t", len(run.Results), run.Invocations[0].Successful)
	}
}

// TestSARIFLimits keeps GitHub's limits: it refuses a run with more than 25,000
// results or more than 10 MB compressed.
func TestSARIFLimits(t *testing.T) {
	racing.Skip(t)
	findings := make([]verdict.Finding, 60_000)
	seed := uint64(1)
	for i := range findings {
		var noise []byte
		for len(noise) < 2000 { // what does not compress
			seed ^= seed << 13
			seed ^= seed >> 7
			seed ^= seed << 17
			noise = fmt.Appendf(noise, "%x", seed)
		}
		findings[i] = verdict.Finding{Stage: verdict.StagePolicy, Severity: severities[i%4], Reason: verdict.PolicyDenied, Message: string(noise[:100+i%1900])}
	}
	for name, most := range map[string]int{"long": 2000, "short": 20} {
		t.Run(name, func(t *testing.T) {
			fs := slices.Clone(findings)
			for i, f := range fs {
				fs[i].Message = f.Message[:min(len(f.Message), most)]
			}
			r := Report{Verdicts: []Named{{"", judge("", 1, allStages, allStages...)(fs...)}}}
			out := write(t, "sarif", r, Options{})
			var zipped bytes.Buffer
			w := gzip.NewWriter(&zipped)
			if _, err := w.Write([]byte(out)); err != nil || w.Close() != nil {
				t.Fatal(err)
			}
			if zipped.Len() > 10<<20 {
				t.Errorf("%d bytes compressed", zipped.Len())
			}
			run := readSARIF(t, r)
			if len(run.Results) > maxListed || run.Results[0].Level != "error" || len(run.Invocations[0].Notifications) == 0 {
				t.Errorf("%d results, the first is of level %s", len(run.Results), run.Results[0].Level)
			}
		})
	}
}

// TestFingerprints proves that alerts stay the same when only lines and words
// change, and are told apart otherwise.
func TestFingerprints(t *testing.T) {
	base := verdict.Finding{Stage: verdict.StagePolicy, Reason: verdict.PolicyDenied, Severity: verdict.Deny, Message: "m",
		Object: "shop/Pod/a", File: "a.yaml", Line: 3, Field: "spec.x", Policy: "p/q"}
	prints := func(name string, fs ...verdict.Finding) []string {
		var out []string
		kept, _ := Report{Verdicts: []Named{{name, judge("", 1, allStages, allStages...)(fs...)}}}.worst(10)
		for _, e := range kept {
			out = append(out, e.fingerprint)
		}
		return out
	}
	want := prints("a/b", base)[0]
	for name, tc := range map[string]struct {
		reason string
		change func(*verdict.Finding)
		same   bool
	}{
		"Line":     {"Lines move with every edit above.", func(f *verdict.Finding) { f.Line = 99 }, true},
		"Message":  {"Numbers in messages change.", func(f *verdict.Finding) { f.Message = "other" }, true},
		"Severity": {"A rule may become stricter.", func(f *verdict.Finding) { f.Severity = verdict.Warn }, true},
		"Commit":   {"Each push has a new commit.", func(f *verdict.Finding) { f.Commit = "abc" }, true},
		"Object":   {"Another object is another alert.", func(f *verdict.Finding) { f.Object = "shop/Pod/b" }, false},
		"Field":    {"Another field is another alert.", func(f *verdict.Finding) { f.Field = "spec.y" }, false},
		"Policy":   {"Another rule is another alert.", func(f *verdict.Finding) { f.Policy = "p/r" }, false},
		"File":     {"GitHub keeps alerts by file.", func(f *verdict.Finding) { f.File = "b.yaml" }, false},
		"Reason":   {"Another reason is another alert.", func(f *verdict.Finding) { f.Reason = "X" }, false},
		"Shifted":  {"Texts must not run into each other.", func(f *verdict.Finding) { f.Object, f.Field = "shop/Pod/as", "pec.x" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := base
			tc.change(&f)
			if got := prints("a/b", f)[0]; (got == want) != tc.same {
				t.Errorf("%s\nsame: %t", tc.reason, got == want)
			}
		})
	}
	twice := prints("a/b", base, base)
	if twice[0] != want || twice[1] == want {
		t.Error("equal findings are told apart by their order")
	}
	if prints("a/c", base)[0] == want {
		t.Error("findings of two GitSyncs are told apart")
	}
	unsigned := verdict.Finding{Stage: verdict.StageCommit, Reason: verdict.UnsignedCommit, Commit: "a"}
	other := unsigned
	other.Commit = "b"
	if prints("", unsigned)[0] == prints("", other)[0] {
		t.Error("commits are told apart")
	}
}
