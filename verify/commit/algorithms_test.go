package commit_test

import (
	"crypto"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/verify/commit"
)

// One commit per OpenPGP algorithm, each shown to git verify-commit as well.
func TestAttack_G12_OpenPGPAlgorithms(t *testing.T) {
	type opts = gitrepo.OpenPGPOptions
	sign := func(k *gitrepo.OpenPGPKey) *gitrepo.OpenPGPKey { return k }
	for name, tc := range map[string]struct {
		key       opts
		sign      func(*gitrepo.OpenPGPKey) *gitrepo.OpenPGPKey
		algorithm string
		want      commit.Reason
	}{
		"Ed25519":             {opts{Algorithm: gitrepo.PGPEd25519}, sign, "ed25519", ""},
		"Ed25519Version6":     {opts{Algorithm: gitrepo.PGPEd25519v6}, sign, "ed25519", ""},
		"Ed448":               {opts{Algorithm: gitrepo.PGPEd448}, sign, "ed448", ""},
		"P256":                {opts{Algorithm: gitrepo.PGPP256}, sign, "ecdsa-p256", ""},
		"P384":                {opts{Algorithm: gitrepo.PGPP384}, sign, "ecdsa-p384", ""},
		"P384WithSHA256":      {opts{Algorithm: gitrepo.PGPP384}, digest(crypto.SHA256), "", commit.WeakCryptography},
		"Brainpool":           {opts{Algorithm: gitrepo.PGPBrainpool}, sign, "ecdsa-brainpoolp256", ""},
		"RSA2048":             {opts{Algorithm: gitrepo.PGPRSA}, sign, "rsa2048", ""},
		"RSA2048SHA512":       {opts{Algorithm: gitrepo.PGPRSA}, digest(crypto.SHA512), "rsa2048", ""},
		"SigningSubkey":       {opts{SigningSubkey: true}, sign, "ed25519", ""},
		"RSA1024":             {opts{Algorithm: gitrepo.PGPRSA, Bits: 1024}, sign, "rsa1024", commit.WeakCryptography},
		"SHA1":                {opts{Algorithm: gitrepo.PGPRSA}, digest(crypto.SHA1), "", commit.WeakCryptography},
		"MD5":                 {opts{Algorithm: gitrepo.PGPRSA}, edit(hashID(1)), "", commit.WeakCryptography},
		"RIPEMD160":           {opts{Algorithm: gitrepo.PGPRSA}, edit(hashID(3)), "", commit.WeakCryptography},
		"DSA":                 {opts{Algorithm: gitrepo.PGPDSA}, sign, "", commit.WeakCryptography},
		"Secp256k1":           {opts{Algorithm: gitrepo.PGPSecp256k1}, sign, "ecdsa-secp256k1", commit.WeakCryptography},
		"UnknownDigest":       {opts{}, edit(hashID(99)), "", commit.UnsupportedSignature},
		"TextSignature":       {opts{}, (*gitrepo.OpenPGPKey).Text, "", commit.BadSignature},
		"StandaloneSignature": {opts{}, (*gitrepo.OpenPGPKey).Standalone, "", commit.BadSignature},
		"TwoPackets":          {opts{}, edit(func(b []byte) []byte { return append(b, b...) }), "", commit.BadSignature},
		"NoPacket":            {opts{}, edit(func([]byte) []byte { return nil }), "", commit.BadSignature},
		"Truncated":           {opts{}, edit(func(b []byte) []byte { return b[:len(b)-4] }), "", commit.BadSignature},
		"BitFlipped":          {opts{}, edit(func(b []byte) []byte { b[len(b)-1] ^= 1; return b }), "ed25519?", commit.BadSignature},
		"CriticalNotation": {opts{}, func(k *gitrepo.OpenPGPKey) *gitrepo.OpenPGPKey {
			return k.Notation("only-on@example.com", "sundays", true)
		}, "", commit.BadSignature},
		"HarmlessNotation": {opts{}, func(k *gitrepo.OpenPGPKey) *gitrepo.OpenPGPKey {
			return k.Notation("mood@example.com", "fine", false)
		}, "ed25519", ""},
	} {
		t.Run(name, func(t *testing.T) {
			tc.key.Name, tc.key.Email = "alice", "alice@example.com"
			key := gitrepo.OpenPGP(t, tc.key)
			f := newFixture(t)
			f.cfg.Signers = []commit.SignerConfig{{Name: "alice", OpenPGP: key.Public()}}
			head := f.signed(tc.sign(key), "a")
			res := f.verifier().VerifyCommit(t.Context(), f.Objects(), head)
			if res.Reason != tc.want {
				t.Fatalf("reason %q (%s), want %q", res.Reason, res.Message, tc.want)
			}
			if tc.want == "" {
				if res.Status != commit.Good || res.Algorithm != tc.algorithm || res.Signer != "alice" ||
					res.KeyType != commit.OpenPGP || res.Fingerprint != key.SigningFingerprint() {
					t.Errorf("result %+v, want good by alice's %s key %s", res, tc.algorithm, key.SigningFingerprint())
				}
			}
			if name == "Ed25519Version6" || name == "Ed448" {
				t.Log("GnuPG 2.2 does not know such keys: not shown to git")
				return
			}
			f.neverLaxer(head, res, []string{key.Public()}, "")
		})
	}
}

