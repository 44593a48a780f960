package commit_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/go-git/go-git/v5/plumbing"

	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/verify/commit"
)

func TestAttack_G1_UnsignedHead(t *testing.T) {
	f := newFixture(t)
	good := f.signed(people().alice, "a")
	f.admitted(good, f.root)
	head := f.Commit(gitrepo.Change{Files: map[string]string{"b": "b"}, Author: people().alice.Person()})
	p := f.denied(commit.UnsignedCommit, head, good)
	if p.Commit != head.String() {
		t.Errorf("blames %s, want %s", p.Commit, head)
	}
	f.neverLaxer(head, f.verifier().VerifyCommit(t.Context(), f.Objects(), head), f.publicKeys(), "")
	f.admitted(f.signed(people().alice, "c", on(good)), good) // the next good commit goes through
}

func TestAttack_G2_UnsignedAncestor(t *testing.T) {
	alice := people().alice
	for name, build := range map[string]func(f *fixture, base plumbing.Hash) (head, culprit plumbing.Hash){
		"Linear": func(f *fixture, base plumbing.Hash) (plumbing.Hash, plumbing.Hash) {
			bad := f.Commit(gitrepo.Change{Files: map[string]string{"evil": "x"}})
			return f.signed(alice, "b"), bad
		},
		"MergeParent": func(f *fixture, base plumbing.Hash) (plumbing.Hash, plumbing.Hash) {
			bad := f.Commit(gitrepo.Change{Files: map[string]string{"evil": "x"}, Parents: []plumbing.Hash{base}, Branch: "side"})
			return f.signed(alice, "b", func(c *gitrepo.Change) { c.Parents = []plumbing.Hash{base, bad} }), bad
		},
		"FirstParent": func(f *fixture, base plumbing.Hash) (plumbing.Hash, plumbing.Hash) {
			bad := f.Commit(gitrepo.Change{Files: map[string]string{"evil": "x"}, Parents: []plumbing.Hash{base}, Branch: "side"})
			return f.signed(alice, "b", func(c *gitrepo.Change) { c.Parents = []plumbing.Hash{bad, base} }), bad
		},
		"ContentAddingMerge": func(f *fixture, base plumbing.Hash) (plumbing.Hash, plumbing.Hash) {
			side := f.signed(alice, "side", on(base))
			main := f.signed(alice, "main", on(base))
			bad := f.Commit(gitrepo.Change{Files: map[string]string{"evil": "x"}, Parents: []plumbing.Hash{main, side}})
			return f.signed(alice, "b"), bad
		},
		"UnderAnOctopus": func(f *fixture, base plumbing.Hash) (plumbing.Hash, plumbing.Hash) {
			bad := f.Commit(gitrepo.Change{Parents: []plumbing.Hash{base}, Branch: "x", Files: map[string]string{"evil": "x"}})
			covered := f.signed(alice, "y", on(bad))
			return f.signed(alice, "b", on(base, f.signed(alice, "z", on(base)), covered)), bad
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			base := f.signed(alice, "a")
			head, bad := build(f, base)
			if p := f.denied(commit.UnsignedCommit, head, base); p.Commit != bad.String() {
				t.Errorf("blames %s, want %s", p.Commit, bad)
			}
			f.cfg.Scope = commit.ScopeHead
			f.admitted(head, base) // the very same passes where only the head counts
		})
	}
}

func TestAttack_G3_DuplicateTree(t *testing.T) {
	alice := people().alice
	for name, raw := range map[string]func(evil string, raw []byte) []byte{
		"EvilFirst": func(evil string, raw []byte) []byte { return append([]byte("tree "+evil+"\n"), raw...) },
		"EvilSecond": func(evil string, raw []byte) []byte {
			i := bytes.IndexByte(raw, '\n') + 1
			return append(append(bytes.Clone(raw[:i]), "tree "+evil+"\n"...), raw[i:]...)
		},
		"EvilAfterCommitter": func(evil string, raw []byte) []byte {
			return bytes.Replace(raw, []byte("\ngpgsig "), []byte("\ntree "+evil+"\ngpgsig "), 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			evil := f.Object(plumbing.TreeObject, gitrepo.EncodeTree())
			head := f.signed(alice, "a", func(c *gitrepo.Change) {
				c.Raw = func(b []byte) []byte { return raw(evil.String(), b) }
			})
			f.denied(commit.MalformedObject, head)
			f.neverLaxer(head, f.verifier().VerifyCommit(t.Context(), f.Objects(), head), f.publicKeys(), "")

			// A signature over the duplicate itself is no better.
			signedOver := f.signed(alice, "b", func(c *gitrepo.Change) {
				c.BeforeSign = func(b []byte) []byte { return append([]byte("tree "+evil.String()+"\n"), b...) }
			})
			f.denied(commit.MalformedObject, signedOver)
		})
	}
}

