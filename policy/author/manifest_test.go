package author_test

import (
	"strings"
	"testing"

	"gitgate.dev/gitgate/policies"
	"gitgate.dev/gitgate/policy/author"
)

const testHead = "apiVersion: test.gitgate.dev/v1alpha1\nkind: PolicyTest\nmetadata: {name: team}\npolicy: ../rules\nparameters: {exempt: [Namespace]}\ncases:\n"

// manifest runs one manifest beside the rule of a team.
func manifest(t *testing.T, text string, o author.Options) (author.Report, error) {
	t.Helper()
	o.Pack = policies.Pack
	return author.Run(t.Context(), []author.Source{{FS: files(map[string]string{
		"rules/team.rego":      teamRule,
		"commit/commit.rego":   "package acme\n\nwarn_commit contains input.commit.sha if input.commit.author == \"mallory\"\n\nwarn_others contains \"others\" if count(data.inventory.cluster.v1.Namespace) > 1\n",
		"tests/a.test.yaml":    text,
		"tests/web.yaml":       "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n",
		"tests/two.yaml":       "{apiVersion: v1, kind: A}\n---\n{apiVersion: v1, kind: A}\n",
		"tests/malformed.yaml": "{apiVersion: v1, kind: A, kind: B}\n",
		"other/notes.yaml":     "a: [1, 2]\n",
	})}}, o)
}

func TestManifest(t *testing.T) {
	for name, tc := range map[string]struct{ reason, text, want string }{
		"Found":       {"What is expected is found.", "- {name: a, object: web.yaml, expect: [{policy: acme.deny_no_team, msg: 'no label team', field: metadata.labels.team, severity: deny, count: 1}]}", ""},
		"None":        {"Nothing is expected and nothing is found.", "- {name: a, object: {apiVersion: v1, kind: Namespace, metadata: {name: a}}, expect: none}", ""},
		"EmptyList":   {"An empty list expects nothing.", "- {name: a, object: {apiVersion: v1, kind: Namespace, metadata: {name: a}}, expect: []}", ""},
		"NotExpected": {"What is found and not expected fails.", "- {name: a, object: web.yaml, expect: none}", "found and not expected: deny PolicyDenied [acme.deny_no_team] this Service has no label team: add one (field metadata.labels.team)"},
		"NotFound":    {"What is expected and not found fails.", "- {name: a, object: {apiVersion: v1, kind: Namespace}, expect: [{policy: acme.deny_no_team}]}", "expected and not found: policy acme.deny_no_team"},
		"Message":     {"The message counts.", "- {name: a, object: web.yaml, expect: [{msg: 'no owner'}]}", "expected and not found: msg no owner"},
		"Field":       {"The field counts.", "- {name: a, object: web.yaml, expect: [{field: metadata}]}", "expected and not found: field metadata"},
		"Count":       {"The number counts.", "- {name: a, object: web.yaml, expect: [{msg: team, count: 2}]}", "expected 2 times and found 1 times: msg team"},
		"Parameters":  {"A case may have parameters of its own.", "- {name: a, object: web.yaml, parameters: {exempt: [Service]}, expect: none}", ""},
		"Delete":      {"What is deleted is the old object.", "- {name: a, object: web.yaml, operation: DELETE, expect: none}", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := manifest(t, testHead+tc.text+"\n", author.Options{})
			if err != nil || len(r.Tests) != 1 {
				t.Fatalf("%s\nRun() = %+v, %v", tc.reason, r, err)
			}
			got := r.Tests[0]
			if name == "Delete" { // a rule that reads input.object.kind is undefined or undetermined of it, never an error
				if got.Status == author.Errored {
					t.Errorf("%s\n%+v", tc.reason, got)
				}
				return
			}
			if (got.Status == author.Passed) != (tc.want == "") || !strings.Contains(strings.Join(got.Message, "\n"), tc.want) {
				t.Errorf("%s\ngot %s %q, want %q", tc.reason, got.Status, got.Message, tc.want)
			}
			if got.Suite != "team" || got.Name != "a" || got.File != "tests/a.test.yaml" || got.Line != 7 {
				t.Errorf("the case is named %s.%s at %s:%d", got.Suite, got.Name, got.File, got.Line)
			}
		})
	}
}