func digest(h crypto.Hash) func(*gitrepo.OpenPGPKey) *gitrepo.OpenPGPKey {
	return func(k *gitrepo.OpenPGPKey) *gitrepo.OpenPGPKey { return k.Digest(h) }
}

func edit(change func([]byte) []byte) func(*gitrepo.OpenPGPKey) *gitrepo.OpenPGPKey {
	return func(k *gitrepo.OpenPGPKey) *gitrepo.OpenPGPKey { return k.Edit(change) }
}

// hashID writes another digest into a signature packet.
func hashID(id byte) func([]byte) []byte {
	return func(b []byte) []byte {
		body := 2 // of a new-format packet with a one-octet length
		if b[1] >= 192 {
			body = 3
		}
		if b[body] != 4 {
			panic("not where the signature's version is")
		}
		b[body+3] = id
		return b
	}
}

// One commit per SSH algorithm and option, each shown to git verify-commit.
func TestAttack_G12_SSHAlgorithms(t *testing.T) {
	same := func(k *gitrepo.SSHKey) *gitrepo.SSHKey { return k }
	for name, tc := range map[string]struct {
		algorithm gitrepo.SSHAlgorithm
		sign      func(*gitrepo.SSHKey) *gitrepo.SSHKey
		options   []string
		shown     string
		want      commit.Reason
	}{
		"Ed25519":     {gitrepo.SSHEd25519, same, nil, "ed25519", ""},
		"RSA":         {gitrepo.SSHRSA, same, nil, "rsa2048", ""},
		"P256":        {gitrepo.SSHP256, same, nil, "ecdsa-p256", ""},
		"P384":        {gitrepo.SSHP384, same, nil, "ecdsa-p384", ""},
		"SecurityKey": {gitrepo.SSHSKEd25519, same, nil, "sk-ed25519", ""},
		"SHA256":      {gitrepo.SSHEd25519, sshDigest("sha256"), nil, "ed25519", ""},
		"Untouched":   {gitrepo.SSHSKEd25519, (*gitrepo.SSHKey).Untouched, nil, "", commit.BadSignature},
		"RSA1024":     {gitrepo.SSHRSA1024, same, nil, "", commit.WeakCryptography},
		"RSAWithSHA1": {gitrepo.SSHRSA, (*gitrepo.SSHKey).SHA1, nil, "", commit.WeakCryptography},
		"DSA":         {gitrepo.SSHDSA, same, nil, "", commit.WeakCryptography},
		"DigestSHA1":  {gitrepo.SSHEd25519, sshDigest("sha1"), nil, "", commit.WeakCryptography},
		"DigestMD5":   {gitrepo.SSHEd25519, sshDigest("md5"), nil, "", commit.WeakCryptography},
		"FileNamespace": {gitrepo.SSHEd25519, func(k *gitrepo.SSHKey) *gitrepo.SSHKey { return k.Namespace("file") },
			nil, "", commit.WrongNamespace},
		"NamespacesAdmitGit":     {gitrepo.SSHEd25519, same, []string{`namespaces="file,git"`}, "ed25519", ""},
		"NamespacesAdmitPattern": {gitrepo.SSHEd25519, same, []string{`namespaces="g*"`}, "ed25519", ""},
		"NamespacesExclude":      {gitrepo.SSHEd25519, same, []string{`namespaces="*,!git"`}, "", commit.WrongNamespace},
		"NamespacesOfOthers":     {gitrepo.SSHEd25519, same, []string{`namespaces="file"`}, "", commit.WrongNamespace},
		"ValidNow":               {gitrepo.SSHEd25519, same, []string{`valid-after="20200101Z"`, `valid-before="20990101Z"`}, "ed25519", ""},
		"NotYetValid":            {gitrepo.SSHEd25519, same, []string{`valid-after="20990101"`}, "", commit.KeyExpired},
		"NoLongerValid":          {gitrepo.SSHEd25519, same, []string{`valid-before="202001011200"`}, "", commit.KeyExpired},
		"AuthorityIsNoKey":       {gitrepo.SSHEd25519, same, []string{"cert-authority"}, "", commit.UntrustedSigner},
	} {
		t.Run(name, func(t *testing.T) {
			key := gitrepo.SSH(t, "alice", "alice@example.com", tc.algorithm)
			lines := key.AllowedSigner(tc.options...)
			f := newFixture(t)
			f.cfg.Signers = []commit.SignerConfig{{Name: "alice", AllowedSigners: lines}}
			head := f.signed(tc.sign(key), "a")
			res := f.verifier().VerifyCommit(t.Context(), f.Objects(), head)
			if res.Reason != tc.want {
				t.Fatalf("reason %q (%s), want %q", res.Reason, res.Message, tc.want)
			}
			if tc.want == "" && (res.Algorithm != tc.shown || res.Fingerprint != key.Fingerprint() || res.KeyType != commit.SSH) {
				t.Errorf("result %+v, want an ssh %s key %s", res, tc.shown, key.Fingerprint())
			}
			f.neverLaxer(head, res, nil, lines)
		})
	}
}

