package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/test/testkit/gitrepo"
)

// TestCheckRange: what is judged depends on what is in force.
func TestCheckRange(t *testing.T) {
	r := newCheckRepo(t)
	red := strings.ReplaceAll(settings, "blue", "red")
	feature := r.feature(gitrepo.Change{Files: map[string]string{"app/new.yaml": strings.ReplaceAll(settings, "settings", "new")}})
	moved := r.signed(gitrepo.Change{Files: map[string]string{"app/settings.yaml": red}}) // main goes on
	other := r.commit(gitrepo.Change{Files: map[string]string{"app/settings.yaml": settings}, Orphan: true, Detached: true})
	for name, tc := range map[string]struct {
		reason string
		args   []string
		code   int
		want   []string
		errs   string
	}{
		"Moved": {
			reason: "A branch that main has moved away from is judged from where it left.",
			args:   []string{"--base", moved.String(), "--head", feature.String()},
			want:   []string{"info commit NonFastForward "},
		},
		"Branch": {
			reason: "Revisions are named as in git.",
			args:   []string{"--base", "main~1", "--head", "main"},
			want:   []string{"warn policy PolicyDenied app/settings.yaml:1"},
		},
		"NoBase": {
			reason: "Without a base all counts, and nothing was judged before.",
			args:   []string{"--head", moved.String()},
			want:   []string{"warn policy PolicyDenied app/settings.yaml:1"},
		},
		"Unchanged": {
			reason: "What differs is judged, and nothing else.",
			args:   []string{"--base", "main", "--head", r.signed(gitrepo.Change{Files: map[string]string{"README": "x"}, Detached: true}).String()},
		},
		"All": {
			reason: "With --all what does not differ is judged too.",
			args:   []string{"--base", "main", "--head", r.signed(gitrepo.Change{Files: map[string]string{"README": "y"}, Detached: true}).String(), "--all"},
			want:   []string{"warn policy PolicyDenied app/settings.yaml:1"},
		},
		"Same": {
			reason: "A head that adds nothing changes nothing.",
			args:   []string{"--base", "main", "--head", "main"},
			want:   []string{"info commit NonFastForward "},
		},
		"Unrelated": {
			reason: "Histories without a common commit.",
			args:   []string{"--base", "main", "--head", other.String()},
			code:   exitUsage, errs: "gitgate: GitSync gitgate-system/shop: main and " + other.String() + " have no commit in common: name the base that head was made from; a shallow clone has to be deepened first (git fetch --unshallow)\n",
		},
		"Unknown": {
			reason: "A revision that is not there.",
			args:   []string{"--base", "nowhere"},
			code:   exitUsage, errs: "gitgate: GitSync gitgate-system/shop: --base: revision \"nowhere\": no such branch, tag or commit\n",
		},
		"UnknownHead": {
			reason: "A head that is not there.",
			args:   []string{"--head", "nowhere"},
			code:   exitUsage, errs: "gitgate: GitSync gitgate-system/shop: --head: revision \"nowhere\": no such branch, tag or commit\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errs := r.check(append(tc.args, "-o", "json")...)
			if code != tc.code || errs != tc.errs {
				t.Fatalf("%s\nexit %d, want %d, stderr %q\n%s", tc.reason, code, tc.code, errs, out)
			}
			if tc.errs != "" {
				if out != "" {
					t.Errorf("%s\nwrote %q", tc.reason, out)
				}
				return
			}
			if diff := cmp.Diff(tc.want, found(t, out)); diff != "" {
				t.Errorf("%s\n(-want +got)\n%s\n%s", tc.reason, diff, out)
			}
		})
	}
}

