package main_test

import (
	"bytes"
	"crypto"
	"slices"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/go-git/go-git/v5/plumbing"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
)

// evil is what the commits of attackers declare.
func evil() map[string]string {
	return map[string]string{"deploy/evil.yaml": lab.ConfigMap("evil", "owned", "yes")}
}

func TestAttack_G1_UnsignedHead(t *testing.T) {
	t.Parallel()
	s := newSite(t, "g1-site")
	head := s.commit(gitrepo.Change{Files: evil(), Author: s.Alice.Person()})
	s.refused(refusal{reason: verdict.UnsignedCommit, commit: head})
}

func TestAttack_G2_UnsignedAncestor(t *testing.T) {
	t.Parallel()
	s := newSite(t, "g2-site")
	s.run("Linear", func(s *site) {
		bad := s.commit(gitrepo.Change{Files: evil(), Author: s.Alice.Person()})
		s.commit(gitrepo.Change{})
		s.refused(refusal{reason: verdict.UnsignedCommit, commit: bad})
	})
	s.run("MergeParent", func(s *site) {
		bad := s.commit(gitrepo.Change{Files: evil(), Author: s.Alice.Person(), Branch: "side", Parents: []plumbing.Hash{s.good}})
		s.commit(gitrepo.Change{Files: evil(), Parents: []plumbing.Hash{s.good, bad}})
		s.refused(refusal{reason: verdict.UnsignedCommit, commit: bad})
	})
	s.run("ContentAddingMerge", func(s *site) {
		side := s.commit(gitrepo.Change{Branch: "side", Parents: []plumbing.Hash{s.good}})
		bad := s.commit(gitrepo.Change{Files: evil(), Author: s.Alice.Person(), Parents: []plumbing.Hash{s.good, side}})
		s.commit(gitrepo.Change{})
		s.refused(refusal{reason: verdict.UnsignedCommit, commit: bad})
	})
}

// The signature covers the tree that is reviewed; a second header names another.
func TestAttack_G3_DuplicateTree(t *testing.T) {
	t.Parallel()
	s := newSite(t, "g3-site")
	for name, forge := range map[string]func(other, raw []byte) []byte{
		"EvilFirst": func(other, raw []byte) []byte { return slices.Concat(other, raw) },
		"EvilSecond": func(other, raw []byte) []byte {
			i := bytes.IndexByte(raw, '\n') + 1
			return slices.Concat(raw[:i], other, raw[i:])
		},
	} {
		s.run(name, func(s *site) {
			reviewed, err := s.repo.Raw(s.commit(gitrepo.Change{Files: evil(), Detached: true}))
			s.must(err)
			other := reviewed[:bytes.IndexByte(reviewed, '\n')+1] // the header of the evil tree
			s.denied(refusal{reason: verdict.MalformedObject}, gitrepo.Change{
				Raw: func(raw []byte) []byte { return forge(other, raw) },
			})
		})
	}
}

func TestAttack_G4_AmbiguousHeaders(t *testing.T) {
	t.Parallel()
	s := newSite(t, "g4-site")
	second := func(header string) func([]byte) []byte {
		return func(raw []byte) []byte {
			armored, err := s.Mallory.Sign(raw)
			if err != nil {
				t.Error(err)
			}
			return gitrepo.InsertHeader(raw, gitrepo.Header{Name: header, Value: armored})
		}
	}
	replace := func(old, with string) func([]byte) []byte {
		return func(raw []byte) []byte {
			out := bytes.Replace(raw, []byte(old), []byte(with), 1)
			if bytes.Equal(out, raw) {
				t.Errorf("no %q in the commit: the attack changed nothing", old)
			}
			return out
		}
	}
	for name, raw := range map[string]func([]byte) []byte{
		"TwoSignatures":    second("gpgsig"),
		"SHA256Signature":  second("gpgsig-sha256"),
		"MisorderedHeader": replace("\ncommitter ", "\nencoding latin-1\ncommitter "),
		"NUL":              replace("Change something", "Change\x00something"),
		"CarriageReturn":   replace("committer Alice", "committer Al\rice"),
	} {
		s.run(name, func(s *site) {
			s.denied(refusal{reason: verdict.MalformedObject}, gitrepo.Change{Files: evil(), Raw: raw})
		})
	}
}