func sshDigest(name string) func(*gitrepo.SSHKey) *gitrepo.SSHKey {
	return func(k *gitrepo.SSHKey) *gitrepo.SSHKey { return k.Digest(name) }
}

func TestSSHCertificates(t *testing.T) {
	day := 24 * time.Hour
	for name, tc := range map[string]struct {
		reason    string
		cert      gitrepo.Certificate
		authority gitrepo.SSHAlgorithm
		subject   gitrepo.SSHAlgorithm
		line      func(ca *gitrepo.SSHKey) string
		sha1      bool
		want      commit.Reason
	}{
		"Good":           {reason: "as issued", cert: gitrepo.Certificate{Principals: []string{"alice@example.com"}}},
		"RSAAuthority":   {reason: "rsa-sha2-512 is fine", cert: gitrepo.Certificate{Principals: []string{"alice@example.com"}}, authority: gitrepo.SSHRSA},
		"RSASubject":     {reason: "rsa-sha2-512 under a certificate", cert: gitrepo.Certificate{Principals: []string{"alice@example.com"}}, subject: gitrepo.SSHRSA},
		"InTime":         {reason: "within its validity", cert: gitrepo.Certificate{Principals: []string{"alice@example.com"}, ValidAfter: now().Add(-day), ValidBefore: now().Add(day)}},
		"Expired":        {reason: "judged at the present", cert: gitrepo.Certificate{Principals: []string{"alice@example.com"}, ValidAfter: now().Add(-2 * day), ValidBefore: now().Add(-day)}, want: commit.KeyExpired},
		"NotYet":         {reason: "judged at the present", cert: gitrepo.Certificate{Principals: []string{"alice@example.com"}, ValidAfter: now().Add(day)}, want: commit.KeyExpired},
		"OtherPrincipal": {reason: "the line is for alice", cert: gitrepo.Certificate{Principals: []string{"bob@example.com"}}, want: commit.UntrustedSigner},
		"NoPrincipal":    {reason: "it would speak for everybody", want: commit.BadSignature},
		"Host":           {reason: "machines do not commit", cert: gitrepo.Certificate{Principals: []string{"alice@example.com"}, Host: true}, want: commit.BadSignature},
		"CriticalOption": {reason: "a limit that we do not know", cert: gitrepo.Certificate{Principals: []string{"alice@example.com"}, CriticalOptions: map[string]string{"force-command": "true"}}, want: commit.BadSignature},
		"OtherAuthority": {reason: "an authority that nobody named", cert: gitrepo.Certificate{Principals: []string{"alice@example.com"}}, line: func(*gitrepo.SSHKey) string {
			return gitrepo.SSH(t, "", "alice@example.com", "").AllowedSigner("cert-authority")
		}, want: commit.UntrustedSigner},
		"NotMarked":        {reason: "its key is no authority", cert: gitrepo.Certificate{Principals: []string{"alice@example.com"}}, line: func(ca *gitrepo.SSHKey) string { return ca.AllowedSigner() }, want: commit.UntrustedSigner},
		"SHA1OfAuthority":  {reason: "can be forged", cert: gitrepo.Certificate{Principals: []string{"alice@example.com"}, SHA1: true}, authority: gitrepo.SSHRSA, want: commit.WeakCryptography},
		"SHA1OfSubject":    {reason: "ssh-rsa hides behind the certificate's type", cert: gitrepo.Certificate{Principals: []string{"alice@example.com"}}, subject: gitrepo.SSHRSA, sha1: true, want: commit.WeakCryptography},
		"WeakAuthority":    {reason: "can be forged", cert: gitrepo.Certificate{Principals: []string{"alice@example.com"}}, authority: gitrepo.SSHRSA1024, want: commit.WeakCryptography},
		"AuthorityExpired": {reason: "valid-before of the line", cert: gitrepo.Certificate{Principals: []string{"alice@example.com"}}, line: func(ca *gitrepo.SSHKey) string { return ca.AllowedSigner("cert-authority", `valid-before="20200101Z"`) }, want: commit.KeyExpired},
		"AuthorityIsNotItsKeyLine": {reason: "a line for the key itself says nothing of certificates", cert: gitrepo.Certificate{Principals: []string{"alice@example.com"}}, line: func(ca *gitrepo.SSHKey) string {
			return ca.AllowedSigner() + ca.AllowedSigner("cert-authority", `valid-before="20200101Z"`)
		}, want: commit.KeyExpired},
	} {
		t.Run(name, func(t *testing.T) {
			ca := gitrepo.SSH(t, "", "alice@example.com", tc.authority)
			alice, err := ca.Certify(gitrepo.SSH(t, "alice", "alice@example.com", tc.subject), tc.cert)
			if err != nil {
				t.Fatal(err)
			}
			lines := ca.AllowedSigner("cert-authority")
			if tc.line != nil {
				lines = tc.line(ca)
			}
			if tc.sha1 {
				alice = alice.SHA1()
			}
			f := newFixture(t)
			f.cfg.Signers = []commit.SignerConfig{{Name: "alice", AllowedSigners: lines}}
			head := f.signed(alice, "a")
			res := f.verifier().VerifyCommit(t.Context(), f.Objects(), head)
			if res.Reason != tc.want {
				t.Errorf("%s\nreason %q (%s), want %q", tc.reason, res.Reason, res.Message, tc.want)
			}
			f.neverLaxer(head, res, nil, lines)
		})
	}
}

