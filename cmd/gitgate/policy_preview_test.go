package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	policybundle "gitgate.dev/gitgate/policy/bundle"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
)

// modeRules are PolicySets that refuse a mode and warn of another.
func modeRules(refused, warned string) string {
	return `apiVersion: gitgate.dev/v1alpha1
kind: PolicySet
metadata: {name: modes}
spec:
  source:
    inline:
      modes.rego: |
        package modes
        deny_mode contains msg if {
          input.object.data.mode == "` + refused + `"
          msg := sprintf("mode %s is refused", [input.object.data.mode])
        }
        warn_mode contains "think again" if input.object.data.mode == "` + warned + `"
---
apiVersion: gitgate.dev/v1alpha1
kind: PolicySet
metadata: {name: same}
spec: {source: {inline: {a.rego: "package a\ndeny contains \"never asked\" if input.object.kind == \"ConfigMap\""}}}
`
}

func modeMap(name, mode, more string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + ", namespace: shop" + more + "}\ndata: {mode: " + mode + "}\n"
}

// preview runs gitgate policy preview.
func preview(args ...string) (code int, stdout, stderr string) {
	var out, errs strings.Builder
	code = run(append([]string{"policy", "preview"}, args...), strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

// previewRepo has three commits of ConfigMaps, and rules of which the new ones refuse
// what the old ones warn of.
func previewRepo(t *testing.T) (repo *gitrepo.TestRepo, head string) {
	t.Helper()
	repo = gitrepo.For(t)
	repo.Commit(gitrepo.Change{Files: map[string]string{
		"app/a.yaml": modeMap("a", "loud", ", labels: {team: music}"), "app/b.yaml": modeMap("b", "odd", ""), "app/c.yaml": modeMap("c", "calm", ""),
	}})
	repo.Commit(gitrepo.Change{Files: map[string]string{"app/d.yaml": modeMap("d", "odd", "")}})
	hash := repo.Commit(gitrepo.Change{Files: map[string]string{"app/e.yaml": modeMap("e", "calm", "")}, Delete: []string{"app/d.yaml"}})
	writeTree(t, map[string]string{"old/sets.yaml": modeRules("loud", "odd"), "new/sets.yaml": modeRules("odd", "calm")})
	return repo, hash.String()
}

// TestPolicyPreview compares rules on commits: what the newest declares, and what those
// before it changed.
func TestPolicyPreview(t *testing.T) {
	repo, _ := previewRepo(t)
	code, stdout, stderr := preview("--policy-sets", "new", "--old", "old", "--repo", repo.Dir, "--commits", "3", "--path", "app", "--owner-key", "team", "--limit", "0")
	const want = `compared: modes (changed); 1 more stay as they are

OWNER           DENIED  UNDETERMINED  EXCEPTED  ALLOWED  WARNED  CLEARED  MESSAGE
namespace shop  2       0             0         0        2       2        0
music           0       0             0         1        0       0        0

newly denied, namespace shop:
  app/b.yaml:1: shop/ConfigMap/b [modes/modes.deny_mode] (HEAD, 2 times)
      mode odd is refused
  app/d.yaml:1: shop/ConfigMap/d [modes/modes.deny_mode] (HEAD~1)
      mode odd is refused

newly allowed, music:
  app/a.yaml:1: shop/ConfigMap/a [modes/modes.deny_mode] (HEAD, 2 times)
      mode loud is refused

newly warned, namespace shop:
  app/c.yaml:1: shop/ConfigMap/c [modes/modes.warn_mode] (HEAD, 2 times)
      think again
  app/e.yaml:1: shop/ConfigMap/e [modes/modes.warn_mode] (HEAD)
      think again

not warned any more, namespace shop:
  app/b.yaml:1: shop/ConfigMap/b [modes/modes.warn_mode] (HEAD, 2 times)
      think again
  app/d.yaml:1: shop/ConfigMap/d [modes/modes.warn_mode] (HEAD~1)
      think again

9 objects judged: 2 newly denied, 1 newly allowed, 2 newly warned, 2 not warned any more, 1 unchanged
`
	if diff := cmp.Diff(want, stdout); diff != "" || code != exitDenied || stderr != "" {
		t.Errorf("exit %d, stderr %q (-want +got):\n%s", code, stderr, diff)
	}
	if again, out, _ := preview("--policy-sets", "new", "--old", "old", "--repo", repo.Dir, "--commits", "3", "--path", "app", "--owner-key", "team", "--limit", "0"); again != code || out != stdout {
		t.Errorf("it says something else the second time:\n%s", cmp.Diff(stdout, out))
	}
}

// TestPolicyPreviewOutcomes: what comes of each kind of difference.
func TestPolicyPreviewOutcomes(t *testing.T) {
	repo, _ := previewRepo(t)
	writeTree(t, map[string]string{
		"old/sets.yaml": modeRules("loud", "odd"), "new/sets.yaml": modeRules("odd", "calm"),
		"softer/sets.yaml":    strings.ReplaceAll(modeRules("nothing", "nothing"), "deny_mode", "deny_other"),
		"user/sets.yaml":      strings.ReplaceAll(modeRules("loud", "odd"), "package modes\n", "package modes\n        deny_user contains \"root\" if input.userInfo.username == \"root\"\n"),
		"words/sets.yaml":     strings.ReplaceAll(modeRules("loud", "odd"), "is refused", "will not do"),
		"broken/sets.yaml":    strings.ReplaceAll(modeRules("loud", "odd"), "package modes\n", "package modes\n        deny contains x\n"),
		"typo/sets.yaml":      "apiVersion: gitgate.dev/v1alpha1\nkind: PolicySet\nmetadata: {name: modes}\nspec: {source: {library: [workloads]}, parameters: {minReplica: 1}}\n",
		"secret/sets.yaml":    strings.ReplaceAll(modeRules("loud", "odd"), "input.object.data.mode == \"loud\"", "input.object.data.mode"),
		"rules/modes.rego":    "package modes\ndeny_mode contains \"odd\" if input.object.data.mode == \"odd\"\n",
		"elsewhere/sets.yaml": "apiVersion: gitgate.dev/v1alpha1\nkind: PolicySet\nmetadata: {name: far}\nspec: {source: {git: {url: \"https://127.0.0.1:1/rules.git\", ref: {branch: main}, trust: {name: t}}}}\n",
		"empty/m.yaml":        modeMap("m", "calm", ""),
	})
	built, _, err := policybundle.Build(t.Context(), fstest.MapFS{"modes.rego": {Data: []byte("package modes\ndeny_mode contains \"odd\" if input.object.data.mode == \"odd\"\n")}}, policybundle.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("b.tar.gz", built, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		reason string
		args   []string
		code   int
		out    string // in what it says
		errs   string
	}{
		"Denied":       {"Something newly fails.", []string{"--policy-sets", "new", "--old", "old"}, exitDenied, "newly denied", ""},
		"Softer":       {"What is newly allowed fails nothing.", []string{"--policy-sets", "softer", "--old", "old"}, exitAllowed, "0 newly denied, 1 newly allowed", ""},
		"Undetermined": {"What reads the user is undetermined.", []string{"--policy-sets", "user", "--old", "old"}, exitUndetermined, "newly undetermined", ""},
		"SameUnknown":  {"What was undetermined before is nothing new.", []string{"--policy-sets", "old", "--old", "user"}, exitAllowed, "newly allowed", ""},
		"Words":        {"Another message is told where it is asked for.", []string{"--policy-sets", "words", "--old", "old", "--messages"}, exitAllowed, "mode loud will not do", ""},
		"NoWords":      {"And counted else.", []string{"--policy-sets", "words", "--old", "old"}, exitAllowed, "1 another message", ""},
		"Nothing":      {"Without old rules all is new.", []string{"--policy-sets", "new"}, exitDenied, "modes (added), same (added)", ""},
		"Remove":       {"A set that goes lets pass what it refused.", []string{"--remove", "modes", "--old", "old"}, exitAllowed, "modes (removed)", ""},
		"Directory":    {"Rules of a directory.", []string{"--policy-bundle", "modes=rules", "--old", "old"}, exitDenied, "[modes/modes.deny_mode]", ""},
		"Bundle":       {"Of a bundle.", []string{"--policy-bundle", "modes=b.tar.gz", "--old", "old"}, exitDenied, "[modes/modes.deny_mode]", ""},
		"ByRule":       {"Counted by rule.", []string{"--policy-sets", "new", "--old", "old", "--by", "rule"}, exitDenied, "RULE ", ""},
		"Broken":       {"Rules that do not compile have a place.", []string{"--policy-sets", "broken", "--old", "old"}, exitUsage, "", "modes.rego:2:"},
		"Typo":         {"So has a parameter that nobody reads.", []string{"--policy-sets", "typo", "--old", "old"}, exitUsage, "", "is minReplicas meant?"},
		"Equal":        {"Nothing to compare is no success.", []string{"--policy-sets", "old", "--old", "old"}, exitUsage, "", "the same as those in force"},
		"NoSets":       {"A directory without PolicySets.", []string{"--policy-sets", "empty", "--old", "old"}, exitUsage, "", "holds no PolicySet"},
		"NoSet":        {"A set that is not there.", []string{"--policy-bundle", "mods=rules", "--old", "old"}, exitUsage, "", "there is no PolicySet mods (there are modes, same)"},
		"Elsewhere":    {"Rules that nobody can have are undetermined.", []string{"--policy-sets", "elsewhere"}, exitUndetermined, "", "policy-bundle far=PATH"},
		"NotBundle":    {"A file that is no bundle.", []string{"--policy-bundle", "modes=rules/modes.rego", "--old", "old"}, exitUsage, "", "modes.rego"},
		"NoNew":        {"Nothing that is new.", []string{"--old", "old"}, exitUsage, "", "--policy-sets or --policy-bundle"},
		"Range":        {"A range of commits.", []string{"--policy-sets", "new", "--old", "old", "--commits", "HEAD~1..HEAD"}, exitDenied, "5 objects judged", ""},
		"NoRange":      {"A commit is no range.", []string{"--policy-sets", "new", "--old", "old", "--commits", "HEAD~1"}, exitUsage, "", "A..B"},
		"EmptyRange":   {"A range without commits.", []string{"--policy-sets", "new", "--old", "old", "--commits", "HEAD..HEAD"}, exitUsage, "", "no commit"},
		"By":           {"What cannot be counted by.", []string{"--policy-sets", "new", "--old", "old", "--by", "team"}, exitUsage, "", "--by team"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"--repo", repo.Dir, "--path", "app"}, tc.args...)
			if !strings.Contains(strings.Join(args, " "), "--commits") {
				args = append(args, "--commits", "1")
			}
			code, out, errs := preview(args...)
			if code != tc.code || !strings.Contains(out, tc.out) || !strings.Contains(errs, tc.errs) || (errs != "") != (tc.errs != "") {
				t.Errorf("%s\nexit %d, want %d\n%s%s", tc.reason, code, tc.code, out, errs)
			}
		})
	}
}

