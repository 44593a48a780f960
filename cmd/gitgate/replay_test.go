package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"gitgate.dev/gitgate/test/testkit/gitrepo"
)

// TestReplayRefusals: what cannot be made again is told, with the reason, and is not
// taken for the same. That real logs come out the same is for test/parity to prove.
func TestReplayRefusals(t *testing.T) {
	r := newCheckRepo(t)
	head := r.feature(gitrepo.Change{Files: map[string]string{"app/new.yaml": strings.ReplaceAll(settings, "settings", "new")}})
	decision := func(revision, asked string) string {
		return fmt.Sprintf(`{"time":"2026-11-22T08:00:00Z","door":"reconciler","gitSync":"gitgate-system/shop","verdict":{"kind":"Verdict","allowed":true,"undetermined":false,"revision":%q,"objects":4,"findings":[],"stages":[`+
			`{"stage":"commit","status":"passed"},{"stage":"render","status":"passed"},{"stage":"image","status":"passed"},{"stage":"policy","status":"passed"},{"stage":"secret","status":"passed"},{"stage":"apply","status":"passed"}]}%s}`+"\n", revision, asked)
	}
	asked := fmt.Sprintf(`,"asked":{"base":[%q],"inventory":3}`, r.main)
	good := decision("main@sha1:"+head.String(), asked)
	const admission = `{"time":"2026-11-22T08:00:00Z","door":"webhook","operation":"CREATE","apiVersion":"v1","kind":"ConfigMap","resource":"configmaps","namespace":"a","name":"b","allowed":true,"matched":%q%s}` + "\n"
	for name, tc := range map[string]struct {
		reason, log string
		code        int
		want        string
	}{
		"Same":      {"A decision that comes out as it was.", good, exitAllowed, "1 decisions: 1 the same, 0 differ, 0 not replayed\n"},
		"Often":     {"However often it was made.", good + good + good, exitAllowed, "3 decisions: 3 the same"},
		"Differs":   {"A verdict that was another one.", strings.Replace(good, `"objects":4`, `"objects":5`, 1), exitDenied, "objects: 5 then, 4 now"},
		"Stage":     {"A stage that did not run.", strings.Replace(good, `"secret","status":"passed"`, `"secret","status":"skipped"`, 1), exitDenied, "secret skipped then"},
		"ApplyOnly": {"What the API server said is its own.", strings.Replace(good, `"findings":[]`, `"findings":[{"stage":"apply","reason":"DryRunRejected","severity":"deny","message":"m"}]`, 1), exitAllowed, "1 the same"},
		"Gone":      {"A finding that is not made any more.", strings.Replace(good, `"findings":[]`, `"findings":[{"stage":"policy","reason":"PolicyDenied","severity":"deny","message":"m\u001b[31m"}]`, 1), exitDenied, `then: {"stage":"policy"`},
		"Undecided": {"What was undetermined then is nothing to compare with.", strings.Replace(good, `"findings":[]`, `"findings":[{"stage":"image","reason":"RegistryUnavailable","severity":"undetermined","message":"m"}]`, 1), exitUndetermined, "it was undetermined then"},
		"NoBase":    {"A log of an older gitgate.", decision("main@sha1:"+head.String(), ""), exitUndetermined, "does not say what was in force"},
		"LostBase":  {"Nobody knew what was in force.", decision("main@sha1:"+head.String(), `,"asked":{"inventory":3}`), exitUndetermined, "did not know then which commit"},
		"NoCommit":  {"A commit that is not here.", decision("main@sha1:"+strings.Repeat("1", 40), asked), exitUndetermined, "is not in this repository: fetch it"},
		"NoHash":    {"A base that is none.", decision("main@sha1:"+head.String(), `,"asked":{"base":["HEAD"],"inventory":3}`), exitUndetermined, `commit "HEAD" is not in this repository`},
		"NoTag":     {"A tag that is not here.", decision("main@sha1:"+head.String(), fmt.Sprintf(`,"asked":{"base":[%q],"tags":[%q],"inventory":3}`, r.main, strings.Repeat("2", 40))), exitUndetermined, "fetch the tags"},
		"NoRev":     {"A revision that names no commit.", decision("worktree", asked), exitUndetermined, "the revision names no commit"},
		"NoSync":    {"A GitSync that is not in the configuration.", strings.Replace(good, "gitgate-system/shop", "other/shop", 1), exitUndetermined, "has no GitSync other/shop"},
		"CutOff":    {"A line that is cut off does not make the rest worthless.", good + good[:60], exitUndetermined, "the line is no decision: it is cut off"},
		"Held":      {"What a grant let pass was not judged.", good + `{"door":"reconciler","gitSync":"a/b","grant":"g","object":"o"}` + "\n", exitAllowed, "1 decisions: 1 the same"},
		"Stray":     {"A stray is no decision.", good + `{"door":"audit","gitSync":"a/b","operation":"FOUND","resource":"pods","name":"x","matched":"closed","allowed":false}` + "\n", exitAllowed, "1 decisions: 1 the same"},
		"Lock":      {"What the lock decides rests on the cluster.", fmt.Sprintf(admission, "managed", ""), exitUndetermined, "not rules but the lock decided"},
		"NoObject":  {"A log without objects.", fmt.Sprintf(admission, "open", ""), exitUndetermined, "--log-objects"},
		"Empty":     {"A log that holds nothing.", "\n\n", exitUsage, "holds no decision"},
		"NoLog":     {"Something else than a log.", "apiVersion: v1\n", exitUsage, "holds no decision"},
		"Injected":  {"Nothing in a log steers a terminal.", strings.Replace(good, "gitgate-system/shop", `\u001b]0;x\u0007`, 1), exitUndetermined, "has no GitSync"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "log.json")
			if err := os.WriteFile(file, []byte(tc.log), 0o600); err != nil {
				t.Fatal(err)
			}
			code, out, errs := r.check("--replay", file)
			if code != tc.code || !strings.Contains(out+errs, tc.want) || strings.ContainsAny(out+errs, "\x1b\x07") {
				t.Errorf("%s\nexit %d, want %d and %q\nstdout %q\nstderr %q", tc.reason, code, tc.code, tc.want, out, errs)
			}
			code, out, _ = r.check("--replay", file, "-o", "json")
			if code != tc.code || code != exitUsage && !json.Valid([]byte(out)) {
				t.Errorf("%s\n-o json: exit %d\n%s", tc.reason, code, out)
			}
		})
	}
	for name, args := range map[string][]string{
		"Base": {"--replay", "x", "--base", "main"}, "All": {"--replay", "x", "--all"}, "Sarif": {"--replay", "x", "-o", "sarif"}, "Nowhere": {"--replay", filepath.Join(t.TempDir(), "nowhere")},
	} {
		t.Run(name, func(t *testing.T) {
			if code, out, errs := r.check(args...); code != exitUsage || out != "" || errs == "" {
				t.Errorf("exit %d, stdout %q, stderr %q", code, out, errs)
			}
		})
	}
}