// An expired certificate or line counts for what was in force before.
func TestSSHValidityOfHistory(t *testing.T) {
	f := newFixture(t)
	key := gitrepo.SSH(t, "alice", "alice@example.com", "")
	f.cfg.Signers = append(f.cfg.Signers[1:], commit.SignerConfig{Name: "alice", AllowedSigners: key.AllowedSigner(`valid-before="20240101Z"`)})
	at := key.Person()
	at.When = time.Date(2023, 6, 1, 0, 0, 0, 0, time.UTC)
	old := f.signed(key, "a", func(c *gitrepo.Change) { c.Author = at })
	f.denied(commit.KeyExpired, old)
	head := f.signed(people().bob, "b")
	f.admitted(head, old)
	at.When = time.Date(2024, 6, 1, 0, 0, 0, 0, time.UTC)
	late := f.signed(key, "c", func(c *gitrepo.Change) { c.Author = at })
	f.denied(commit.KeyExpired, f.signed(people().bob, "d"), late)
}

func TestOpenPGPSubkeys(t *testing.T) {
	day := 24 * time.Hour
	for name, tc := range map[string]struct {
		reason      string
		certifyOnly bool
		change      func(*gitrepo.OpenPGPKey) error
		sign        func(*gitrepo.OpenPGPKey) *gitrepo.OpenPGPKey
		want        commit.Reason
	}{
		"Subkey":            {reason: "bound and cross-signed"},
		"Primary":           {reason: "the primary key may sign too", sign: (*gitrepo.OpenPGPKey).Primary},
		"CertifyOnly":       {reason: "its flags do not let it sign", certifyOnly: true, sign: (*gitrepo.OpenPGPKey).Primary, want: commit.BadSignature},
		"SubkeyOfIt":        {reason: "the subkey's flags do", certifyOnly: true},
		"PrimaryRevoked":    {reason: "it takes the subkey with it", change: func(k *gitrepo.OpenPGPKey) error { return k.Revoke(packet.KeyRetired, now().Add(-day)) }, want: commit.KeyRevoked},
		"SubkeyRevoked":     {reason: "the subkey alone", change: func(k *gitrepo.OpenPGPKey) error { return k.RevokeSubkey(packet.KeySuperseded, now().Add(-day)) }, want: commit.KeyRevoked},
		"SubkeyRevokedElse": {reason: "the primary key is untouched by it", change: func(k *gitrepo.OpenPGPKey) error { return k.RevokeSubkey(packet.KeyCompromised, now().Add(-day)) }, sign: (*gitrepo.OpenPGPKey).Primary},
	} {
		t.Run(name, func(t *testing.T) {
			key := gitrepo.OpenPGP(t, gitrepo.OpenPGPOptions{Name: "alice", Email: "alice@example.com", SigningSubkey: true, CertifyOnly: tc.certifyOnly})
			if tc.change != nil {
				if err := tc.change(key); err != nil {
					t.Fatal(err)
				}
			}
			signer := key
			if tc.sign != nil {
				signer = tc.sign(key)
			}
			f := newFixture(t)
			f.cfg.Signers = []commit.SignerConfig{{Name: "alice", OpenPGP: key.Public()}}
			head := f.signed(signer, "a")
			res := f.verifier().VerifyCommit(t.Context(), f.Objects(), head)
			if res.Reason != tc.want {
				t.Errorf("%s\nreason %q (%s), want %q", tc.reason, res.Reason, res.Message, tc.want)
			}
			f.neverLaxer(head, res, []string{key.Public()}, "")
		})
	}
}