func TestAttack_G4_AmbiguousHeaders(t *testing.T) {
	alice, mallory := people().alice, people().mallory
	replace := func(old, with string) func([]byte) []byte {
		return func(b []byte) []byte {
			out := bytes.Replace(b, []byte(old), []byte(with), 1)
			if bytes.Equal(out, b) {
				panic("the attack changed nothing")
			}
			return out
		}
	}
	second := func(name string) func([]byte) []byte {
		return func(b []byte) []byte {
			armored, err := mallory.Sign(b)
			if err != nil {
				panic(err)
			}
			return gitrepo.InsertHeader(b, gitrepo.Header{Name: name, Value: armored})
		}
	}
	for name, raw := range map[string]func([]byte) []byte{
		"TwoGpgsig":           second("gpgsig"),
		"GpgsigAndSha256":     second("gpgsig-sha256"),
		"GpgsigOfAnotherCase": second("GPGSIG"),
		"HeaderAfterGpgsig": func(b []byte) []byte {
			return gitrepo.InsertHeader(b, gitrepo.Header{Name: "encoding", Value: "latin-1"})
		},
		"CommitterBeforeAuthor": func(b []byte) []byte {
			lines := bytes.SplitAfter(b, []byte("\n"))
			lines[2], lines[3] = lines[3], lines[2]
			return bytes.Join(lines, nil)
		},
		"ParentAfterAuthor": func(b []byte) []byte {
			lines := bytes.SplitAfter(b, []byte("\n"))
			lines[1], lines[2] = lines[2], lines[1]
			return bytes.Join(lines, nil)
		},
		"SecondAuthor":       replace("\ncommitter ", "\nauthor x <x@example.com> 1 +0000\ncommitter "),
		"NULInAuthor":        replace("author alice", "author al\x00ice"),
		"NULInMessage":       replace("Change something", "Change\x00something"),
		"CRInCommitter":      replace("committer alice", "committer al\rice"),
		"CRBeforeTheMessage": replace("\n\nChange", "\r\n\nChange"),
		"TwoAddresses":       replace("author alice <", "author bob <bob@example.com> alice <"),
		"UpperCaseHash":      func(b []byte) []byte { return append([]byte("tree "), append(bytes.ToUpper(b[5:45]), b[45:]...)...) },
		"ShortParent": func(b []byte) []byte {
			i := bytes.Index(b, []byte("\nparent "))
			return append(b[:i+9:i+9], b[i+10:]...)
		},
		"NoBlankLine":            func(b []byte) []byte { return b[:bytes.Index(b, []byte("\n\n"))+1] },
		"ContinuationOfTheTree":  replace("\nparent ", "\n x\nparent "),
		"HeaderWithoutValue":     replace("\ngpgsig ", "\nnothing\ngpgsig "),
		"OtherToolsHeaderTwice":  replace("\ngpgsig ", "\nchange-id a\nchange-id b\ngpgsig "),
		"EncodingOutOfItsPlace":  replace("\ngpgsig ", "\nchange-id a\nencoding latin-1\ngpgsig "),
		"TimeThatIsNone":         replace(" +0000\ncommitter", " now\ncommitter"),
		"EmptyGpgsigBeforeReal":  replace("\ngpgsig ", "\ngpgsig \ngpgsig "),
		"MergetagWithTheirParts": replace("\ngpgsig ", "\nmergetag object x\ntree y\ngpgsig "),
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.Clock = gitrepo.Ticking(time.Now().Add(-time.Hour).UTC())
			head := f.signed(alice, "a", func(c *gitrepo.Change) { c.Raw = raw })
			f.denied(commit.MalformedObject, head)
			f.neverLaxer(head, f.verifier().VerifyCommit(t.Context(), f.Objects(), head), f.publicKeys(), "")
		})
	}
}