func TestAttack_G7_ForcePushOldCommit(t *testing.T) {
	t.Parallel()
	s := newSite(t, "g7-site", func(_ *site, p *setup) { p.trust.Spec.Commits.Rollback = "Signed" })
	s.run("Old", func(s *site) {
		old := s.good
		s.accept(gitrepo.Change{Files: map[string]string{"deploy/new.yaml": lab.ConfigMap("new", "fix", "CVE")}})
		s.tip(old)
		s.refused(refusal{reason: verdict.NonFastForward, commit: old})
	})
	s.run("Diverging", func(s *site) {
		old := s.good
		s.accept(gitrepo.Change{})
		s.denied(refusal{reason: verdict.NonFastForward}, gitrepo.Change{Parents: []plumbing.Hash{old}})
	})
	// Mallory may push tags, and knows what a rollback looks like.
	rollback := func(s *site, old plumbing.Hash, by *gitrepo.OpenPGPKey) {
		_, err := s.repo.Tag(gitrepo.Tag{
			Name: "gitgate-rollback/" + by.Person().Name, Target: old, Tagger: by.Person(), Sign: by,
			Message: "Roll back.\n\nRollback-From: " + s.good.String() + "\n",
		})
		s.must(err)
	}
	s.run("ForgedRollback", func(s *site) {
		old := s.good
		s.accept(gitrepo.Change{})
		rollback(s, old, s.Mallory)
		s.tip(old)
		s.refused(refusal{reason: verdict.NonFastForward, commit: old})
	})
	s.run("SignedRollback", func(s *site) {
		old := s.good
		s.accept(gitrepo.Change{})
		rollback(s, old, s.Alice)
		s.tip(old)
		s.goesLive(old)
		s.accept(gitrepo.Change{})
	})
}

