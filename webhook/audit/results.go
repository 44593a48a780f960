package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"gitgate.dev/gitgate/policy/verdict"
)

// The outcomes that both formats of reports know.
const (
	resultPass  = "pass"
	resultFail  = "fail"
	resultWarn  = "warn"
	resultError = "error"
	resultSkip  = "skip" // excepted
)

const (
	// source is what reports call us.
	source = "gitgate"
	// reportPrefix begins the names of our reports; the UID of the object follows.
	reportPrefix = "gitgate-"
	// managedBy is the label by which we know them.
	managedBy = "app.kubernetes.io/managed-by"
	// digestAnnotation says what a report holds, so that it is not written again.
	digestAnnotation = "gitgate.dev/digest"
	// reportManager owns the fields of reports.
	reportManager = "gitgate-audit"
	// maxReportBytes bounds the results in one report: etcd takes a megabyte and a half
	// of an object as a whole.
	maxReportBytes = 900 << 10
	maxText        = 4 << 10
)

// A Result is what one rule says of an object.
type Result struct {
	Policy, Rule, Result, Reason, Message, Field string
	Severity, Category                           string
	// Exception, Owner, Why and Expires are of what was excepted.
	Exception, Owner, Why, Expires string
}

// resultsOf are the results of a set, in a stable order.
func resultsOf(set PolicySet, said Judgement) []Result {
	var out []Result
	spoke := map[string]bool{}
	judged := true // else the object could not be judged as a whole, and nothing passes
	for _, f := range said.Findings {
		judged = judged && (outcomeOf(f) != resultError || slices.Contains(said.Rules, f.Policy))
		spoke[f.Policy] = true
		out = append(out, resultOf(set, f, outcomeOf(f)))
	}
	for _, x := range said.Excepted {
		spoke[x.Policy] = true
		r := resultOf(set, x.Finding, resultSkip)
		r.Exception, r.Owner, r.Why, r.Expires = clipText(x.Exception), clipText(x.Owner), clipText(x.Why), x.Expires.UTC().Format(time.RFC3339)
		out = append(out, r)
	}
	for _, rule := range said.Rules {
		if judged && !spoke[rule] {
			out = append(out, resultOf(set, verdict.Finding{Policy: rule}, resultPass))
		}
	}
	slices.SortFunc(out, func(a, b Result) int {
		return strings.Compare(strings.Join(a.key(), "\x00"), strings.Join(b.key(), "\x00"))
	})
	return slices.Compact(out)
}

func resultOf(set PolicySet, f verdict.Finding, outcome string) Result {
	about := set.Rules[f.Policy]
	return Result{
		Policy: set.Name, Rule: ruleOf(set.Name, f.Policy), Result: outcome, Reason: string(f.Reason),
		Message: clipText(f.Message), Field: clipText(f.Field), Severity: about.Severity, Category: clipText(about.Category),
	}
}

func (r Result) key() []string {
	return []string{r.Policy, r.Rule, r.Result, r.Field, r.Message, r.Reason, r.Exception, r.Owner, r.Why, r.Expires}
}

// ruleOf is the rule in set/package.rule.
func ruleOf(set, policy string) string { return strings.TrimPrefix(policy, set+"/") }

// outcomeOf says in the words of reports what a finding is. What could not be decided
// is an error, and never a pass.
func outcomeOf(f verdict.Finding) string {
	switch {
	case f.Reason == verdict.PolicyError, f.Reason == verdict.PolicyTimeout, f.Reason == verdict.PolicyUndefined, f.Severity == verdict.Undetermined:
		return resultError
	case f.Severity == verdict.Deny:
		return resultFail
	}
	return resultWarn
}

func clipText(s string) string {
	if len(s) <= maxText {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	return strings.ToValidUTF8(s[:maxText-len("…")], "") + "…"
}

// A format is a kind of reports.
type format struct {
	group, version      string
	namespaced, cluster kindName
	source              bool // told of the report as a whole too
}

type kindName struct{ resource, kind string }

func (f format) gvr(k kindName) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: f.group, Version: f.version, Resource: k.resource}
}

func (f format) kindFor(namespace string) kindName {
	if namespace == "" {
		return f.cluster
	}
	return f.namespaced
}