// TestManifestContext wants what is known about a change to reach the rules, and
// what is not known to be told.
func TestManifestContext(t *testing.T) {
	head := strings.Replace(testHead, "../rules", "../commit", 1)
	const object = "- {name: a, object: {apiVersion: v1, kind: Namespace, metadata: {name: a}}, "
	for name, tc := range map[string]struct{ reason, text, want string }{
		"Given": {
			"A case may say who committed, and what else there is.",
			"commit: {sha: abc, author: mallory}, inventory: [{apiVersion: v1, kind: Namespace, metadata: {name: a}}, {apiVersion: v1, kind: Namespace, metadata: {name: b}}], " +
				"expect: [{policy: acme.warn_commit, severity: warn, msg: ^abc$}, {msg: others}]}", "",
		},
		"NotKnown": {"What is not given is not known.", "expect: [{reason: PolicyUndefined, msg: input.commit}, {reason: PolicyUndefined, msg: data.inventory}]}", ""},
		"None":     {"What is known not to be is no question.", "none: [commit, inventory], expect: none}", ""},
		"Mistyped": {"A part that there is not is told.", "none: [commits], expect: none}", `there is no part "commits": use one of attestations, commit, images`},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := manifest(t, head+object+tc.text+"\n", author.Options{})
			if err != nil || len(r.Tests) != 1 {
				t.Fatalf("%s\nRun() = %+v, %v", tc.reason, r, err)
			}
			if got := r.Tests[0]; (got.Status == author.Passed) != (tc.want == "") || !strings.Contains(strings.Join(got.Message, "\n"), tc.want) {
				t.Errorf("%s\ngot %s %q, want %q", tc.reason, got.Status, got.Message, tc.want)
			}
		})
	}
}

// TestManifestAttestations wants what was attested, and the time, to reach the rules.
func TestManifestAttestations(t *testing.T) {
	const (
		digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
		ref    = "ghcr.io/acme/web:1@" + digest
		report = `{metadata: {scanFinishedOn: "2026-01-01T00:00:00Z"}, scanner: {result: {SchemaVersion: 2}}}`
	)
	head := strings.Replace(strings.Replace(testHead, "policy: ../rules", "pack: supply-chain", 1), "{exempt: [Namespace]}", "{}", 1)
	for name, tc := range map[string]struct{ reason, attestations, more, want string }{
		"Fresh":    {"A scan that is recent.", ", attestations: [{name: scan, predicateType: " + vulnType + ", authority: s, predicate: " + report + "}]", `time: "2026-01-02T00:00:00Z", expect: none`, ""},
		"Old":      {"And one that is not.", ", attestations: [{name: scan, predicateType: " + vulnType + ", authority: s, predicate: " + report + "}]", `time: "2026-02-02T00:00:00Z", expect: [{policy: supply_chain.deny_old_scan}]`, ""},
		"None":     {"None at all.", ", attestations: []", `time: "2026-01-02T00:00:00Z", expect: [{policy: supply_chain.deny_scan_missing}]`, ""},
		"NotKnown": {"What is left out is not known.", "", `expect: [{reason: PolicyUndefined, msg: "attestations", count: 4}]`, ""},
		"NoTime":   {"Nor is the time.", ", attestations: [{name: scan, predicateType: " + vulnType + ", authority: s, predicate: " + report + "}]", `expect: [{reason: PolicyUndefined, msg: "input.time"}]`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := manifest(t, head+"- {name: a, parameters: {scanRegistries: [ghcr.io], maxScanAgeDays: 7}, object: {apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: a, image: '"+ref+"'}]}}, "+
				"images: [{ref: '"+ref+"', digest: '"+digest+"', authorities: [a]"+tc.attestations+"}], "+tc.more+"}\n", author.Options{})
			if err != nil || len(r.Tests) != 1 || r.Tests[0].Status != author.Passed {
				t.Fatalf("%s\nRun() = %+v, %v", tc.reason, r, err)
			}
		})
	}
}

