package parity

import (
	"bytes"
	"crypto"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"gitgate.dev/gitgate/policy/verdict"
	"gitgate.dev/gitgate/reconcile/api/v1alpha1"
	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/test/testkit/lab"
)

// commitTrials are commits that differ in who signed them, and how.
func (w *world) commitTrials() map[string]trial {
	return merged(w.goodTrials(), w.signerTrials(), w.keyTrials(), w.formTrials())
}

// goodTrials are commits without fault.
func (w *world) goodTrials() map[string]trial {
	p := w.people
	return map[string]trial{
		"Good":        {reason: "OpenPGP, as Alice signs.", change: harmless()},
		"GoodSSH":     {reason: "SSH, as Bob signs.", change: by(harmless(), w.Bob.Person(), w.Bob)},
		"GoodRSA":     {reason: "RSA of 2048 bits.", change: w.byPGP("rsa")},
		"GoodSubkey":  {reason: "A subkey signs.", change: w.byPGP("subkey")},
		"GoodSSHRSA":  {reason: "RSA in SSH.", change: w.bySSH("sshrsa")},
		"GoodToken":   {reason: "A security key that was touched.", change: w.bySSH("token")},
		"Certificate": {reason: "A certificate of a trusted authority.", change: by(harmless(), gitrepo.Person{Name: "Erin", Email: "erin@example.com"}, p.certified)},
		"Range": {reason: "Several commits at once, by several people.",
			before: []gitrepo.Change{files("one.yaml", lab.ConfigMap("one", "k", "v")), by(files("two.yaml", lab.ConfigMap("two", "k", "v")), w.Bob.Person(), w.Bob)},
			change: w.byPGP("carol")},
		"Merge": {reason: "A merge of two signed branches.", history: func(s *site) plumbing.Hash {
			side := s.commit(gitrepo.Change{Branch: "side", Parents: []plumbing.Hash{s.base}, Files: files("side.yaml", lab.ConfigMap("side", "k", "v")).Files})
			main := s.commit(harmless())
			merge := files("side.yaml", lab.ConfigMap("side", "k", "v"))
			merge.Parents = []plumbing.Hash{main, side}
			return s.commit(merge)
		}},
		"ForgeAllowed": {reason: "Where a forge may sign, it may.", plan: func(_ *site, p *plan) { p.trust.Spec.Commits.ForgeKeys = "Allow" }, change: w.byPGP("forge")},
		"HeadOnly": {reason: "Where only the head counts, commits below it need no signature.",
			plan: func(_ *site, p *plan) { p.trust.Spec.Commits.Scope = "Head" }, before: []gitrepo.Change{w.unsigned()}, change: files("later.yaml", lab.ConfigMap("later", "k", "v"))},
		"AnyAuthor": {reason: "Where author and signer may differ, they may.",
			plan:   func(_ *site, p *plan) { no := false; p.trust.Spec.Commits.AuthorMustMatchSigner = &no },
			change: by(harmless(), w.Bob.Person(), w.Alice)},
		"FirstRelease": {reason: "Nothing is in force yet.", plan: fresh, change: gitrepo.Change{Files: w.inForce()}},
	}
}