func TestAttack_G5_PKCS7WithoutCertificates(t *testing.T) {
	for name, body := range map[string]string{
		"NoCertificates": "MAsGCSqGSIb3DQEHAg==", // a ContentInfo of SignedData with nothing in it
		"Empty":          "",
		"Garbage":        "AAAA",
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			head := f.signed(people().alice, "a", func(c *gitrepo.Change) {
				c.Sign = constant("-----BEGIN SIGNED MESSAGE-----\n" + body + "\n-----END SIGNED MESSAGE-----\n")
			})
			p := f.denied(commit.UnsupportedSignature, head)
			if !p.Undetermined {
				t.Error("a kind that cannot be verified is reported as if it had been")
			}
			res := f.verifier().VerifyCommit(t.Context(), f.Objects(), head)
			if res.Status != commit.Unsupported || res.KeyType != commit.X509 {
				t.Errorf("got %s %s, want unsupported x509", res.Status, res.KeyType)
			}
		})
	}
}

// constant is a signature made elsewhere.
type constant string

func (c constant) Sign([]byte) (string, error) { return string(c), nil }

func TestAttack_G9_ForgeKey(t *testing.T) {
	forge := gitrepo.OpenPGP(t, gitrepo.OpenPGPOptions{Name: "GitHub", Email: "noreply@github.com"})
	marked := gitrepo.SSH(t, "Forge", "merge@forge.example.com", gitrepo.SSHEd25519)
	author := people().alice.Person()
	t.Run("ListedByAddress", func(t *testing.T) {
		f := newFixture(t)
		f.cfg.Signers = append(f.cfg.Signers, commit.SignerConfig{Name: "forge", OpenPGP: forge.Public()})
		head := f.signed(forge, "a", func(c *gitrepo.Change) { c.Committer, c.Author = c.Author, author })
		f.denied(commit.ForgeKey, head)
		f.cfg.ForgeKeys = commit.ForgeKeysAllow
		f.admitted(head) // the forge's word for the author is then taken
	})
	t.Run("Marked", func(t *testing.T) {
		f := newFixture(t)
		f.cfg.Signers = append(f.cfg.Signers, commit.SignerConfig{Name: "forge", AllowedSigners: marked.AllowedSigner(), Forge: true})
		f.denied(commit.ForgeKey, f.signed(marked, "a"))
	})
	t.Run("AllowedButOtherCommitter", func(t *testing.T) {
		f := newFixture(t)
		f.cfg.Signers = append(f.cfg.Signers, commit.SignerConfig{Name: "forge", OpenPGP: forge.Public()})
		f.cfg.ForgeKeys = commit.ForgeKeysAllow
		f.denied(commit.AuthorMismatch, f.signed(forge, "a", func(c *gitrepo.Change) { c.Author = author }))
	})
	t.Run("GitHubsOwnKeyNotListed", func(t *testing.T) {
		f := newFixture(t)
		f.denied(commit.ForgeKey, f.signed(people().alice, "a", func(c *gitrepo.Change) {
			// Claim the key ID of GitHub's web flow, as its commits do.
			c.Sign = people().alice.Edit(claimIssuer(people().alice.KeyID(), 0xB5690EEEBB952194))
		}))
	})
}

func TestAttack_G10_AuthorMismatch(t *testing.T) {
	alice, bob := people().alice, people().bob
	for name, tc := range map[string]struct {
		reason            string
		author, committer gitrepo.Person
		emails            []string
		want              bool
	}{
		"Own":             {"author and committer sign", alice.Person(), alice.Person(), nil, true},
		"OtherAuthor":     {"alice commits in bob's name", bob.Person(), alice.Person(), nil, false},
		"OtherCommitter":  {"bob's name on alice's signature", alice.Person(), bob.Person(), nil, false},
		"SameNameOnly":    {"a name proves nothing", gitrepo.Person{Name: "alice", Email: "alice@evil.example"}, alice.Person(), nil, false},
		"NoAddress":       {"no address is nobody's", gitrepo.Person{Name: "alice"}, alice.Person(), nil, false},
		"ConfiguredEmail": {"an address of the configuration counts", gitrepo.Person{Name: "a", Email: "a@corp.example"}, alice.Person(), []string{"a@corp.example"}, true},
		"OtherCase":       {"case does not matter in addresses", gitrepo.Person{Name: "a", Email: "Alice@Example.COM"}, alice.Person(), nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.cfg.Signers[0].Emails = tc.emails
			head := f.signed(alice, "a", func(c *gitrepo.Change) { c.Author, c.Committer = tc.author, tc.committer })
			if tc.want {
				f.admitted(head)
				return
			}
			f.denied(commit.AuthorMismatch, head)
			f.cfg.AuthorMustMatchSigner = false
			f.admitted(head) // nothing but the author was wrong
		})
	}
}

