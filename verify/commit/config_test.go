package commit_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/verify/commit"
)

func TestConfigErrors(t *testing.T) {
	alice := people().alice
	key := gitrepo.SSH(t, "carol", "carol@example.com", "")
	line := key.AllowedSigner()
	ring := func(s ...commit.SignerConfig) commit.Config { return commit.Config{Signers: s} }
	lines := func(text string) commit.Config { return ring(commit.SignerConfig{Name: "s", AllowedSigners: text}) }
	rule := func(r commit.Rule) commit.Config {
		return commit.Config{Signers: []commit.SignerConfig{{Name: "alice", OpenPGP: alice.Public()}}, Rules: []commit.Rule{r}}
	}
	for name, tc := range map[string]struct {
		cfg         commit.Config
		field, says string
	}{
		"NoName":          {ring(commit.SignerConfig{OpenPGP: alice.Public()}), "signers[0].name", "needs a name"},
		"NameTwice":       {ring(commit.SignerConfig{Name: "a", AllowedSigners: line}, commit.SignerConfig{Name: "a", OpenPGP: alice.Public()}), "signers[1].name", "earlier"},
		"NoKey":           {ring(commit.SignerConfig{Name: "a"}), "signers[0]", "no key"},
		"NotAKey":         {ring(commit.SignerConfig{Name: "a", OpenPGP: "hello"}), "signers[0].openPGP", "no OpenPGP key"},
		"DamagedKey":      {ring(commit.SignerConfig{Name: "a", OpenPGP: strings.Replace(alice.Public(), "\n\n", "\n\nxxxx", 1)}), "signers[0].openPGP", ""},
		"PrivateKey":      {ring(commit.SignerConfig{Name: "a", OpenPGP: alice.Private()}), "signers[0].openPGP", "private key"},
		"KeyOfTwo":        {ring(commit.SignerConfig{Name: "a", OpenPGP: alice.Public()}, commit.SignerConfig{Name: "b", OpenPGP: alice.Public()}), "signers[1].openPGP", "twice"},
		"SSHKeyOfTwo":     {ring(commit.SignerConfig{Name: "a", AllowedSigners: line}, commit.SignerConfig{Name: "b", AllowedSigners: line}), "signers[1].allowedSigners:1", `"a" already`},
		"NoLine":          {lines("# nothing\n\n"), "signers[0].allowedSigners", "no line"},
		"LineNumber":      {lines("# one\n" + line + "\nx y z\n"), "signers[0].allowedSigners:4", ""},
		"UnknownOption":   {lines("a@x no-such-option " + key.Public()), "signers[0].allowedSigners:1", "unknown option"},
		"OptionTwice":     {lines(`a@x namespaces="git",namespaces="file" ` + key.Public()), "signers[0].allowedSigners:1", "twice"},
		"UnquotedValue":   {lines("a@x namespaces=git " + key.Public()), "signers[0].allowedSigners:1", "quotes"},
		"OpenQuote":       {lines(`a@x namespaces="git ` + key.Public()), "signers[0].allowedSigners:1", ""},
		"BadTime":         {lines(`a@x valid-after="2024" ` + key.Public()), "signers[0].allowedSigners:1", "YYYYMMDD"},
		"BadDate":         {lines(`a@x valid-after="20241301" ` + key.Public()), "signers[0].allowedSigners:1", "YYYYMMDD"},
		"TimesReversed":   {lines(`a@x valid-after="20250101",valid-before="20240101" ` + key.Public()), "signers[0].allowedSigners:1", "not before"},
		"EmptyPrincipal":  {lines("a@x,,b@x " + key.Public()), "signers[0].allowedSigners:1", "principal"},
		"NoPrincipal":     {lines(key.Public()), "signers[0].allowedSigners:1", ""},
		"DamagedSSHKey":   {lines("a@x ssh-ed25519 AAAA"), "signers[0].allowedSigners:1", "cannot be read"},
		"AbbreviatedRoot": {commit.Config{Root: "abcdef1"}, "root", "40 hex"},
		"ForgeKeys":       {commit.Config{ForgeKeys: "Perhaps"}, "forgeKeys", "Deny"},
		"Scope":           {commit.Config{Scope: "Some"}, "scope", "EveryCommit"},
		"Rollback":        {commit.Config{Rollback: "Yes"}, "rollback", "Signed"},
		"RuleWithoutPath": {rule(commit.Rule{Signers: []string{"alice"}}), "rules[0].paths", "at least one"},
		"RuleOfUnknown":   {rule(commit.Rule{Paths: []string{"**"}, Signers: []string{"bob"}}), "rules[0].signers[0]", `"bob"`},
		"RuleThreshold":   {rule(commit.Rule{Paths: []string{"**"}, Signers: []string{"alice"}, Threshold: 2}), "rules[0].threshold", "not supported yet"},
		"RuleSlash":       {rule(commit.Rule{Paths: []string{"/a"}}), "rules[0].paths[0]", "a/**"},
		"RuleDirectory":   {rule(commit.Rule{Paths: []string{"a/"}}), "rules[0].paths[0]", "a/**"},
		"RuleNegation":    {rule(commit.Rule{Paths: []string{"!a"}}), "rules[0].paths[0]", "negation"},
		"RuleGlob":        {rule(commit.Rule{Paths: []string{"a[b"}}), "rules[0].paths[0]", "a[b"},
		"RuleTooComplex":  {rule(commit.Rule{Paths: []string{strings.Repeat("**/a/", 20) + "x"}}), "rules[0].paths[0]", "complex"},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := commit.NewVerifier(tc.cfg)
			var wrong *commit.ConfigError
			if v != nil || !errors.As(err, &wrong) {
				t.Fatalf("NewVerifier: %v, want a ConfigError", err)
			}
			if wrong.Field != tc.field || !strings.Contains(wrong.Message, tc.says) {
				t.Errorf("got %v, want %s: …%s…", err, tc.field, tc.says)
			}
		})
	}
}

