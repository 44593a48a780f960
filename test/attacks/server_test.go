package main_test

import (
	"bytes"
	"compress/zlib"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/gitserver"
	"gitgate.dev/gitgate/test/testkit/lab"
)

// onServer puts the repository on a server of its own, which may turn hostile.
func onServer(server *gitserver.Server) func(*site, *setup) {
	return func(s *site, p *setup) {
		p.server = server
		p.sync.Spec.SecretRef.Name = s.name
		s.must(s.Client.Create(s.t.Context(), &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: lab.SystemNamespace, Name: s.name},
			Data:       map[string][]byte{"username": []byte("bot"), "password": []byte(canary), "ca.crt": server.CA()},
		}))
	}
}

func newServer(t *testing.T) *gitserver.Server {
	return gitserver.New(t, gitserver.Options{TLS: true, Username: "bot", Password: canary})
}

// The server may lie about what came before; the signatures do not.
func TestAttack_G15_HiddenAncestors(t *testing.T) {
	t.Parallel()
	s := newSite(t, "g15-site")
	build := func(s *site) (bad, covered plumbing.Hash) {
		bad = s.commit(gitrepo.Change{Files: evil(), Author: s.Alice.Person()})
		covered = s.commit(gitrepo.Change{})
		s.commit(gitrepo.Change{})
		return bad, covered
	}
	s.run("Replace", func(s *site) {
		bad, covered := build(s)
		clean := s.commit(gitrepo.Change{Parents: []plumbing.Hash{s.good}, Detached: true})
		s.must(s.repo.Replace(covered, clean))
		s.refused(refusal{reason: verdict.UnsignedCommit, commit: bad})
	})
	forget := func(s *site, name string) { s.must(os.Remove(filepath.Join(s.repo.GitDir(), name))) }
	s.run("Graft", func(s *site) {
		_, covered := build(s)
		s.must(s.repo.Graft(covered, s.good))
		defer func() {
			forget(s, "info/grafts")
			s.tip(s.good)
			s.accept(gitrepo.Change{})
		}()
		before := s.state()
		// git sends nothing of what the graft hides.
		s.quarantined(s.attempt(), plumbing.ZeroHash, refusal{reason: verdict.IncompleteHistory, source: true})
		s.unchanged(before)
	})
	s.run("Shallow", func(s *site) {
		_, covered := build(s)
		s.must(s.repo.Shallow(covered))
		defer func() {
			forget(s, "shallow")
			s.tip(s.good)
			s.accept(gitrepo.Change{})
		}()
		before := s.state()
		got := s.attempt()
		s.quarantined(got, plumbing.ZeroHash, refusal{reason: verdict.IncompleteHistory, source: true})
		s.unchanged(before)
	})
}

const lfsPointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"

func TestAttack_G16_UnsignedContent(t *testing.T) {
	t.Parallel()
	s := newSite(t, "g16-site")
	const kustomization = "resources:\n- web.yaml\n- marker.yaml\n"
	for name, tc := range map[string]struct {
		change gitrepo.Change
		file   string
		line   int
	}{
		"Submodule": {gitrepo.Change{Submodules: map[string]plumbing.Hash{"deploy/vendor": plumbing.NewHash(strings.Repeat("ab", 20))}}, "deploy/vendor", 0},
		"SubmoduleBase": {gitrepo.Change{
			Files:      map[string]string{"deploy/kustomization.yaml": kustomization + "- ../vendor/base\n"},
			Submodules: map[string]plumbing.Hash{"vendor": plumbing.NewHash(strings.Repeat("ab", 20))},
		}, "deploy/kustomization.yaml", 4},
		"LFSPointer": {gitrepo.Change{Files: map[string]string{"deploy/big.yaml": lfsPointer}}, "deploy/big.yaml", 0},
		"LFSGenerator": {gitrepo.Change{Files: map[string]string{
			"deploy/kustomization.yaml": kustomization + "configMapGenerator:\n- name: big\n  files:\n  - big.bin\n", "deploy/big.bin": lfsPointer,
		}}, "deploy/kustomization.yaml", 7},
		"Filter": {gitrepo.Change{Files: map[string]string{
			".gitattributes": "deploy/evil.yaml filter=crypt\n", "deploy/evil.yaml": evil()["deploy/evil.yaml"],
		}}, "deploy/evil.yaml", 0},
	} {
		s.run(name, func(s *site) {
			s.denied(refusal{reason: verdict.UnsignedContent, file: tc.file, line: tc.line}, tc.change)
		})
	}
}