// TestRecordedObjects: the decision log holds what rules see, and no secret.
func TestRecordedObjects(t *testing.T) {
	for name, tc := range map[string]struct {
		reason      string
		group, kind string
		sub         string
		raw, want   string
	}{
		"Plain":      {"What is no Secret stays byte by byte.", "", "ConfigMap", "", `{"data" : {"a":1.0}}`, `{"data" : {"a":1.0}}`},
		"Secret":     {"A Secret has no values.", "", "Secret", "", `{"kind":"Secret","apiVersion":"v1","data":{"k":"Y2FuYXJ5"}}`, `{"apiVersion":"v1","data":{"k":"***"},"kind":"Secret"}`},
		"StringData": {"By whatever name.", "", "Secret", "", `{"kind":"Secret","apiVersion":"v1","stringData":{"k":"canary"}}`, `{"apiVersion":"v1","data":{"k":"***"},"kind":"Secret"}`},
		"Applied":    {"Nor in what kubectl left behind.", "", "Secret", "", `{"kind":"Secret","apiVersion":"v1","metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"canary"}}}`, `{"apiVersion":"v1","kind":"Secret","metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"***"}}}`},
		"Token":      {"The review of a token holds the token.", "authentication.k8s.io", "TokenReview", "", `{"spec":{"token":"canary"}}`, ""},
		"Status":     {"What rules do not judge is not held.", "", "Pod", "status", `{"status":{"x":"canary"}}`, ""},
		"Broken":     {"A Secret that cannot be read is not held.", "", "Secret", "", `{"data":{"k":"canary"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := webhookOptions{logObjects: true}
			object, old := o.recorded()(&admissionv1.AdmissionRequest{
				Operation: admissionv1.Create, Kind: metav1.GroupVersionKind{Group: tc.group, Version: "v1", Kind: tc.kind}, SubResource: tc.sub,
				Object: runtime.RawExtension{Raw: []byte(tc.raw)},
			})
			if string(object) != tc.want || old != nil {
				t.Errorf("%s\n%s, want %s; old %s", tc.reason, object, tc.want, old)
			}
		})
	}
	if (&webhookOptions{}).recorded() != nil {
		t.Error("objects are recorded without --log-objects")
	}
}