// TestCheckOrigin takes the branch at the remote for what is in force.
func TestCheckOrigin(t *testing.T) {
	r := newCheckRepo(t)
	r.signed(gitrepo.Change{Files: map[string]string{"app/settings.yaml": strings.ReplaceAll(settings, "blue", "red")}})
	args := []string{"-o", "json", "--head", "main"}
	if _, out, _ := r.check(args...); len(found(t, out)) != 1 {
		t.Fatalf("without a remote: %s", out)
	}
	ref := filepath.Join(r.Dir, ".git", "refs", "remotes", "origin", "main")
	if err := os.MkdirAll(filepath.Dir(ref), 0o755); err != nil {
		t.Fatal(err)
	}
	head := r.signed(gitrepo.Change{Delete: []string{"app/settings.yaml"}})
	if err := os.WriteFile(ref, []byte(head.String()+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	// Nobody deletes the settings here: the remote has done so already.
	r.signed(gitrepo.Change{Files: map[string]string{"README": "x"}})
	if code, out, errs := r.check(args...); code != exitAllowed || errs != "" || len(found(t, out)) != 0 {
		t.Errorf("exit %d, stderr %q, stdout %s", code, errs, out)
	}
}

// TestCheckWorkTree judges what nobody has committed. It never counts as verified.
func TestCheckWorkTree(t *testing.T) {
	r := newCheckRepo(t)
	write := func(name, text string) {
		t.Helper()
		file := filepath.Join(r.Dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("app/web.yaml", strings.ReplaceAll(webManifest("registry.example.com/web"+digest), "{app: web}", "{app: shop}"))
	write("app/settings.yaml", settings)
	write("app/more.yaml", strings.ReplaceAll(settings, "settings", "more"))
	code, out, errs := r.check("--base", "main", "--worktree", "-o", "json")
	want := []string{"deny policy PolicyDenied app/web.yaml:7", "undetermined commit UnsignedCommit "}
	if diff := cmp.Diff(want, found(t, out)); code != exitDenied || errs != "" || diff != "" {
		t.Errorf("exit %d, stderr %q (-want +got)\n%s", code, errs, diff)
	}
	write("app/web.yaml", webManifest("registry.example.com/web"+digest))
	if code, out, _ := r.check("--base", "main", "--worktree"); code != exitUndetermined {
		t.Errorf("a clean work tree: exit %d\n%s", code, out)
	}
	if code, out, _ := r.check("--base", "main", "--worktree", "--fail-on", "deny"); code != exitAllowed {
		t.Errorf("a clean work tree, failing on denials only: exit %d\n%s", code, out)
	}
	bare := filepath.Join(t.TempDir(), "bare.git")
	if err := os.Rename(filepath.Join(r.Dir, ".git"), bare); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := r.check("--repo", bare, "--worktree"); code != exitUsage || !strings.Contains(errs, "has no work tree") {
		t.Errorf("a bare repository: exit %d, stderr %q", code, errs)
	}
}

// TestCheckShallow: a clone that lacks commits says so, and lets nothing pass.
func TestCheckShallow(t *testing.T) {
	r := newCheckRepo(t)
	head := r.signed(gitrepo.Change{Files: map[string]string{"README": "x"}})
	object := filepath.Join(r.Dir, ".git", "objects", r.main.String()[:2], r.main.String()[2:])
	if err := os.Remove(object); err != nil {
		t.Fatal(err)
	}
	code, out, errs := r.check("--head", head.String(), "-o", "json")
	if code != exitDenied || errs != "" || !strings.Contains(fmt.Sprint(found(t, out)), "IncompleteHistory") {
		t.Errorf("exit %d, stderr %q, stdout %s", code, errs, out)
	}
	// Git tells hooks of a new branch by zeros: everything since the root counts.
	code, out, errs = r.check("--head", head.String(), "--base", plumbing.ZeroHash.String(), "-o", "json")
	if code != exitDenied || errs != "" || !strings.Contains(fmt.Sprint(found(t, out)), "IncompleteHistory") {
		t.Errorf("a new branch: exit %d, stderr %q, stdout %s", code, errs, out)
	}
	if code, _, errs = r.check("--head", head.String(), "--base", strings.Repeat("1", 40)); code != exitUsage || !strings.Contains(errs, "object not found") {
		t.Errorf("a base that is not there: exit %d, stderr %q", code, errs)
	}
}