// signerTrials are about who may sign what.
func (w *world) signerTrials() map[string]trial {
	p := w.people
	return map[string]trial{
		"Unsigned":      {reason: "Nobody signed.", change: w.unsigned(), want: reasons(verdict.UnsignedCommit)},
		"UnsignedBelow": {reason: "A signed head does not sign what is below it.", before: []gitrepo.Change{w.unsigned()}, change: files("later.yaml", lab.ConfigMap("later", "k", "v")), want: reasons(verdict.UnsignedCommit)},
		"UnsignedParent": {reason: "Nor what a merge brings in.", want: reasons(verdict.UnsignedCommit), history: func(s *site) plumbing.Hash {
			c := w.unsigned()
			c.Branch, c.Parents = "side", []plumbing.Hash{s.base}
			m := harmless()
			m.Parents = []plumbing.Hash{s.base, s.commit(c)}
			return s.commit(m)
		}},
		"UnsignedAndMore": {reason: "The check tells what later stages find all the same; the reconciler does not read the tree.",
			change: by(files("evil.yaml", lab.ConfigMap("evil", "debug", "true"), "kept.yaml", ""), w.Alice.Person(), nil),
			want:   reasons(verdict.PolicyDenied, verdict.UnsignedCommit)},
		"EveryCommitBad": {reason: "Each commit of the range is told of.",
			before: []gitrepo.Change{w.unsigned(), by(harmless(), w.Mallory.Person(), w.Mallory)},
			change: w.byPGP("expired"), want: reasons(verdict.KeyExpired, verdict.UnsignedCommit, verdict.UntrustedSigner)},
		"UnsignedFirst":  {reason: "The first release is judged like any.", plan: fresh, change: by(gitrepo.Change{Files: w.inForce()}, w.Alice.Person(), nil), want: reasons(verdict.UnsignedCommit)},
		"AnotherHistory": {reason: "A history that does not come from the pinned root.", plan: fresh, change: gitrepo.Change{Files: w.inForce(), Orphan: true}, want: reasons(verdict.IncompleteHistory)},
		"RootOfElsewhere": {reason: "The pinned root is of another repository.", plan: func(s *site, p *plan) {
			p.fresh, p.trust.Spec.Repositories = true, []v1alpha1.TrustedRepository{{URL: s.Git.URL(s.name + ".git"), Refs: []string{lab.Branch}, Root: strings.Repeat("ab", 20)}}
		}, change: gitrepo.Change{Files: w.inForce()}, want: reasons(verdict.IncompleteHistory)},
		"Stranger":       {reason: "An OpenPGP key that nobody named.", change: by(harmless(), w.Mallory.Person(), w.Mallory), want: reasons(verdict.UntrustedSigner)},
		"StrangerSSH":    {reason: "An SSH key that nobody named.", change: by(harmless(), p.stranger.Person(), p.stranger), want: reasons(verdict.UntrustedSigner)},
		"BorrowedName":   {reason: "Mallory says that she is Alice.", change: by(harmless(), w.Alice.Person(), w.Mallory), want: reasons(verdict.UntrustedSigner)},
		"MisnamedIssued": {reason: "A certificate for a name that the authority may not certify.", change: by(harmless(), gitrepo.Person{Name: "Mallory", Email: "mallory@example.org"}, p.misnamed), want: reasons(verdict.UntrustedSigner)},
		"NotHisPath": {reason: "Bob may not change roles.",
			change: by(gitrepo.Change{Files: map[string]string{"deploy/rbac/role.yaml": role}}, w.Bob.Person(), w.Bob), want: reasons(verdict.SignerNotAllowed)},
		"HerPath":    {reason: "Alice may.", change: gitrepo.Change{Files: map[string]string{"deploy/rbac/role.yaml": role}}},
		"ClosedPath": {reason: "A path that is closed to all.", plan: closed("deploy/settings.yaml"), change: files("settings.yaml", lab.ConfigMap("settings", "color", "blue")), want: reasons(verdict.SignerNotAllowed)},
		"Forge":      {reason: "A forge's web flow signed.", change: w.byPGP("forge"), want: reasons(verdict.ForgeKey)},
		"OtherAuthor": {reason: "Bob wrote what Alice signs.", change: func() gitrepo.Change {
			c := by(harmless(), w.Bob.Person(), w.Alice)
			c.Committer = w.Alice.Person()
			return c
		}(), want: reasons(verdict.AuthorMismatch)},
		"OtherCommitter": {reason: "Bob committed what Alice signs.", change: func() gitrepo.Change {
			c := by(harmless(), w.Alice.Person(), w.Alice)
			c.Committer = w.Bob.Person()
			return c
		}(), want: reasons(verdict.AuthorMismatch)},
	}
}