// aHistory is the smallest repository, as a pack and its head, with more entries
// in it.
func aHistory(extra ...gitserver.PackEntry) (pack []byte, head string) {
	blob := []byte(evil()["deploy/evil.yaml"])
	raw, _ := hex.DecodeString(gitserver.Hash("blob", blob)) // it is hexadecimal
	tree := append([]byte("100644 evil.yaml\x00"), raw...)
	commit := fmt.Appendf(nil, "tree %s\nauthor a <a@example.com> 1 +0000\ncommitter a <a@example.com> 1 +0000\n\nm\n", gitserver.Hash("tree", tree))
	entries := append([]gitserver.PackEntry{
		{Type: gitserver.Commit, Data: commit}, {Type: gitserver.Tree, Data: tree}, {Type: gitserver.Blob, Data: blob},
	}, extra...)
	return gitserver.BuildPack(entries...), gitserver.Hash("commit", commit)
}

// zeros is a zlib stream of n zero bytes, of a thousandth of that.
func zeros(n int64) []byte {
	var b bytes.Buffer
	w, _ := zlib.NewWriterLevel(&b, zlib.BestSpeed) // the level is valid
	_, _ = io.Copy(w, io.LimitReader(zeroReader{}, n))
	_ = w.Close() // a bytes.Buffer cannot fail
	return b.Bytes()
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestAttack_G17_HostileServer(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	s := newSite(t, "g17-site", onServer(server))
	pack, head := aHistory()
	mainRef := gitserver.ScriptRef{Name: "refs/heads/main", Hash: head}
	bomb := zeros(256 << 20)
	packOf := func(extra ...gitserver.PackEntry) []byte { p, _ := aHistory(extra...); return p }
	for name, tc := range map[string]struct {
		script gitserver.Script
		want   verdict.Reason
	}{
		"RefThatClimbs":    {gitserver.Script{Refs: []gitserver.ScriptRef{mainRef, {Name: "refs/heads/../../config", Hash: head}}, Pack: pack}, verdict.MalformedObject},
		"TagThatClimbs":    {gitserver.Script{Refs: []gitserver.ScriptRef{mainRef, {Name: "refs/tags/gitgate-rollback/../../../config", Hash: head, Peeled: head}}, Pack: pack}, verdict.MalformedObject},
		"HashThatClimbs":   {gitserver.Script{Refs: []gitserver.ScriptRef{{Name: "refs/heads/main", Hash: "../../../../../../../../../../../etc/passwd"}}, Pack: pack}, verdict.MalformedObject},
		"ZlibBomb":         {gitserver.Script{Refs: []gitserver.ScriptRef{mainRef}, Pack: packOf(gitserver.PackEntry{Type: gitserver.Blob, Size: 256 << 20, Deflated: bomb})}, verdict.LimitExceeded},
		"ZlibBombLying":    {gitserver.Script{Refs: []gitserver.ScriptRef{mainRef}, Pack: packOf(gitserver.PackEntry{Type: gitserver.Blob, Size: 10, Deflated: bomb})}, verdict.MalformedObject},
		"DeclaredTerabyte": {gitserver.Script{Refs: []gitserver.ScriptRef{mainRef}, Pack: packOf(gitserver.PackEntry{Type: gitserver.Blob, Size: 1 << 40, Data: []byte("x")})}, verdict.LimitExceeded},
		"ObjectCount":      {gitserver.Script{Refs: []gitserver.ScriptRef{mainRef}, Pack: gitserver.SumPack([]byte("PACK\x00\x00\x00\x02\xff\xff\xff\xff"))}, verdict.LimitExceeded},
		"DeltaBomb": {gitserver.Script{Refs: []gitserver.ScriptRef{mainRef}, Pack: packOf(
			gitserver.PackEntry{Type: gitserver.Blob, Data: bytes.Repeat([]byte("f"), 65536)},
			gitserver.PackEntry{Type: gitserver.OffsetDelta, Base: 3, Data: gitserver.Delta(65536, 1024*65535, slices.Repeat([][]byte{gitserver.CopyFromBase(0, 65535)}, 1024)...)},
		)}, verdict.LimitExceeded},
	} {
		s.run(name, func(s *site) {
			outside := s.filesOutsideOfClones()
			before := s.state()
			grew := s.peakMemory(func() {
				server.Inject(gitserver.Fault{Handler: tc.script.ServeHTTP})
				defer server.Heal()
				s.quarantined(s.attempt(), plumbing.ZeroHash, refusal{reason: tc.want, source: true})
			})
			if grew > 256<<20 {
				s.t.Errorf("memory grew by %d MiB", grew>>20)
			}
			if diff := cmp.Diff(outside, s.filesOutsideOfClones()); diff != "" {
				s.t.Errorf("files outside of the clones (-before +after):\n%s", diff)
			}
			s.unchanged(before)
			s.accept(gitrepo.Change{})
		})
	}
}

// filesOutsideOfClones lists what lies in the lab's directory where no clone and
// no repository is.
func (s *site) filesOutsideOfClones() (out []string) {
	s.t.Helper()
	s.must(filepath.WalkDir(s.Dir, func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(s.Dir, path) // path is below Dir
		switch {
		case err != nil:
			return fs.SkipDir // a clone's temporary file that is gone already
		case name == "git", name == "data/repositories", strings.HasPrefix(name, "cluster"), strings.HasPrefix(name, "gitgate-cluster"):
			return fs.SkipDir
		}
		out = append(out, name)
		return nil
	}))
	return out
}

