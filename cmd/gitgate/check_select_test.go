package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/test/testkit/gitrepo"
)

// TestCheckTarget: a pull request is judged by those who apply the branch that it
// goes into.
func TestCheckTarget(t *testing.T) {
	r := newCheckRepo(t)
	raw, err := os.ReadFile(r.config)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(raw), "refs: [main]", "refs: [main, stable, release/1]")
	sync, _, _ := strings.Cut(text, "---\n")
	for name, branch := range map[string]string{"stable": "stable", "edge": "stable", "old": "release/1"} {
		text += "---\n" + strings.NewReplacer("name: shop", "name: "+name, "branch: main", "branch: "+branch).Replace(sync)
	}
	config := filepath.Join(t.TempDir(), "all.yaml")
	gitConfig := filepath.Join(r.Dir, ".git", "config")
	before, err := os.ReadFile(gitConfig)
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{
		config:    text,
		gitConfig: string(before) + "[remote \"origin\"]\n\turl = https://git.example.com/acme/shop.git\n[remote \"team\"]\n\turl = https://other.example.com/shop.git\n",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, ref := range []string{"refs/heads/stable", "refs/remotes/origin/stable", "refs/remotes/team/release/1", "refs/heads/release/1", "refs/remotes/origin/nobody"} {
		if err := r.SetRef(ref, r.main); err != nil {
			t.Fatal(err)
		}
	}
	head := r.feature(gitrepo.Change{Files: map[string]string{"app/new.yaml": strings.ReplaceAll(settings, "settings", "new")}}).String()
	all := []string{"edge", "old", "shop", "stable"}
	for name, tc := range map[string]struct {
		reason string
		args   []string
		env    [2]string
		want   []string
	}{
		"Branch":        {reason: "--base names a branch.", args: []string{"--base", "stable"}, want: []string{"edge", "stable"}},
		"RemoteBranch":  {reason: "Or one of a remote.", args: []string{"--base", "origin/stable"}, want: []string{"edge", "stable"}},
		"OtherRemote":   {reason: "Whatever the remote is called.", args: []string{"--base", "team/release/1"}, want: []string{"old"}},
		"Slash":         {reason: "A branch with a slash is not one of a remote.", args: []string{"--base", "release/1"}, want: []string{"old"}},
		"FullName":      {reason: "By its full name.", args: []string{"--base", "refs/remotes/origin/stable"}, want: []string{"edge", "stable"}},
		"FullBranch":    {reason: "By its full name.", args: []string{"--base", "refs/heads/main"}, want: []string{"shop"}},
		"Hash":          {reason: "A hash names no branch.", args: []string{"--base", r.main.String()}, want: all},
		"CI":            {reason: "CI says where a pull request goes.", args: []string{"--base", r.main.String()}, env: [2]string{"GITHUB_BASE_REF", "stable"}, want: []string{"edge", "stable"}},
		"Azure":         {reason: "As it does elsewhere.", args: []string{"--base", r.main.String()}, env: [2]string{"SYSTEM_PULLREQUEST_TARGETBRANCH", "refs/heads/release/1"}, want: []string{"old"}},
		"BaseOverCI":    {reason: "The user knows better.", args: []string{"--base", "main"}, env: [2]string{"GITHUB_BASE_REF", "stable"}, want: []string{"shop"}},
		"NobodyFollows": {reason: "A branch that nobody applies is judged by all.", args: []string{"--base", "origin/nobody"}, want: all},
		"Chosen":        {reason: "Who names GitSyncs gets these.", args: []string{"--base", "main", "--gitsync", "gitgate-system/old"}, want: []string{"old"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, v := range targetVariables {
				t.Setenv(v, "")
			}
			if tc.env[0] != "" {
				t.Setenv(tc.env[0], tc.env[1])
			}
			_, out, errs := runCheck(append([]string{"--repo", r.Dir, "-c", config, "--head", head, "-o", "json"}, tc.args...)...)
			var list struct{ Items []struct{ Name string } }
			if err := json.Unmarshal([]byte(out), &list); err != nil || errs != "" {
				t.Fatalf("%s\n%v, stderr %q, stdout %q", tc.reason, err, errs, out)
			}
			var got []string
			for _, i := range list.Items {
				got = append(got, strings.TrimPrefix(i.Name, "gitgate-system/"))
			}
			if diff := cmp.Diff(tc.want, slices.Sorted(slices.Values(got))); diff != "" {
				t.Errorf("%s\n(-want +got)\n%s", tc.reason, diff)
			}
		})
	}
}