// formats are those that we can write: OpenReports, and the one of the policy working
// group that it comes from. https://openreports.io,
// https://github.com/kubernetes-sigs/wg-policy-prototypes/tree/master/policy-report
var formats = []format{
	{"openreports.io", "v1alpha1", kindName{"reports", "Report"}, kindName{"clusterreports", "ClusterReport"}, true},
	{"wgpolicyk8s.io", "v1alpha2", kindName{"policyreports", "PolicyReport"}, kindName{"clusterpolicyreports", "ClusterPolicyReport"}, false},
}

// isReport reports whether a group holds reports, which nobody reports on.
func isReport(group string) bool {
	return slices.ContainsFunc(formats, func(f format) bool { return f.group == group })
}

// A reportID names a report. Without a group it stands for those of one object in all
// formats.
type reportID struct{ group, namespace, name string }

// baseOf names the reports on an object, by its UID as Kyverno does: an object that is
// made anew under the same name has another one.
func baseOf(id objectID, uid types.UID) reportID {
	name := reportPrefix + string(uid)
	if len(validation.IsDNS1123Subdomain(name)) > 0 || len(name) > 200 { // not of the API server's making
		sum := sha256.Sum256([]byte(uid))
		name = reportPrefix + hex.EncodeToString(sum[:16])
	}
	return reportID{"", id.namespace, name}
}

// documents makes the reports on an object in one format: one, or more if the results
// do not fit into one.
func (f format) documents(id objectID, uid types.UID, results []Result) []map[string]any {
	var out []map[string]any
	for n, part := range split(results) {
		out = append(out, f.document(id, uid, part, n))
	}
	return out
}

// split divides results by the size that they have in a report.
func split(results []Result) [][]Result {
	var out [][]Result
	first, size := 0, 0
	for i, r := range results {
		raw, err := json.Marshal(r.document())
		if err != nil {
			raw = make([]byte, maxText) // strings cannot fail
		}
		if size += len(raw) + 1; size > maxReportBytes && i > first {
			out = append(out, results[first:i])
			first, size = i, len(raw)+1
		}
	}
	return append(out, results[first:])
}

func (r Result) document() map[string]any {
	out := map[string]any{"source": source, "policy": r.Policy, "rule": r.Rule, "result": r.Result, "scored": r.Result != resultWarn && r.Result != resultSkip}
	for key, text := range map[string]string{"message": r.Message, "severity": r.Severity, "category": r.Category} {
		if text != "" {
			out[key] = text
		}
	}
	properties := map[string]any{}
	for key, text := range map[string]string{
		"reason": r.Reason, "field": r.Field, "exception": r.Exception, "exceptionOwner": r.Owner, "exceptionReason": r.Why, "exceptionExpires": r.Expires,
	} {
		if text != "" {
			properties[key] = text
		}
	}
	if len(properties) > 0 {
		out["properties"] = properties
	}
	return out
}

func (f format) document(id objectID, uid types.UID, results []Result, n int) map[string]any {
	scope := map[string]any{"apiVersion": id.gvk().GroupVersion().String(), "kind": id.kind, "name": id.name, "uid": string(uid)}
	if id.namespace != "" {
		scope["namespace"] = id.namespace
	}
	summary := map[string]any{resultPass: int64(0), resultFail: int64(0), resultWarn: int64(0), resultError: int64(0), resultSkip: int64(0)}
	list := make([]any, len(results))
	for i, r := range results {
		list[i] = r.document()
		summary[r.Result] = summary[r.Result].(int64) + 1
	}
	out := map[string]any{"scope": scope, "summary": summary, "results": list}
	if f.source {
		out["source"] = source
	}
	raw, err := json.Marshal(out)
	if err != nil {
		raw = nil
	}
	sum := sha256.Sum256(raw)
	out["apiVersion"], out["kind"] = f.group+"/"+f.version, f.kindFor(id.namespace).kind
	meta := map[string]any{
		"name": shardName(baseOf(id, uid).name, n), "labels": map[string]any{managedBy: source},
		"annotations": map[string]any{digestAnnotation: hex.EncodeToString(sum[:16])},
		"ownerReferences": []any{map[string]any{
			"apiVersion": scope["apiVersion"], "kind": id.kind, "name": id.name, "uid": string(uid),
		}},
	}
	if id.namespace != "" {
		meta["namespace"] = id.namespace
	}
	out["metadata"] = meta
	return out
}
