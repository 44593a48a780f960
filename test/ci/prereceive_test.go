package ci

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"

	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/gitserver"
)

// refs shows what a server holds.
func refs(t *testing.T, server string) string {
	t.Helper()
	return git(t, server, "for-each-ref", "--format=%(refname) %(objectname)")
}

// A push is one row of TestPreReceive: what is prepared, and what is pushed.
type push struct {
	reason string
	// prepare sets the server up and returns what to push.
	prepare func(t *testing.T, p *project, server string) []string
	// refused is what the pusher is told; empty is accepted.
	refused string
}

const mainRef = ":refs/heads/main"

// config sets something on the server.
func config(t *testing.T, server string, args ...string) {
	t.Helper()
	git(t, server, append([]string{"config"}, args...)...)
}

var pushes = map[string]push{
	"Good": {"What the cluster would take is taken.", func(_ *testing.T, p *project, _ string) []string {
		return []string{p.good("f").String() + mainRef}
	}, ""},
	"GoodPack": {"However git stores what is pushed.", func(t *testing.T, p *project, server string) []string {
		config(t, server, "receive.unpackLimit", "1")
		return []string{p.good("f").String() + mainRef}
	}, ""},
	"Denied": {"What it would refuse is refused, with file and line.", func(_ *testing.T, p *project, _ string) []string {
		return []string{p.bad("f").String() + mainRef}
	}, "line 4: deny PolicyDenied"},
	"DeniedPack": {"However git stores what is pushed.", func(t *testing.T, p *project, server string) []string {
		config(t, server, "receive.unpackLimit", "1")
		return []string{p.bad("f").String() + mainRef}
	}, "PolicyDenied"},
	"Unsigned": {"Nobody signed it.", func(_ *testing.T, p *project, _ string) []string {
		return []string{p.unsigned("f").String() + mainRef}
	}, "UnsignedCommit"},
	"NewBranch": {"A new branch is judged from the root.", func(_ *testing.T, p *project, _ string) []string {
		return []string{p.good("f").String() + ":refs/heads/f"}
	}, ""},
	"NewBranchOfKnownCommits": {"Without objects git makes no quarantine.", func(_ *testing.T, p *project, _ string) []string {
		return []string{p.main.String() + ":refs/heads/f"}
	}, ""},
	"NewBranchDenied": {"Neither is a new branch a way in.", func(_ *testing.T, p *project, _ string) []string {
		return []string{p.bad("f").String() + ":refs/heads/f"}
	}, "PolicyDenied"},
	"NewBranchRemote": {"What somebody pushed as a remote's branch is in force for nobody.", func(t *testing.T, p *project, server string) []string {
		evil := p.bad("evil")
		git(t, p.Dir, "push", "-q", "file://"+server, evil.String()+":refs/remotes/origin/main")
		next := p.signed(gitrepo.Change{Branch: "f", Parents: []plumbing.Hash{evil}, Files: map[string]string{"x": "x"}})
		return []string{next.String() + ":refs/heads/f"}
	}, "PolicyDenied"},
	"OneOfTwo": {"All is refused or nothing.", func(_ *testing.T, p *project, _ string) []string {
		return []string{p.good("g").String() + ":refs/heads/g", p.bad("f").String() + mainRef}
	}, "PolicyDenied"},
	"Delete": {"A protected branch stays.", func(_ *testing.T, p *project, _ string) []string {
		return []string{mainRef}
	}, "cannot be deleted"},
	"Rewind": {"Nothing that is in force is taken away.", func(_ *testing.T, p *project, _ string) []string {
		return []string{"+" + p.root.String() + mainRef}
	}, "would drop commits"},
	"RewindAllowed": {"Unless that is wanted; what is left is judged all the same.", func(t *testing.T, p *project, server string) []string {
		config(t, server, "gitgate.denyNonFastForwards", "false")
		side := p.signed(gitrepo.Change{Branch: "side", Parents: []plumbing.Hash{p.root}, Files: map[string]string{"app/settings.yaml": strings.ReplaceAll(settings, "blue", "red")}})
		return []string{"+" + side.String() + mainRef}
	}, "PolicyDenied"},
	"Replaced": {"A replacement shows git, and nobody else, another history.", func(t *testing.T, p *project, server string) []string {
		side := p.signed(gitrepo.Change{Branch: "side", Parents: []plumbing.Hash{p.root}, Files: map[string]string{"app/settings.yaml": settings}})
		shown := p.signed(gitrepo.Change{Branch: "shown", Parents: []plumbing.Hash{p.main}, Files: map[string]string{"app/settings.yaml": settings, "x": "x"}})
		git(t, p.Dir, "push", "-q", "file://"+server, shown.String()+":refs/replace/"+side.String())
		return []string{"+" + side.String() + mainRef}
	}, "would drop commits"},
	"Unprotected": {"Other branches are nobody's business.", func(t *testing.T, p *project, server string) []string {
		config(t, server, "gitgate.protected", "refs/heads/main")
		return []string{p.bad("f").String() + ":refs/heads/f"}
	}, ""},
	"Pattern": {"Patterns are those of the shell, and not of its files.", func(t *testing.T, p *project, server string) []string {
		config(t, server, "gitgate.protected", "refs/heads/release-*")
		return []string{p.bad("f").String() + ":refs/heads/release-1/x"}
	}, "PolicyDenied"},
	"ShortName": {"A name that would match no ref is a mistake.", func(t *testing.T, p *project, server string) []string {
		config(t, server, "gitgate.protected", "main")
		return []string{p.bad("f").String() + mainRef}
	}, "does not begin with refs/"},
	"Alias": {"A symbolic ref is a way to the protected one.", func(t *testing.T, p *project, server string) []string {
		config(t, server, "gitgate.protected", "refs/heads/main")
		git(t, server, "symbolic-ref", "refs/heads/trunk", "refs/heads/main")
		return []string{p.bad("f").String() + ":refs/heads/trunk"}
	}, "PolicyDenied"},
	"Tag": {"A protected tag is judged by its commit.", func(t *testing.T, p *project, server string) []string {
		config(t, server, "gitgate.protected", "refs/tags/*")
		if _, err := p.Tag(gitrepo.Tag{Name: "v1", Target: p.bad("f")}); err != nil {
			t.Fatal(err)
		}
		return []string{"refs/tags/v1:refs/tags/v1"}
	}, "PolicyDenied"},
	"TagGood": {"And taken.", func(t *testing.T, p *project, server string) []string {
		config(t, server, "gitgate.protected", "refs/tags/*")
		if _, err := p.Tag(gitrepo.Tag{Name: "v1", Target: p.good("f")}); err != nil {
			t.Fatal(err)
		}
		return []string{"refs/tags/v1:refs/tags/v1"}
	}, ""},
	"TagMoved": {"It stays where it is.", func(t *testing.T, p *project, server string) []string {
		git(t, p.Dir, "push", "-q", "file://"+server, p.main.String()+":refs/tags/v1")
		config(t, server, "gitgate.protected", "refs/tags/*")
		return []string{"+" + p.good("f").String() + ":refs/tags/v1"}
	}, "a tag stays"},
	"TagOfBlob": {"What is no commit cannot be judged.", func(t *testing.T, p *project, server string) []string {
		config(t, server, "gitgate.protected", "refs/tags/*")
		h, err := p.Object(plumbing.BlobObject, []byte("blob"))
		if err != nil {
			t.Fatal(err)
		}
		return []string{h.String() + ":refs/tags/v1"}
	}, "not a commit"},
	"OwnTrust": {"A push cannot bring what judges it.", func(_ *testing.T, p *project, _ string) []string {
		h := p.signed(gitrepo.Change{Branch: "f", Parents: []plumbing.Hash{p.main}, Delete: []string{"gitgate"}, Files: map[string]string{"app/settings.yaml": strings.ReplaceAll(settings, "blue", "red")}})
		return []string{h.String() + mainRef}
	}, "PolicyDenied"},
	"Many": {"One push cannot keep the server busy for hours.", func(t *testing.T, p *project, server string) []string {
		config(t, server, "gitgate.binary", "true")
		var specs []string
		for i := range 101 {
			specs = append(specs, fmt.Sprintf("%s:refs/heads/b%d", p.main, i))
		}
		return specs
	}, "at most 100 protected refs"},
	"PerRef": {"A ref can have its own judges.", func(t *testing.T, p *project, server string) []string {
		config(t, server, "gitgate.refs/heads/main.config", "/not/there")
		return []string{p.good("f").String() + mainRef}
	}, "/not/there is not there"},
	"GitSync": {"And its own GitSync.", func(t *testing.T, p *project, server string) []string {
		config(t, server, "gitgate.gitsync", "a/b")
		return []string{p.good("f").String() + mainRef}
	}, "--gitsync a/b"},
	"Argument": {"Arguments are one each.", func(t *testing.T, p *project, server string) []string {
		config(t, server, "--add", "gitgate.argument", "--path")
		config(t, server, "--add", "gitgate.argument", "no such dir")
		return []string{p.good("f").String() + mainRef}
	}, "no such dir"},
	"NoConfiguration": {"Nothing says what judges.", func(t *testing.T, p *project, server string) []string {
		config(t, server, "--unset", "gitgate.config")
		return []string{p.good("f").String() + mainRef}
	}, "gitgate.config is not set"},
	"RelativeConfiguration": {"A relative path could be a revision of the push.", func(t *testing.T, p *project, server string) []string {
		config(t, server, "gitgate.config", "f:gitgate")
		return []string{p.good("f").String() + mainRef}
	}, "absolute path"},
	"ConfigurationIsGone": {"A directory that is not there could be.", func(t *testing.T, p *project, server string) []string {
		config(t, server, "gitgate.config", "/etc/gitgate/not/there:x")
		return []string{p.good("f").String() + mainRef}
	}, "is not there"},
	"BrokenConfiguration": {"A configuration that cannot be read judges nobody.", func(t *testing.T, p *project, _ string) []string {
		write(t, filepath.Join(p.config, "gitgate.yaml"), "kind: [", 0o644)
		return []string{p.good("f").String() + mainRef}
	}, "gitgate.yaml"},
	"BrokenSetting": {"Neither does a setting.", func(t *testing.T, p *project, server string) []string {
		config(t, server, "gitgate.denyNonFastForwards", "perhaps")
		return []string{p.good("f").String() + mainRef}
	}, "neither true nor false"},
	"NoBinary": {"Without gitgate nothing is accepted.", func(t *testing.T, p *project, server string) []string {
		config(t, server, "gitgate.binary", "/not/there/gitgate")
		return []string{p.good("f").String() + mainRef}
	}, "is not installed"},
	"Crash": {"Neither is anything when it crashes.", func(t *testing.T, p *project, server string) []string {
		crash := filepath.Join(t.TempDir(), "crash")
		write(t, crash, "#!/bin/sh\nkill -9 $$\n", 0o755)
		config(t, server, "gitgate.binary", crash)
		return []string{p.good("f").String() + mainRef}
	}, "the push is refused"},
	"Undetermined": {"What cannot be decided is not accepted.", func(t *testing.T, p *project, _ string) []string {
		h := p.signed(gitrepo.Change{Branch: "f", Parents: []plumbing.Hash{p.main}, Files: map[string]string{"app/x.yaml": "apiVersion: example.com/v1\nkind: Unknown\nmetadata: {name: x, namespace: shop}\nspec: {size: 1}\n"}})
		return []string{h.String() + mainRef}
	}, "undetermined"},
}