// peakMemory runs f and returns by how many bytes the resident memory of gitgate
// grew at most; zero where the system does not tell.
func (s *site) peakMemory(f func()) int64 {
	s.t.Helper()
	if runtime.GOOS != "linux" {
		f()
		return 0
	}
	proc := fmt.Sprintf("/proc/%d/", s.pid)
	if err := os.WriteFile(proc+"clear_refs", []byte("5"), 0); err != nil { // resets the peak (proc(5))
		s.t.Logf("memory is not measured: %v", err)
		f()
		return 0
	}
	before := s.highWater(proc)
	f()
	return s.highWater(proc) - before
}

func (s *site) highWater(proc string) int64 {
	s.t.Helper()
	status, err := os.ReadFile(proc + "status")
	s.must(err)
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kilobytes, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	s.must(err)
	return kilobytes << 10
}

func TestAttack_G18_URLs(t *testing.T) {
	t.Parallel()
	server, thief := newServer(t), gitserver.New(t, gitserver.Options{})
	s := newSite(t, "g18-site", onServer(server))
	s.run("Redirect", func(s *site) {
		before := s.state()
		s.commit(gitrepo.Change{})
		server.Inject(gitserver.Fault{Redirect: strings.TrimSuffix(thief.URL(""), "/")})
		s.quarantined(s.attempt(), plumbing.ZeroHash, refusal{reason: verdict.SourceUnavailable, source: true, says: "redirect"})
		server.Heal()
		for _, r := range thief.Requests() {
			s.t.Errorf("the target of the redirect was asked for %s with the header %v", r.Path, r.Header)
		}
		s.unchanged(before)
		s.tip(s.good)
		s.accept(gitrepo.Change{})
	})
	for name, url := range map[string]string{
		"File": "file:///etc", "Option": "--upload-pack=touch /tmp/pwned", "Path": "/srv/git/a.git", "Quote": "ssh://git@git.example.com/a'; id; '.git",
		"Credentials": "https://bot:" + canary + "@git.example.com/a.git", "PlainHTTP": "http://git.example.com/a.git", "Command": "ext::sh -c id",
	} {
		t.Run(name, func(t *testing.T) {
			g := s.GitSync()
			g.Name, g.Spec.URL = s.name+"-url", url
			s.refusedByAPI(t, g, "spec.url")
		})
	}
	// What gets past the API server is refused when it is read.
	for name, url := range map[string]string{"OptionForHost": "ssh://-oProxyCommand=id/a.git", "DollarInPath": "ssh://git@git.example.com/$HOME.git"} {
		s.run(name, func(s *site) {
			s.stalls(verdict.RepositoryNotTrusted, func(g *v1alpha1.GitSync) { g.Spec.URL = url })
		})
	}
}