// TestPolicyPreviewExceptions: what a commit excepts does not newly fail, and is told.
func TestPolicyPreviewExceptions(t *testing.T) {
	repo, _ := previewRepo(t)
	repo.Commit(gitrepo.Change{Files: map[string]string{"app/x.yaml": `apiVersion: gitgate.dev/v1alpha1
kind: PolicyException
metadata: {name: x, namespace: shop}
spec: {policies: [{policySet: modes, rules: [modes.deny_mode]}], match: {kinds: [{kind: ConfigMap}], namespaces: [shop], names: [b]}, owner: o, reason: r, expires: "2026-12-31T00:00:00Z"}
`}})
	code, out, errs := preview("--policy-sets", "new", "--old", "old", "--repo", repo.Dir, "--path", "app", "--commits", "1")
	if code != exitAllowed || !strings.Contains(out, "0 newly denied, 1 excepted") || !strings.Contains(out, "excepted until 2026-12-31") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
}

// TestPolicyPreviewLog judges what a decision log holds, with the user of it.
func TestPolicyPreviewLog(t *testing.T) {
	repo, head := previewRepo(t)
	const sync = `apiVersion: gitgate.dev/v1alpha1
kind: GitSync
metadata: {name: shop, namespace: gitgate-system}
spec: {url: https://git.example.com/shop.git, ref: {branch: main}, path: app, trust: {name: t}, policies: [{name: modes}]}
`
	user := strings.ReplaceAll(modeRules("odd", "calm"), "package modes\n", "package modes\n        deny_user contains \"not root\" if input.userInfo.username == \"root\"\n")
	log := `{"door":"reconciler","gitSync":"gitgate-system/shop","signers":["alice"],"verdict":{"kind":"Verdict","allowed":true,"revision":"main@sha1:` + head + `","findings":[],"stages":[]},"asked":{"inventory":3}}
{"door":"reconciler","gitSync":"other/one","verdict":{"kind":"Verdict","allowed":true,"revision":"main@sha1:` + head + `","findings":[],"stages":[]}}
{"door":"webhook","user":"root","operation":"CREATE","apiVersion":"v1","kind":"ConfigMap","resource":"configmaps","namespace":"shop","name":"z","matched":"open","allowed":true,"object":{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"z","namespace":"shop"},"data":{"mode":"calm"}}}
{"door":"audit","policySet":"modes","operation":"AUDIT","apiVersion":"v1","kind":"ConfigMap","resource":"configmaps","namespace":"shop","name":"v","matched":"open","allowed":true,"object":{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"v","namespace":"shop"},"data":{"mode":"odd"}}}
{"door":"webhook","user":"root","operation":"UPDATE","apiVersion":"v1","kind":"ConfigMap","resource":"configmaps","namespace":"shop","name":"y","matched":"managed","allowed":true}
{"door":"webhook","user":"root","operation":"CREATE","apiVersion":"v1","kind":"ConfigMap","resource":"configmaps","namespace":"shop","name":"x","matched":"open","allowed":true}
{"door":"webhook","user":"root","operation":"CREATE","apiVersion":"v1","kind":"ConfigMap","resource":"configmaps","namespace":"shop","name":"w","matched":"open","allowed":true}
`
	writeTree(t, map[string]string{"old/sets.yaml": modeRules("loud", "odd"), "new/sets.yaml": user + "---\n" + sync, "log.json": log})
	code, out, errs := preview("--policy-sets", "new", "--old", "old", "--repo", repo.Dir, "--decision-log", "log.json", "-o", "json", "--by", "gitsync")
	var got previewResult
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v: %s%s", err, out, errs)
	}
	var changes []string
	for _, c := range got.Changes {
		changes = append(changes, strings.Join([]string{c.Change, c.Object, c.Rule, c.GitSync}, " "))
	}
	want := []string{
		"newly denied shop/ConfigMap/v modes/modes.deny_mode ",
		"newly denied shop/ConfigMap/z modes/modes.deny_user ",
		"newly undetermined shop/ConfigMap/d modes/modes.deny_user gitgate-system/shop",
		"newly undetermined shop/ConfigMap/e modes/modes.deny_user gitgate-system/shop",
		"newly undetermined shop/ConfigMap/v modes/modes.deny_user ",
		"newly warned shop/ConfigMap/e modes/modes.warn_mode gitgate-system/shop",
		"newly warned shop/ConfigMap/z modes/modes.warn_mode ",
		"not warned any more shop/ConfigMap/v modes/modes.warn_mode ",
	}
	if diff := cmp.Diff(want, changes); diff != "" || code != exitDenied || got.Judged != 4 {
		t.Errorf("exit %d, %d judged (-want +got):\n%s", code, got.Judged, diff)
	}
	if len(got.Problems) != 2 || !strings.Contains(got.Problems[0].Message, "GitSync other/one is not known") || got.Problems[1].Times != 2 || !strings.Contains(got.Problems[1].Message, "--log-objects") {
		t.Errorf("problems %+v", got.Problems)
	}
}