// keyTrials are about keys of trusted people that do not count.
func (w *world) keyTrials() map[string]trial {
	p := w.people
	return map[string]trial{
		"Expired":       {reason: "The key has expired.", change: w.byPGP("expired"), want: reasons(verdict.KeyExpired)},
		"Backdated":     {reason: "A signature that says it is older than it is.", change: w.backdated("expired"), want: reasons(verdict.KeyExpired)},
		"ShortLived":    {reason: "The signature itself has expired.", change: by(harmless(), w.Alice.Person(), w.Alice.At(time.Now().Add(-time.Hour)).Lasting(time.Minute)), want: reasons(verdict.KeyExpired)},
		"Lapsed":        {reason: "The line of allowed_signers is no longer valid.", change: w.bySSH("lapsed"), want: reasons(verdict.AuthorMismatch, verdict.KeyExpired)},
		"NotYet":        {reason: "A key from the future.", change: w.byPGP("future"), want: reasons(verdict.BadSignature)},
		"Revoked":       {reason: "The key is compromised, whenever it signed.", change: w.backdated("revoked"), want: reasons(verdict.KeyRevoked)},
		"Retired":       {reason: "The key is retired.", change: w.byPGP("retired"), want: reasons(verdict.KeyRevoked)},
		"SHA1":          {reason: "SHA-1 in OpenPGP.", change: by(harmless(), p.pgp["rsa"].Person(), p.pgp["rsa"].Digest(crypto.SHA1)), want: reasons(verdict.WeakCryptography)},
		"RSA1024":       {reason: "RSA of 1024 bits.", change: w.byPGP("rsa1024"), want: reasons(verdict.WeakCryptography)},
		"DSA":           {reason: "DSA.", change: w.byPGP("dsa"), want: reasons(verdict.WeakCryptography)},
		"Koblitz":       {reason: "A curve that nobody asked for.", change: w.byPGP("koblitz"), want: reasons(verdict.WeakCryptography)},
		"SSHWithSHA1":   {reason: "SHA-1 in SSH.", change: by(harmless(), p.ssh["sshrsa"].Person(), p.ssh["sshrsa"].SHA1()), want: reasons(verdict.WeakCryptography)},
		"SSHRSA1024":    {reason: "RSA of 1024 bits in SSH.", change: w.bySSH("sshrsa1024"), want: reasons(verdict.WeakCryptography)},
		"SSHDSA":        {reason: "DSA in SSH.", change: w.bySSH("sshdsa"), want: reasons(verdict.WeakCryptography)},
		"Untouched":     {reason: "A security key that nobody touched.", change: by(harmless(), p.ssh["token"].Person(), p.ssh["token"].Untouched()), want: reasons(verdict.BadSignature)},
		"CertifyOnly":   {reason: "A key that may certify and not sign.", change: w.byPGP("certifier"), want: reasons(verdict.BadSignature)},
		"FileNamespace": {reason: "A signature of a file, and not of a commit.", change: by(harmless(), w.Bob.Person(), w.Bob.Namespace("file")), want: reasons(verdict.WrongNamespace)},
		"NotForGit":     {reason: "A key that may sign files, and not commits.", change: w.bySSH("machine"), want: reasons(verdict.WrongNamespace)},
	}
}

