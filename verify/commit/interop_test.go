package commit_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"github.com/go-git/go-billy/v5/osfs"

	"gitgate.dev/gitgate/verify/commit"
)

// What git itself signs, with the real gpg and ssh-keygen, must be good: plain
// commits, merges of signed tags, and messages in other encodings.
func TestCommitsSignedByGit(t *testing.T) {
	for _, tool := range []string{"git", "gpg", "ssh-keygen"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	home, err := os.MkdirTemp("", "gg") // short: gpg-agent's socket has little room
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	t.Setenv("GNUPGHOME", home)
	t.Cleanup(func() {
		_ = exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run() // the agent may be gone
	})
	tool := func(name string, args ...string) string {
		t.Helper()
		out, err := exec.Command(name, args...).Output()
		if err != nil {
			t.Skipf("%s %v: %v: cannot make keys here", name, args, err)
		}
		return string(out)
	}
	const email = "dave@example.com"
	tool("gpg", "--batch", "--quiet", "--passphrase", "", "--quick-gen-key", "Dave <"+email+">", "rsa2048", "sign", "0")
	sshKey := filepath.Join(home, "key")
	tool("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", sshKey)
	public, err := os.ReadFile(sshKey + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	signers := map[string]commit.SignerConfig{
		"openpgp": {Name: "dave", OpenPGP: tool("gpg", "--armor", "--export", email)},
		"ssh":     {Name: "dave", AllowedSigners: email + ` namespaces="git" ` + string(public)},
	}
	for format, signer := range signers {
		t.Run(format, func(t *testing.T) {
			dir := t.TempDir()
			git := func(args ...string) string {
				t.Helper()
				key := email
				if format == "ssh" {
					key = sshKey
				}
				cmd := exec.Command("git", append([]string{"-C", dir, "-c", "gpg.format=" + format, "-c", "user.signingKey=" + key,
					"-c", "user.name=Dave", "-c", "user.email=" + email, "-c", "commit.gpgSign=true"}, args...)...)
				cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull)
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("git %v: %v\n%s", args, err, out)
				}
				return strings.TrimSpace(string(out))
			}
			git("init", "-q", "-b", "main")
			git("-c", "commit.gpgSign=false", "commit", "-q", "--allow-empty", "-m", "root")
			root := git("rev-parse", "HEAD")
			git("commit", "-q", "--allow-empty", "-m", "plain")
			git("checkout", "-q", "-b", "side", root)
			git("-c", "i18n.commitEncoding=ISO-8859-1", "commit", "-q", "--allow-empty", "-m", "in Latin-1")
			git("tag", "-s", "-m", "signed tag", "v1")
			git("checkout", "-q", "main")
			git("merge", "-q", "--no-ff", "-m", "with a mergetag", "v1")
			git("commit", "-q", "--amend", "--allow-empty", "-m", "amended")
			git("commit", "-q", "--allow-empty", "--allow-empty-message", "-m", "")
			if raw := git("cat-file", "commit", "HEAD^"); !strings.Contains(raw, "\nmergetag ") {
				t.Fatal("git wrote no mergetag")
			}
			v, err := commit.NewVerifier(commit.Config{Signers: []commit.SignerConfig{signer}, AuthorMustMatchSigner: true, Root: root})
			if err != nil {
				t.Fatal(err)
			}
			store := filesystem.NewStorage(osfs.New(filepath.Join(dir, ".git")), cache.NewObjectLRUDefault())
			tree, report := v.Verify(t.Context(), commit.Request{Objects: store, Head: plumbing.NewHash(git("rev-parse", "HEAD"))})
			if tree == nil || len(report.Commits) != 4 {
				t.Errorf("%d commits, problems %v", len(report.Commits), report.Problems)
			}
		})
	}
}