func TestPreReceive(t *testing.T) {
	for _, shell := range shells {
		for name, tc := range pushes {
			t.Run(shell+"/"+name, func(t *testing.T) {
				p := newProject(t)
				server := p.bareServer(shell)
				spec := tc.prepare(t, p, server)
				before := refs(t, server)
				code, out := run(t, p.Dir, environment(), "git", append([]string{"push", "file://" + server}, spec...)...)
				after := refs(t, server)
				if tc.refused == "" {
					if code != 0 || before == after {
						t.Errorf("%s\nexit %d\n%s", tc.reason, code, out)
					}
					return
				}
				if code == 0 || before != after {
					t.Errorf("%s\nexit %d, refs were\n%s\nand are\n%s\n%s", tc.reason, code, before, after, out)
				}
				if !strings.Contains(out, tc.refused) || !strings.Contains(out, "pre-receive hook declined") {
					t.Errorf("%s\nthe pusher is not told %q:\n%s", tc.reason, tc.refused, out)
				}
			})
		}
	}
}

// Nothing in a push is taken for a command, by the shell or by the terminal.
func TestPreReceiveOfHostileNames(t *testing.T) {
	for _, shell := range shells {
		t.Run(shell, func(t *testing.T) {
			p := newProject(t)
			server := p.bareServer(shell)
			mark := "pwned"
			ref := "refs/heads/$(touch${IFS}pwned)`touch${IFS}pwned`;touch${IFS}pwned;'\"&|%0a%1b"
			head := p.hostile("f", mark)
			code, out := run(t, p.Dir, environment(), "git", "-c", "gitgate.binary=true", "-c", "gitgate.protected=refs/none/*", "push", "file://"+server, head.String()+":"+ref)
			if code == 0 || !strings.Contains(out, "PolicyDenied") {
				t.Errorf("exit %d\n%s", code, out)
			}
			if strings.ContainsAny(out, "\x1b\a") {
				t.Errorf("control characters reach the terminal: %q", out)
			}
			for _, dir := range []string{server, p.Dir} {
				if _, err := os.Lstat(filepath.Join(dir, mark)); err == nil {
					t.Errorf("a command ran in %s", dir)
				}
			}
		})
	}
}

// A forge runs the hook behind git's HTTP backend.
func TestPreReceiveOverHTTP(t *testing.T) {
	p := newProject(t)
	s := gitserver.New(t, gitserver.Options{AllowPush: true, Username: "bot", Password: "x"})
	server := s.MustCreateRepo(t, "shop.git")
	url := strings.Replace(s.URL("shop.git"), "http://", "http://bot:x@", 1)
	git(t, p.Dir, "push", "-q", url, p.main.String()+mainRef)
	p.installHook(server, "sh")
	config(t, server, "gitgate.binary", gitgate)
	for name, tc := range map[string]struct {
		head plumbing.Hash
		want string
	}{
		"Denied": {p.bad("bad"), "PolicyDenied"},
		"Good":   {p.good("good"), ""},
	} {
		code, out := run(t, p.Dir, environment(), "git", "push", url, tc.head.String()+":refs/heads/"+strings.ToLower(name))
		moved := strings.Contains(refs(t, server), tc.head.String())
		if (tc.want == "") != (code == 0) || moved != (code == 0) || !strings.Contains(out, tc.want) {
			t.Errorf("%s: exit %d, moved %t\n%s", name, code, moved, out)
		}
	}
}