func TestEveryConfigErrorIsReported(t *testing.T) {
	_, err := commit.NewVerifier(commit.Config{Root: "x", Scope: "y", Signers: []commit.SignerConfig{{Name: "a", AllowedSigners: "bad\nworse"}}})
	for _, want := range []string{"root:", "scope:", "allowedSigners:1", "allowedSigners:2"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q lacks %s", err, want)
		}
	}
}

func TestKeyrings(t *testing.T) {
	alice, bob := people().alice, people().bob
	f := newFixture(t)
	f.cfg.AuthorMustMatchSigner = false
	f.cfg.Signers = []commit.SignerConfig{{Name: "team", OpenPGP: "Comment\n" + alice.Public() + "\nmore text\n" + bob.Public()}}
	f.signed(alice, "a")
	f.admitted(f.signed(bob, "b"))
}

func TestAllowedSignersForms(t *testing.T) {
	key := gitrepo.SSH(t, "alice", "alice@example.com", "")
	for name, tc := range map[string]struct {
		line string
		want commit.Reason
	}{
		"Plain":            {"alice@example.com " + key.Public(), ""},
		"Comment":          {"alice@example.com " + key.Public() + " alice at work", ""},
		"Tabs":             {"alice@example.com\t" + key.Public(), ""},
		"CarriageReturn":   {"alice@example.com " + key.Public() + "\r", ""},
		"Pattern":          {"*@example.com " + key.Public(), ""},
		"QuestionMark":     {"?lice@example.com " + key.Public(), ""},
		"List":             {"x@example.org,alice@example.com " + key.Public(), ""},
		"Quoted":           {`"x y@example.org,alice@example.com" ` + key.Public(), ""},
		"OtherPrincipal":   {"bob@example.com " + key.Public(), commit.AuthorMismatch},
		"Negated":          {"*@example.com,!alice@example.com " + key.Public(), commit.AuthorMismatch},
		"OptionCase":       {`alice@example.com NameSpaces="git" ` + key.Public(), ""},
		"AuthorityLine":    {"alice@example.com cert-authority " + key.Public() + "\n" + `alice@example.com valid-before="20200101" ` + key.Public(), commit.KeyExpired},
		"SecondLineValid":  {`alice@example.com valid-before="20200101" ` + key.Public() + "\nalice@example.com " + key.Public(), ""},
		"SecondLineNames":  {"bob@example.com " + key.Public() + "\nalice@example.com " + key.Public(), ""},
		"ExpiredLineNames": {"bob@example.com " + key.Public() + "\n" + `alice@example.com valid-before="20200101" ` + key.Public(), commit.AuthorMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.cfg.Signers = []commit.SignerConfig{{Name: "alice", AllowedSigners: tc.line}}
			head := f.signed(key, "a")
			if res := f.verifier().VerifyCommit(t.Context(), f.Objects(), head); res.Reason != tc.want {
				t.Errorf("reason %q (%s), want %q", res.Reason, res.Message, tc.want)
			}
		})
	}
}

// A revocation in one copy of a key must not be lost to another copy.
func TestSecondCopyOfAKeyIsRefused(t *testing.T) {
	key := gitrepo.OpenPGP(t, gitrepo.OpenPGPOptions{Name: "alice", Email: "alice@example.com"})
	before := key.Public()
	if err := key.Revoke(packet.KeyCompromised, time.Now()); err != nil {
		t.Fatal(err)
	}
	_, err := commit.NewVerifier(commit.Config{Signers: []commit.SignerConfig{{Name: "alice", OpenPGP: before + key.Public()}}})
	if err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("got %v", err)
	}
}

// Nor may a revocation by another key, which we cannot check, be passed over.
func TestForeignRevocationIsRefused(t *testing.T) {
	alice := gitrepo.OpenPGP(t, gitrepo.OpenPGPOptions{Name: "alice", Email: "alice@example.com"})
	if err := alice.RevokeBy(people().bob, time.Now()); err != nil {
		t.Fatal(err)
	}
	_, err := commit.NewVerifier(commit.Config{Signers: []commit.SignerConfig{{Name: "alice", OpenPGP: alice.Public()}}})
	if err == nil || !strings.Contains(err.Error(), "revocation") {
		t.Errorf("got %v", err)
	}
}