// TestPolicyPreviewMarkdown: nothing of what rules and objects say is markup, and a
// comment stays a comment.
func TestPolicyPreviewMarkdown(t *testing.T) {
	r := &previewResult{Sets: []previewSet{{"a`b|c", "changed"}}, By: "owner", Groups: []previewGroup{{"@everyone | x", previewCounts{Denied: 1}}}, Counts: previewCounts{Denied: 1}}
	for range 2000 {
		r.Changes = append(r.Changes, previewChange{Change: previewDenied, Object: "shop/ConfigMap/x", Rule: "s/a.deny", Messages: []string{"`<img src=x>` | \x1b[31m @team\n/close"}, Times: 1})
	}
	var b strings.Builder
	if err := r.markdown(&b, r.Changes, 3); err != nil {
		t.Fatal(err)
	}
	out := b.String()
	if len(out) > 65_000 || strings.ContainsAny(out, "\x1b") || !strings.Contains(out, "more differences are not shown") {
		t.Errorf("%d bytes: %.600s", len(out), out)
	}
	for line := range strings.Lines(out) {
		rest := line
		for { // nothing hostile outside of code spans
			before, after, ok := strings.Cut(rest, "`")
			if strings.ContainsAny(before, "@<") {
				t.Fatalf("markup outside of code: %q", line)
			}
			if !ok {
				break
			}
			_, rest, _ = strings.Cut(after, "`")
		}
	}
}