const vulnType = "'https://cosign.sigstore.dev/attestation/vuln/v1'"

func TestManifestRefusals(t *testing.T) {
	const good = "- {name: a, object: web.yaml, expect: none}\n"
	for name, tc := range map[string]struct{ reason, text, want string }{
		"NoExpect":     {"A case that expects nothing has to say so.", testHead + "- {name: a, object: web.yaml}", "a.test.yaml:7: case \"a\" does not say what it expects"},
		"EmptyExpect":  {"An expectation that fits everything expects nothing.", testHead + "- {name: a, object: web.yaml, expect: [{count: 1}]}", "describes nothing"},
		"UnknownField": {"A typing error is not passed over.", testHead + "- {name: a, objekt: web.yaml, expect: none}", `unknown field "objekt"`},
		"UnknownDeep":  {"Nor in an expectation.", testHead + "- {name: a, object: web.yaml, expect: [{message: x}]}", `unknown field "message"`},
		"Regexp":       {"A message that is no regular expression is told.", testHead + "- {name: a, object: web.yaml, expect: [{msg: '('}]}", "missing closing )"},
		"Twice":        {"Cases have names.", testHead + good + good, "a.test.yaml:8: two cases are named"},
		"NoCases":      {"A test without cases tests nothing.", strings.TrimSuffix(testHead, "cases:\n"), "no cases"},
		"Kind":         {"An unknown version is not skipped.", strings.Replace(testHead, "PolicyTest", "PolicyTests", 1) + good, "PolicyTests is unknown"},
		"NoPolicy":     {"Something has to be tested.", strings.Replace(testHead, "policy: ../rules\n", "", 1) + good, "name either a policy"},
		"Escape":       {"O6: a path leads nowhere else.", strings.Replace(testHead, "../rules", "../../etc", 1) + good, "leads out of"},
		"Duplicate":    {"Y2: a key that stands there twice is refused.", testHead + "- {name: a, name: b, object: web.yaml, expect: none}", "twice"},
		"PolicyGone":   {"The directory has to be there.", strings.Replace(testHead, "../rules", "../rule", 1) + good, "not a directory"},
		"UnknownPack":  {"The pack has to be there.", strings.Replace(testHead, "policy: ../rules", "pack: x", 1) + good, `"x"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := manifest(t, tc.text, author.Options{})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s\nRun() = %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
	for name, tc := range map[string]struct{ object, want string }{
		"Two":       {"two.yaml", "holds 2 objects"},
		"Malformed": {"malformed.yaml", "malformed.yaml:1: the key"},
		"Gone":      {"gone.yaml", "gone.yaml: file does not exist"},
		"Escape":    {"../../x.yaml", "leads out of"},
	} {
		t.Run("Object/"+name, func(t *testing.T) {
			r, err := manifest(t, testHead+"- {name: a, object: "+tc.object+", expect: none}\n", author.Options{})
			if err != nil || len(r.Tests) != 1 || r.Tests[0].Status != author.Errored || !strings.Contains(r.Tests[0].Message[0], tc.want) {
				t.Errorf("Run() = %+v, %v, want %q", r, err, tc.want)
			}
		})
	}
}

func TestManifestOfPack(t *testing.T) {
	text := strings.Replace(testHead, "policy: ../rules", "pack: pod-security-baseline", 1) +
		"- {name: a, object: {apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {hostNetwork: true, containers: []}}, expect: [{policy: pod_security.baseline.deny_host_namespaces}]}\n"
	r, err := manifest(t, text, author.Options{})
	if err != nil || !r.Passed() {
		t.Errorf("Run() = %+v, %v", r, err)
	}
}

func TestManifestCovers(t *testing.T) {
	r, err := manifest(t, testHead+"- {name: a, object: web.yaml, expect: [{msg: team}]}\n", author.Options{Coverage: true})
	if err != nil {
		t.Fatal(err)
	}
	if f := r.Coverage.Files[1]; f.File != "rules/team.rego" || f.Covered == 0 || len(f.Uncovered) == 0 {
		t.Errorf("coverage = %+v, want what the case reaches and no more", f)
	}
}