func TestAttack_G8_OtherPlace(t *testing.T) {
	t.Parallel()
	dev, err := gitrepo.NewOpenPGP(gitrepo.OpenPGPOptions{Name: "Dave", Email: "dave@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	// Dave is trusted where development is, in a repository of its own.
	elsewhere := newSite(t, "g8-dev", func(_ *site, p *setup) {
		p.trust.Spec.Commits.Signers = append(p.trust.Spec.Commits.Signers, v1alpha1.CommitSigner{
			Name: "dave", OpenPGP: &v1alpha1.KeySource{Data: dev.Public()},
		})
		p.trust.Spec.Commits.Rules = nil
	})
	elsewhere.accept(gitrepo.Change{Author: dev.Person(), Sign: dev})

	s := newSite(t, "g8-prod")
	s.run("SignerOfAnotherRepository", func(s *site) {
		s.denied(refusal{reason: verdict.UntrustedSigner}, gitrepo.Change{Files: evil(), Author: dev.Person(), Sign: dev})
	})
	s.run("CommitOfAnotherRepository", func(s *site) {
		// Alice signed it, for another place: its history is pushed here.
		elsewhere.accept(gitrepo.Change{Files: evil()})
		_, err := s.repo.Git("fetch", "--quiet", elsewhere.repo.Dir, "+refs/heads/main:refs/heads/main")
		s.must(err)
		s.refused(refusal{reason: verdict.IncompleteHistory, commit: elsewhere.good, says: "pinned root"})
	})
	s.run("PathOfAnotherSigner", func(s *site) {
		s.denied(refusal{reason: verdict.SignerNotAllowed, file: "deploy/rbac/role.yaml"}, gitrepo.Change{
			Files:  map[string]string{"deploy/rbac/role.yaml": "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: evil}\nrules: []\n"},
			Author: s.Bob.Person(), Sign: s.Bob,
		})
	})
	s.run("UntrustedBranch", func(s *site) {
		s.stalls(verdict.RepositoryNotTrusted, func(g *v1alpha1.GitSync) { g.Spec.Ref.Branch = "side" })
	})
	s.run("UntrustedNamespace", func(s *site) {
		s.must(s.EnsureNamespace(t.Context(), "g8-prod-tenant"))
		g := s.GitSync()
		g.Namespace, g.Name = "g8-prod-tenant", "thief"
		g.Spec.URL, g.Spec.Trust.Name, g.Spec.ServiceAccountName, g.Spec.TargetNamespace = s.repoURL(), s.name, "default", ""
		g.Spec.SecretRef, g.Spec.Policies, g.Spec.Decryption = nil, nil, nil
		s.neverApplies(g, verdict.RepositoryNotTrusted)
	})
}

func TestAttack_G9_ForgeKey(t *testing.T) {
	t.Parallel()
	forge, err := gitrepo.NewOpenPGP(gitrepo.OpenPGPOptions{Name: "GitHub", Email: "noreply@github.com"})
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, "g9-site", withSigner("forge", forge))
	author := s.Alice.Person()
	s.denied(refusal{reason: verdict.ForgeKey}, gitrepo.Change{Files: evil(), Author: author, Committer: forge.Person(), Sign: forge})
}

func TestAttack_G10_AuthorMismatch(t *testing.T) {
	t.Parallel()
	s := newSite(t, "g10-site")
	for name, c := range map[string]gitrepo.Change{
		"Author":    {Author: s.Bob.Person(), Committer: s.Alice.Person(), Sign: s.Alice},
		"Committer": {Author: s.Alice.Person(), Committer: s.Bob.Person(), Sign: s.Alice},
		"NameOnly":  {Author: gitrepo.Person{Name: "Alice", Email: "alice@evil.example"}, Sign: s.Alice},
	} {
		s.run(name, func(s *site) {
			c.Files = evil()
			s.denied(refusal{reason: verdict.AuthorMismatch}, c)
		})
	}
}

func TestAttack_G11_KeyTimes(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	now := time.Now()
	old := func(name string, lifetime time.Duration) *gitrepo.OpenPGPKey {
		key, err := gitrepo.NewOpenPGP(gitrepo.OpenPGPOptions{
			Name: name, Email: name + "@example.com", Created: now.Add(-100 * day), Lifetime: lifetime,
		})
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	expired, revoked := old("expired", 50*day), old("revoked", 0)
	if err := revoked.Revoke(packet.KeyCompromised, now.Add(-30*day)); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, "g11-site", withSigner("expired", expired), withSigner("revoked", revoked))
	for name, tc := range map[string]struct {
		key  *gitrepo.OpenPGPKey
		want verdict.Reason
	}{
		"Expired": {expired, verdict.KeyExpired},
		"Revoked": {revoked, verdict.KeyRevoked},
	} {
		s.run(name, func(s *site) {
			then := now.Add(-80 * day) // when the key was good
			author := tc.key.Person()
			author.When = then
			s.denied(refusal{reason: tc.want}, gitrepo.Change{Files: evil(), Author: author, Sign: tc.key.At(then)})
		})
	}
}

func TestAttack_G12_WeakCryptography(t *testing.T) {
	t.Parallel()
	pgp := func(name string, o gitrepo.OpenPGPOptions) *gitrepo.OpenPGPKey {
		o.Name, o.Email = name, name+"@example.com"
		key, err := gitrepo.NewOpenPGP(o)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	ssh := func(name string, a gitrepo.SSHAlgorithm) *gitrepo.SSHKey {
		key, err := gitrepo.NewSSH(name, name+"@example.com", a)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	rsa, dsa := pgp("rsa", gitrepo.OpenPGPOptions{Algorithm: gitrepo.PGPRSA}), pgp("dsa", gitrepo.OpenPGPOptions{Algorithm: gitrepo.PGPDSA})
	koblitz := pgp("secp256k1", gitrepo.OpenPGPOptions{Algorithm: gitrepo.PGPSecp256k1})
	ed25519, sshRSA := ssh("ssh-ed25519", gitrepo.SSHEd25519), ssh("ssh-rsa", gitrepo.SSHRSA)
	s := newSite(t, "g12-site", withSigner("rsa", rsa), withSigner("dsa", dsa), withSigner("secp256k1", koblitz),
		withSSHSigner("ssh-ed25519", ed25519), withSSHSigner("ssh-rsa", sshRSA))
	for name, tc := range map[string]struct {
		by   gitrepo.Signer
		as   gitrepo.Person
		want verdict.Reason
	}{
		"SHA1":             {rsa.Digest(crypto.SHA1), rsa.Person(), verdict.WeakCryptography},
		"DSA":              {dsa, dsa.Person(), verdict.WeakCryptography},
		"Secp256k1":        {koblitz, koblitz.Person(), verdict.WeakCryptography},
		"SSHWithSHA1":      {sshRSA.SHA1(), sshRSA.Person(), verdict.WeakCryptography},
		"SSHFileNamespace": {ed25519.Namespace("file"), ed25519.Person(), verdict.WrongNamespace},
	} {
		s.run(name, func(s *site) {
			s.denied(refusal{reason: tc.want}, gitrepo.Change{Files: evil(), Author: tc.as, Sign: tc.by})
		})
	}
}