func TestUntrustedSignersAreNamed(t *testing.T) {
	f := newFixture(t)
	mallory := people().mallory
	if p := f.denied(commit.UntrustedSigner, f.signed(mallory, "a")); !strings.Contains(p.Signer, mallory.Fingerprint()) {
		t.Errorf("signer %q, want the fingerprint %s", p.Signer, mallory.Fingerprint())
	}
	key := gitrepo.SSH(t, "mallory", "alice@example.com", "")
	if p := f.denied(commit.UntrustedSigner, f.signed(key, "b")); p.Signer != key.Fingerprint() {
		t.Errorf("signer %q, want %s", p.Signer, key.Fingerprint())
	}
}

// Signatures over other bytes, or moved from another commit, do not hold.
func TestSignaturesOverOtherBytes(t *testing.T) {
	ssh := gitrepo.SSH(t, "alice", "alice@example.com", "")
	for name, key := range map[string]interface {
		gitrepo.Signer
		Person() gitrepo.Person
	}{"OpenPGP": people().alice, "SSH": ssh} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.cfg.Signers = append(f.cfg.Signers[:1], commit.SignerConfig{Name: "ssh", AllowedSigners: ssh.AllowedSigner()})
			elsewhere, err := key.Sign([]byte("another commit"))
			if err != nil {
				t.Fatal(err)
			}
			for _, change := range []func(*gitrepo.Change){
				func(c *gitrepo.Change) { c.Sign = constant(elsewhere) },
				func(c *gitrepo.Change) {
					c.Raw = func(b []byte) []byte { return append(b, "one more line\n"...) }
				},
				func(c *gitrepo.Change) {
					c.Raw = func(b []byte) []byte {
						return []byte(strings.Replace(string(b), "gpgsig ", "gpgsig "+elsewhere, 1))
					}
				},
			} {
				head := f.signed(key, "a", change)
				if res := f.verifier().VerifyCommit(t.Context(), f.Objects(), head); res.Status != commit.Bad {
					t.Errorf("status %s (%s), want bad", res.Status, res.Message)
				} else {
					f.neverLaxer(head, res, f.publicKeys(), ssh.AllowedSigner())
				}
			}
		})
	}
}

// A signature over the SHA-256 form of a commit is not one over these bytes.
func TestSignatureOfAnotherHash(t *testing.T) {
	f := newFixture(t)
	head := f.signed(people().alice, "a", func(c *gitrepo.Change) { c.SignatureHeader = "gpgsig-sha256" })
	res := f.verifier().VerifyCommit(t.Context(), f.Objects(), head)
	if res.Status != commit.Unsupported || !strings.Contains(res.Message, "gpgsig-sha256") {
		t.Errorf("result %+v, want unsupported", res)
	}
	f.neverLaxer(head, res, f.publicKeys(), "")
}
