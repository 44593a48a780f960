package main

import (
	"bytes"
	"crypto/sha1"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing/format/index"
	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/test/testkit/gitrepo"
)

// git runs git in the work tree of the repository.
func (r *checkRepo) git(args ...string) string {
	r.t.Helper()
	out, err := r.Git(append([]string{"-c", "user.name=Carol", "-c", "user.email=carol@example.com"}, args...)...)
	if err != nil {
		r.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (r *checkRepo) file(name, content string) {
	r.t.Helper()
	name = filepath.Join(r.Dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

const plaintext = "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: shop}\nstringData: {password: hunter2}\n"

func TestCheckStaged(t *testing.T) {
	unsigned := "undetermined commit UnsignedCommit "
	for name, tc := range map[string]struct {
		reason string
		stage  func(*testing.T, *checkRepo)
		args   []string
		code   int
		want   []string
		errs   string
	}{
		"Clean": {
			reason: "What nobody has signed cannot count.",
			stage:  func(*testing.T, *checkRepo) {},
			code:   exitUndetermined, want: []string{unsigned},
		},
		"Staged": {
			reason: "The Secret is gone from the work tree, but it is staged.",
			stage: func(t *testing.T, r *checkRepo) {
				r.file("app/s.yaml", plaintext)
				r.git("add", "app/s.yaml")
				r.file("app/s.yaml", settings)
			},
			args: []string{"--fail-on", "deny"},
			code: exitDenied, want: []string{"deny secret PlaintextSecret app/s.yaml:4", unsigned},
		},
		"NotStaged": {
			reason: "What stands in the work tree only is not committed by git commit.",
			stage:  func(_ *testing.T, r *checkRepo) { r.file("app/s.yaml", plaintext) },
			args:   []string{"--fail-on", "deny"},
			want:   []string{unsigned},
		},
		"Removed": {
			reason: "What is staged for deletion is deleted.",
			stage:  func(_ *testing.T, r *checkRepo) { r.git("rm", "-q", "--cached", "app/settings.yaml") },
			code:   exitDenied, want: []string{"deny policy PolicyDenied app/settings.yaml:1", unsigned},
		},
		"IntentToAdd": {
			reason: "git add -N stages no content.",
			stage: func(_ *testing.T, r *checkRepo) {
				r.file("app/deep/s.yaml", plaintext)
				r.git("add", "-N", "app/deep/s.yaml")
			},
			args: []string{"--fail-on", "deny"},
			want: []string{unsigned},
		},
		"Conflict": {
			reason: "A conflict holds three versions, of which none is to be committed.",
			stage: func(_ *testing.T, r *checkRepo) {
				r.file("app/settings.yaml", settings+"# theirs\n")
				r.git("checkout", "-q", "-b", "theirs")
				r.git("commit", "-qam", "theirs")
				r.git("checkout", "-q", "main")
				r.file("app/settings.yaml", settings+"# ours\n")
				r.git("commit", "-qam", "ours")
				if out, err := r.Git("-c", "user.name=c", "-c", "user.email=c@example.com", "merge", "theirs"); err == nil {
					r.t.Fatalf("no conflict: %s", out)
				}
			},
			code: exitUsage, errs: "app/settings.yaml is in conflict",
		},
		"Split": {
			reason: "Half an index would be judged.",
			stage:  func(_ *testing.T, r *checkRepo) { r.git("update-index", "--split-index") },
			code:   exitUsage, errs: "--no-split-index",
		},
		"Sparse": {
			reason: "Directories that are not checked out are in the commit all the same.",
			stage: func(_ *testing.T, r *checkRepo) {
				r.git("sparse-checkout", "init", "--cone", "--sparse-index")
				r.git("sparse-checkout", "set", "other")
				if out := r.git("ls-files", "--sparse", "--stage"); !strings.Contains(out, "040000") {
					r.t.Fatalf("the index is not sparse:\n%s", out)
				}
			},
			code: exitUndetermined, want: []string{unsigned},
		},
		"Linked": {
			reason: "A work tree of git worktree has an index of its own.",
			stage: func(t *testing.T, r *checkRepo) {
				linked := filepath.Join(t.TempDir(), "linked")
				r.git("worktree", "add", "-q", "-b", "linked", linked)
				r.Dir = linked
				r.file("app/s.yaml", plaintext)
				if out, err := exec.Command("git", "-C", linked, "add", "app/s.yaml").CombinedOutput(); err != nil {
					t.Fatalf("%s", out)
				}
			},
			code: exitDenied, want: []string{"deny secret PlaintextSecret app/s.yaml:4", unsigned},
		},
		"Bare": {
			reason: "A bare repository stages nothing.",
			stage: func(t *testing.T, r *checkRepo) {
				bare := filepath.Join(t.TempDir(), "bare.git")
				r.git("clone", "-q", "--bare", r.Dir, bare)
				r.Dir = bare
			},
			code: exitUsage, errs: "has no index",
		},
		"NoObject": {
			reason: "An index may name what is not there.",
			stage: func(_ *testing.T, r *checkRepo) {
				r.git("update-index", "--add", "--cacheinfo", "100644,"+strings.Repeat("ab", 20)+",app/gone.yaml")
			},
			code: exitUndetermined, want: []string{unsigned, "undetermined render SourceUnavailable app/gone.yaml:0"},
		},
		"DotGit": {
			reason: "A path that no commit may hold stops what reads it.",
			stage: func(t *testing.T, r *checkRepo) {
				forgeIndexName(t, filepath.Join(r.GitDir(), "index"), "app/more.yaml", "app/.git/x.ya")
			},
			code: exitUndetermined, want: []string{unsigned, "undetermined render SourceUnavailable app:0"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newCheckRepo(t)
			r.git("reset", "-q", "--hard")
			tc.stage(t, r)
			code, out, errs := r.check(append([]string{"--staged", "--base", r.main.String(), "-o", "json"}, tc.args...)...)
			if tc.errs != "" {
				if code != tc.code || !strings.Contains(errs, tc.errs) || strings.Count(errs, "\n") != 1 {
					t.Fatalf("%s\nexit %d, want %d, stderr %q, want %q", tc.reason, code, tc.code, errs, tc.errs)
				}
				return
			}
			if code != tc.code || errs != "" {
				t.Fatalf("%s\nexit %d, want %d, stderr %q, stdout %s", tc.reason, code, tc.code, errs, out)
			}
			if diff := cmp.Diff(tc.want, found(t, out)); diff != "" {
				t.Errorf("%s\n(-want +got)\n%s\n%s", tc.reason, diff, out)
			}
			if !strings.Contains(out, `"the index is not committed`) {
				t.Errorf("the verdict does not say that the index is judged:\n%s", out)
			}
		})
	}
}

// forgeIndexName replaces a name in an index by one as long, which git would refuse.
func forgeIndexName(t *testing.T, file, old, name string) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	body := bytes.Replace(raw[:len(raw)-sha1.Size], []byte(old), []byte(name), 1)
	sum := sha1.Sum(body)
	if err := os.WriteFile(file, append(body, sum[:]...), 0o644); err != nil {
		t.Fatal(err)
	}
}

// In an empty repository everything that is staged is judged.
func TestCheckStagedWithoutCommit(t *testing.T) {
	r := newCheckRepo(t)
	empty, err := gitrepo.Init(filepath.Join(t.TempDir(), "empty"))
	if err != nil {
		t.Fatal(err)
	}
	r.Repo = empty
	r.file("app/s.yaml", plaintext)
	r.git("add", ".")
	code, out, errs := r.check("--staged", "-o", "json")
	if want := []string{"deny secret PlaintextSecret app/s.yaml:4", "undetermined commit UnsignedCommit "}; code != exitDenied || !cmp.Equal(want, found(t, out)) {
		t.Errorf("exit %d, findings %q, want %q, stderr %q", code, found(t, out), want, errs)
	}
}

// Git names the index of the commit that it is making, absolute or from the top of
// the work tree.
func TestCheckStagedHonoursGitIndexFile(t *testing.T) {
	r := newCheckRepo(t)
	r.git("reset", "-q", "--hard")
	r.file("app/s.yaml", plaintext)
	other := filepath.Join(r.GitDir(), "next-index.lock")
	t.Setenv("GIT_INDEX_FILE", other)
	r.git("read-tree", "HEAD")
	r.git("add", "app/s.yaml")
	for _, name := range []string{other, ".git/next-index.lock"} {
		t.Setenv("GIT_INDEX_FILE", name)
		if code, out, errs := r.check("--staged"); code != exitDenied || !strings.Contains(out, "PlaintextSecret") {
			t.Errorf("GIT_INDEX_FILE=%s: exit %d, stdout %q, stderr %q", name, code, out, errs)
		}
	}
	t.Setenv("GIT_INDEX_FILE", "")
	if code, out, _ := r.check("--staged"); code != exitUndetermined {
		t.Errorf("without it: exit %d, %s", code, out)
	}
}

func TestCheckStagedIsAloneOfItsKind(t *testing.T) {
	r := newCheckRepo(t)
	for _, other := range []string{"--worktree", "--head=HEAD"} {
		if code, _, errs := r.check("--staged", other); code != exitUsage || !strings.Contains(errs, "staged") {
			t.Errorf("--staged %s: exit %d, %q", other, code, errs)
		}
	}
}

// The tree that is made of an index is the one that git would commit, whatever the
// version of the index.
func TestStagedTreeIsGits(t *testing.T) {
	r := newCheckRepo(t)
	r.git("reset", "-q", "--hard")
	long := strings.Repeat("long-", 50)
	for _, name := range []string{"a", "a-b/x", "a.b/x", "ab/c/d", "ab/c-d", "ä/ü", long + "/" + long + "/f", long + "/" + long + "/g"} {
		r.file("tree/"+name+"/f", name)
	}
	r.file("tree/run.sh", "#!")
	if err := os.Chmod(filepath.Join(r.Dir, "tree/run.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("run.sh", filepath.Join(r.Dir, "tree/link")); err != nil {
		t.Fatal(err)
	}
	r.git("add", "tree")
	r.git("update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("12", 20)+",tree/sub")
	for name, prepare := range map[string]func(t *testing.T, file string){
		"Version2": func(*testing.T, string) { r.git("update-index", "--index-version", "2") },
		"Version3": func(*testing.T, string) {
			r.file("tree/later", "x")
			r.git("add", "-N", "tree/later")
		},
		"Version4": func(*testing.T, string) {
			r.git("update-index", "--index-version", "4")
		},
		"NoChecksum": func(t *testing.T, file string) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			clear(raw[len(raw)-sha1.Size:]) // as git does with index.skipHash
			if err := os.WriteFile(file, raw, 0o644); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			want := r.git("write-tree")
			file := filepath.Join(r.GitDir(), "index")
			prepare(t, file)
			repo, err := openGitRepository(r.Dir)
			if err != nil {
				t.Fatal(err)
			}
			tree, err := repo.staged()
			if err != nil {
				t.Fatal(err)
			}
			if got := tree.(interface{ TreeHash(string) string }).TreeHash("."); got != want {
				t.Errorf("tree %s, git writes %s", got, want)
			}
			if content, err := fs.ReadFile(tree, "tree/ä/ü/f"); err != nil || string(content) != "ä/ü" {
				t.Errorf("read %q, %v", content, err)
			}
		})
	}
}

// indexSeeds are indexes as git writes them.
func indexSeeds(t testing.TB) [][]byte {
	t.Helper()
	repo, err := gitrepo.Init(filepath.Join(t.TempDir(), "seeds"))
	if err != nil {
		t.Fatal(err)
	}
	var seeds [][]byte
	for _, version := range []string{"2", "4"} {
		for _, args := range [][]string{
			{"update-index", "--add", "--cacheinfo", "100644," + strings.Repeat("ab", 20) + ",app/web.yaml"},
			{"update-index", "--add", "--cacheinfo", "100755," + strings.Repeat("cd", 20) + ",app/web.yaml.sh"},
			{"update-index", "--index-version", version},
		} {
			if out, err := repo.Git(args...); err != nil {
				t.Fatal(out)
			}
		}
		raw, err := os.ReadFile(filepath.Join(repo.GitDir(), "index"))
		if err != nil {
			t.Fatal(err)
		}
		seeds = append(seeds, raw)
	}
	return seeds
}

func TestDamagedIndexIsRefused(t *testing.T) {
	for _, seed := range indexSeeds(t) {
		for n := range seed {
			if entries, err := parseIndex(seed[:n]); err == nil {
				t.Errorf("the first %d of %d bytes give %d entries", n, len(seed), len(entries))
			}
			// Without a checksum nothing but the structure can tell.
			cut := append(bytes.Clone(seed[:n]), make([]byte, sha1.Size)...)
			if entries, err := parseIndex(cut); err == nil && n < len(seed)-sha1.Size && len(entries) != 2 {
				t.Errorf("the first %d of %d bytes, with no checksum, give %d entries", n, len(seed), len(entries))
			}
		}
	}
}

// A small index of version 4 can say many long names.
func TestIndexNamesAreBounded(t *testing.T) {
	entry := func(strip byte, name string) []byte {
		e := make([]byte, indexFixedBytes)
		e[26], e[27] = 0x81, 0xa4 // 100644
		return append(append(e, strip), name+"\x00"...)
	}
	raw := []byte("DIRC\x00\x00\x00\x04\x00\x03\x00\x00")
	raw = append(raw, entry(0, strings.Repeat("n", maxIndexName))...)
	for range 3 << 16 {
		raw = append(raw, entry(1, "x")...)
	}
	if _, err := parseIndex(append(raw, make([]byte, sha1.Size)...)); err == nil || !strings.Contains(err.Error(), "bytes of names") {
		t.Errorf("err = %v", err)
	}
}

// What is accepted is what go-git reads.
func FuzzIndex(f *testing.F) {
	for _, seed := range indexSeeds(f) {
		f.Add(seed[:len(seed)-sha1.Size])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		sum := sha1.Sum(body)
		raw := append(bytes.Clone(body), sum[:]...)
		entries, err := parseIndex(raw)
		if err != nil {
			return
		}
		var theirs index.Index
		if err := index.NewDecoder(bytes.NewReader(raw)).Decode(&theirs); err != nil {
			return // it is stricter about extensions that are passed over here
		}
		if len(entries) != len(theirs.Entries) {
			t.Fatalf("%d entries, go-git reads %d", len(entries), len(theirs.Entries))
		}
		for i, e := range entries {
			if other := theirs.Entries[i]; e.name != other.Name || e.hash != other.Hash || e.mode != other.Mode || e.intentToAdd != other.IntentToAdd {
				t.Errorf("entry %d: %+v, go-git reads %v", i, e, other)
			}
		}
	})
}