// The trust that judges a commit is what was in force before it.
func TestAttack_G19_CommitChangesItsJudge(t *testing.T) {
	t.Parallel()
	s := newSite(t, "g19-site", withPolicy(`deny contains "owned" if input.object.data.owned`))
	trust := s.TrustPolicy()
	trust.Name = s.name
	trust.Spec.Repositories[0].URL, trust.Spec.Repositories[0].Root = s.repoURL(), s.root.String()
	trust.Spec.Commits.Signers = append(trust.Spec.Commits.Signers, v1alpha1.CommitSigner{
		Name: "mallory", OpenPGP: &v1alpha1.KeySource{Data: s.Mallory.Public()},
	})
	trust.Spec.Commits.Rules = nil
	s.run("OwnKey", func(s *site) {
		s.denied(refusal{reason: verdict.UntrustedSigner}, gitrepo.Change{
			Files: map[string]string{"deploy/trust.yaml": manifest(s.t, "TrustPolicy", trust)}, Author: s.Mallory.Person(), Sign: s.Mallory,
		})
	})
	s.run("OwnKeyBelowTrustedHead", func(s *site) {
		bad := s.commit(gitrepo.Change{
			Files: map[string]string{"deploy/trust.yaml": manifest(s.t, "TrustPolicy", trust)}, Author: s.Mallory.Person(), Sign: s.Mallory,
		})
		s.commit(gitrepo.Change{})
		s.refused(refusal{reason: verdict.UntrustedSigner, commit: bad})
	})
	s.run("KeyAddedInTheSamePush", func(s *site) {
		s.commit(gitrepo.Change{Files: map[string]string{"deploy/trust.yaml": manifest(s.t, "TrustPolicy", trust)}})
		bad := s.commit(gitrepo.Change{Files: evil(), Author: s.Mallory.Person(), Sign: s.Mallory})
		s.refused(refusal{reason: verdict.UntrustedSigner, commit: bad})
	})
	s.run("TrustedSignerWhoIsNotTheOwner", func(s *site) {
		// Bob may change what is deployed, but not who may.
		s.denied(refusal{reason: verdict.ScopeViolation, file: "deploy/web-2.yaml", says: "the TrustPolicy that judges it"}, gitrepo.Change{
			Files: map[string]string{"deploy/web-2.yaml": manifest(s.t, "TrustPolicy", trust)}, Author: s.Bob.Person(), Sign: s.Bob,
		})
	})
	s.run("AnotherTrustBesideTheOwn", func(s *site) {
		// A trust of his own making, and a GitSync that uses it.
		other := trust.DeepCopy()
		other.Name = "other"
		s.denied(refusal{reason: verdict.ScopeViolation, file: "deploy/web-2.yaml", says: "trustObjects"}, gitrepo.Change{
			Files: map[string]string{"deploy/web-2.yaml": manifest(s.t, "TrustPolicy", other)}, Author: s.Bob.Person(), Sign: s.Bob,
		})
	})
	s.run("PolicyRemovedInTheSameCommit", func(s *site) {
		set := &v1alpha1.PolicySet{ObjectMeta: metav1.ObjectMeta{Name: s.name}}
		set.Spec.Source.Inline = module(`deny contains "never" if false`)
		files := evil()
		files["deploy/policy.yaml"] = manifest(s.t, "PolicySet", set)
		s.denied(refusal{reason: verdict.ScopeViolation, file: "deploy/policy.yaml", says: "the PolicySet " + s.name}, gitrepo.Change{Files: files})
	})
}

// manifest writes an object of ours as YAML, which JSON is.
func manifest(t *testing.T, kind string, o any) string {
	t.Helper()
	content, err := toUnstructured(o)
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{Object: content}
	u.SetAPIVersion("gitgate.dev/v1alpha1")
	u.SetKind(kind)
	unstructured.RemoveNestedField(u.Object, "status")
	unstructured.RemoveNestedField(u.Object, "metadata", "creationTimestamp")
	out, err := u.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