func TestAttack_G11_KeyTimes(t *testing.T) {
	day := 24 * time.Hour
	made := now().Add(-100 * day)
	for name, tc := range map[string]struct {
		reason   string
		lifetime time.Duration
		signedAt time.Time
		revoked  *packet.ReasonForRevocation
		want     commit.Reason // when new
		history  commit.Reason // when in force before
	}{
		"Valid":                 {"a key in its time", 0, now().Add(-10 * day), nil, "", ""},
		"Expired":               {"backdating does not help a new commit, and history stays", 50 * day, now().Add(-80 * day), nil, commit.KeyExpired, ""},
		"SignedAfterExpiry":     {"it was never valid", 50 * day, now().Add(-10 * day), nil, commit.KeyExpired, commit.KeyExpired},
		"Compromised":           {"nothing it signed can be believed", 0, now().Add(-80 * day), reason(packet.KeyCompromised), commit.KeyRevoked, commit.KeyRevoked},
		"RevokedWithoutReason":  {"assume the worst", 0, now().Add(-80 * day), reason(packet.NoReason), commit.KeyRevoked, commit.KeyRevoked},
		"Retired":               {"history before stays, nothing new", 0, now().Add(-80 * day), reason(packet.KeyRetired), commit.KeyRevoked, ""},
		"Superseded":            {"history before stays, nothing new", 0, now().Add(-80 * day), reason(packet.KeySuperseded), commit.KeyRevoked, ""},
		"SignedAfterRetirement": {"it was retired by then", 0, now().Add(-10 * day), reason(packet.KeyRetired), commit.KeyRevoked, commit.KeyRevoked},
		"BeforeTheKeyExisted":   {"a key cannot sign before it is made", 0, made.Add(-day), nil, commit.BadSignature, commit.BadSignature},
		"InTheFuture":           {"a clock that far ahead is a lie", 0, now().Add(day), nil, commit.BadSignature, ""},
	} {
		t.Run(name, func(t *testing.T) {
			key := gitrepo.OpenPGP(t, gitrepo.OpenPGPOptions{Name: "alice", Email: "alice@example.com", Created: made, Lifetime: tc.lifetime})
			if tc.revoked != nil {
				if err := key.Revoke(*tc.revoked, now().Add(-30*day)); err != nil {
					t.Fatal(err)
				}
			}
			f := newFixture(t)
			f.cfg.Signers = []commit.SignerConfig{{Name: "alice", OpenPGP: key.Public()}, {Name: "bob", OpenPGP: people().bob.Public()}}
			at := key.Person()
			at.When = tc.signedAt
			old := f.signed(key, "a", func(c *gitrepo.Change) { c.Sign, c.Author = key.At(tc.signedAt), at })
			if tc.want != "" {
				f.denied(tc.want, old)
			} else {
				f.admitted(old)
			}
			f.neverLaxer(old, f.verifier().VerifyCommit(t.Context(), f.Objects(), old), []string{key.Public()}, "")

			// A later commit by bob, when the old one is in force already.
			head := f.signed(people().bob, "b")
			if tc.history != "" {
				f.denied(tc.history, head, old)
				return
			}
			f.admitted(head, old)
			if tc.want != "" { // but what status says grants no leniency
				tree, report := f.verifier().Verify(t.Context(), commit.Request{Objects: f.Objects(), Head: head, Ancestors: []plumbing.Hash{old}})
				requireProblem(t, tc.want, tree, report)
			}
		})
	}
}

func reason(r packet.ReasonForRevocation) *packet.ReasonForRevocation { return &r }

func TestAttack_G11_SignatureExpired(t *testing.T) {
	f := newFixture(t)
	key := people().alice.At(now().Add(-2 * time.Hour)).Lasting(time.Hour)
	f.denied(commit.KeyExpired, f.signed(key, "a"))
}

// claimIssuer changes the key ID and drops the fingerprint's match, so that a
// signature claims to be by another key.
func claimIssuer(from, to uint64) func([]byte) []byte {
	encode := func(id uint64) []byte {
		b := make([]byte, 8)
		for i := range b {
			b[i] = byte(id >> (56 - 8*i))
		}
		return b
	}
	return func(sig []byte) []byte { return bytes.ReplaceAll(sig, encode(from), encode(to)) }
}