// formTrials are about the bytes of commits and signatures.
func (w *world) formTrials() map[string]trial {
	raw := func(edit func([]byte) []byte) gitrepo.Change {
		c := harmless()
		c.Raw = edit
		return c
	}
	replace := func(old, with string) gitrepo.Change {
		return raw(func(b []byte) []byte { return []byte(edited(string(b), old, with)) })
	}
	return map[string]trial{
		"TwoTrees":      {reason: "Two trees: which one was signed?", change: raw(twoTrees), want: reasons(verdict.MalformedObject)},
		"TwoSignatures": {reason: "Two signatures.", change: raw(func(b []byte) []byte { return gitrepo.InsertHeader(b, gitrepo.Header{Name: "gpgsig", Value: "again"}) }), want: reasons(verdict.MalformedObject)},
		"Misordered":    {reason: "Headers in another order.", change: replace("\ncommitter ", "\nencoding latin-1\ncommitter "), want: reasons(verdict.MalformedObject)},
		"NUL":           {reason: "NUL, where C stops reading.", change: replace("Change something", "Change\x00something"), want: reasons(verdict.MalformedObject)},
		"Return":        {reason: "A carriage return in a name.", change: replace("committer Alice", "committer Al\rice"), want: reasons(verdict.MalformedObject)},
		"BadDate":       {reason: "A date that is none.", change: replace(" +0000\ncommitter", " 0000\ncommitter"), want: reasons(verdict.MalformedObject)},
		"OtherPayload":  {reason: "A signature over other bytes.", change: replace("Change something", "Change something else"), want: reasons(verdict.BadSignature)},
		"BrokenPackets": {reason: "A signature that was cut.",
			change: by(harmless(), w.Alice.Person(), w.Alice.Edit(func(b []byte) []byte { return b[:len(b)-7] })), want: reasons(verdict.BadSignature)},
		"NoArmor": {reason: "No kind of signature.", change: raw(func(b []byte) []byte {
			return gitrepo.InsertHeader(unsignedBytes(b), gitrepo.Header{Name: "gpgsig", Value: "trust me"})
		}), want: reasons(verdict.UnsupportedSignature)},
		"X509": {reason: "X.509, which this version cannot verify.", change: raw(func(b []byte) []byte {
			return gitrepo.InsertHeader(unsignedBytes(b), gitrepo.Header{Name: "gpgsig", Value: "-----BEGIN SIGNED MESSAGE-----\nAAAA\n-----END SIGNED MESSAGE-----"})
		}), want: reasons(verdict.UnsupportedSignature)},
		"SHA256Header": {reason: "A signature over the SHA-256 form.", change: func() gitrepo.Change {
			c := harmless()
			c.SignatureHeader = "gpgsig-sha256"
			return c
		}(), want: reasons(verdict.UnsupportedSignature)},
	}
}

// byPGP is a harmless commit that somebody signs with OpenPGP.
func (w *world) byPGP(name string) gitrepo.Change {
	return by(harmless(), w.people.pgp[name].Person(), w.people.pgp[name])
}

// bySSH is a harmless commit that somebody signs with SSH.
func (w *world) bySSH(name string) gitrepo.Change {
	return by(harmless(), w.people.ssh[name].Person(), w.people.ssh[name])
}

// backdated is a commit that claims to be from when the key was good.
func (w *world) backdated(name string) gitrepo.Change {
	then := time.Now().Add(-80 * day)
	who := w.people.pgp[name].Person()
	who.When = then
	return by(harmless(), who, w.people.pgp[name].At(then))
}

// unsigned is a harmless commit that nobody signs.
func (w *world) unsigned() gitrepo.Change { return by(harmless(), w.Alice.Person(), nil) }

const role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: reader}\nrules: [{apiGroups: [\"\"], resources: [configmaps], verbs: [get]}]\n"

func fresh(_ *site, p *plan) { p.fresh = true }

// closed is a plan under which nobody may change a path.
func closed(path string) func(*site, *plan) {
	return func(_ *site, p *plan) {
		// The first release brings the path: it was there before the rule.
		rules := &p.trust.Spec.Commits.Rules
		*rules = append(slices.Clone(*rules), v1alpha1.PathRule{Paths: []string{path}, Signers: []string{}})
		delete(p.files, path)
	}
}

// twoTrees adds a header with the empty tree.
func twoTrees(raw []byte) []byte {
	i := bytes.IndexByte(raw, '\n') + 1
	return slices.Concat(raw[:i], []byte("tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n"), raw[i:])
}

// unsignedBytes takes the signature off of a commit.
func unsignedBytes(raw []byte) []byte {
	start := bytes.Index(raw, []byte("\ngpgsig "))
	end := start + 1 + bytes.Index(raw[start+1:], []byte("\n"))
	for raw[end+1] == ' ' {
		end += 1 + bytes.IndexByte(raw[end+1:], '\n')
	}
	return slices.Concat(raw[:start], raw[end:])
}
