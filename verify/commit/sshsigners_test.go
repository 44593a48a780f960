package commit_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitgate.dev/gitgate/test/testkit/gitrepo"
	"gitgate.dev/gitgate/verify/commit"
)

const purpose = "gitgate-breakglass"

func signed(t testing.TB, k *gitrepo.SSHKey, message string) string {
	t.Helper()
	armored, err := k.Sign([]byte(message))
	if err != nil {
		t.Fatal(err)
	}
	return armored
}

func certify(t testing.TB, authority, subject *gitrepo.SSHKey, c gitrepo.Certificate) *gitrepo.SSHKey {
	t.Helper()
	k, err := authority.Certify(subject, c)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSSHSigners(t *testing.T) {
	alice := gitrepo.SSH(t, "Alice", "Alice@example.com", "").Namespace(purpose)
	mallory := gitrepo.SSH(t, "Mallory", "mallory@example.com", "").Namespace(purpose)
	authority := gitrepo.SSH(t, "CA", "ca@example.com", "")
	rsa := gitrepo.SSH(t, "Rita", "rita@example.com", gitrepo.SSHRSA).Namespace(purpose)
	hardware := gitrepo.SSH(t, "Hal", "hal@example.com", gitrepo.SSHSKEd25519).Namespace(purpose)
	lines := strings.Join([]string{
		alice.AllowedSigner(`namespaces="git,gitgate-*"`), rsa.AllowedSigner(), hardware.AllowedSigner(),
		alice.AllowedSignerAs("root@example.com,alice@example.com"),
		authority.AllowedSignerAs("*@example.com", "cert-authority"),
	}, "")
	signers, err := commit.NewSSHSigners("spec", lines, purpose)
	if err != nil {
		t.Fatal(err)
	}
	const message = "open the door"
	for name, tc := range map[string]struct {
		reason     string
		armored    string
		want       commit.Reason // empty: it holds
		principals []string
	}{
		"Key":         {"Both lines of the key name its owner.", signed(t, alice, message), "", []string{"alice@example.com", "root@example.com"}},
		"RSA":         {"With SHA-512.", signed(t, rsa, message), "", []string{"rita@example.com"}},
		"SecurityKey": {"With somebody present.", signed(t, hardware, message), "", []string{"hal@example.com"}},
		"Certificate": {"For the principals that the authority may name.",
			signed(t, certify(t, authority, mallory, gitrepo.Certificate{Principals: []string{"mallory@example.com", "m@elsewhere.com"}}), message), "", []string{"mallory@example.com"}},
		"CertifiedKey": {"A key with a line and a certificate is one person's.",
			signed(t, certify(t, authority, alice, gitrepo.Certificate{Principals: []string{"zoe@example.com"}}), message), "", []string{"alice@example.com", "root@example.com", "zoe@example.com"}},

		"GitNamespace":     {"A commit's signature is no grant.", signed(t, alice.Namespace("git"), message), commit.WrongNamespace, nil},
		"FileNamespace":    {"Nor is that of a file.", signed(t, alice.Namespace("file"), message), commit.WrongNamespace, nil},
		"OtherMessage":     {"Over one byte less.", signed(t, alice, message[1:]), commit.BadSignature, nil},
		"Stranger":         {"Nobody's key.", signed(t, mallory, message), commit.UntrustedSigner, nil},
		"ForeignPrincipal": {"The authority may not speak for elsewhere.", signed(t, certify(t, authority, mallory, gitrepo.Certificate{Principals: []string{"m@elsewhere.com"}}), message), commit.UntrustedSigner, nil},
		"ForeignAuthority": {"A key that is no authority certifies nothing.", signed(t, certify(t, alice, mallory, gitrepo.Certificate{Principals: []string{"mallory@example.com"}}), message), commit.UntrustedSigner, nil},
		"HostCertificate":  {"Hosts do not sign.", signed(t, certify(t, authority, mallory, gitrepo.Certificate{Principals: []string{"mallory@example.com"}, Host: true}), message), commit.BadSignature, nil},
		"SHA1":             {"RSA with SHA-1.", signed(t, rsa.SHA1(), message), commit.WeakCryptography, nil},
		"Untouched":        {"A security key that nobody touched.", signed(t, hardware.Untouched(), message), commit.BadSignature, nil},
		"Trailing":         {"Text behind it.", signed(t, alice, message) + "x", commit.BadSignature, nil},
		"Twice":            {"Two of them.", signed(t, alice, message) + signed(t, alice, message), commit.BadSignature, nil},
		"OpenPGP":          {"Another format.", "-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n", commit.BadSignature, nil},
		"Empty":            {"Nothing.", "", commit.BadSignature, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := signers.Verify(tc.armored, []byte(message))
			var why *commit.SSHSignatureError
			if errors.As(err, &why) && why.Reason != tc.want || (err != nil) != (tc.want != "") {
				t.Fatalf("%s\nVerify() = %v (%+v), want %q", tc.reason, err, why, tc.want)
			}
			if err == nil && !cmp.Equal(got.Principals, tc.principals) {
				t.Errorf("%s\nprincipals are %q, want %q", tc.reason, got.Principals, tc.principals)
			}
		})
	}
}

func TestSSHSignersValidAt(t *testing.T) {
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	alice := gitrepo.SSH(t, "Alice", "alice@example.com", "").Namespace(purpose)
	authority := gitrepo.SSH(t, "CA", "ca@example.com", "")
	bob := gitrepo.SSH(t, "Bob", "bob@example.com", "").Namespace(purpose)
	cert := certify(t, authority, bob, gitrepo.Certificate{Principals: []string{"bob@example.com"}, ValidAfter: at.Add(-time.Hour), ValidBefore: at.Add(time.Hour)})
	signers, err := commit.NewSSHSigners("spec", alice.AllowedSigner(`valid-after="20261122110000Z"`, `valid-before="20261122130000Z"`)+
		authority.AllowedSignerAs("*", "cert-authority"), purpose)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]*gitrepo.SSHKey{"Line": alice, "Certificate": cert} {
		t.Run(name, func(t *testing.T) {
			sig, err := signers.Verify(signed(t, key, "m"), []byte("m"))
			if err != nil {
				t.Fatal(err)
			}
			for after, want := range map[time.Duration]bool{
				-time.Hour - time.Second: false, -time.Hour: true, 0: true, time.Hour - time.Second: true, time.Hour: false,
			} {
				if err := sig.ValidAt(at.Add(after)); (err == nil) != want {
					t.Errorf("ValidAt(%s) = %v, want valid: %t", after, err, want)
				}
			}
		})
	}
}

func TestNewSSHSignersRefuses(t *testing.T) {
	alice := gitrepo.SSH(t, "Alice", "alice@example.com", "")
	for name, tc := range map[string]struct{ reason, lines, namespace, want string }{
		"Empty":         {"Nobody could sign.", "# nobody\n", purpose, "no line in it names a key"},
		"GitNamespace":  {"Commits would count.", alice.AllowedSigner(), "git", "or is Git's"},
		"NoNamespace":   {"Everything would count.", alice.AllowedSigner(), "", "says nothing"},
		"Pattern":       {"Two people behind one name would count once, or one twice.", alice.AllowedSignerAs("*@example.com"), purpose, "is a pattern"},
		"WrongPurpose":  {"A line that can never count is a mistake.", alice.AllowedSigner(`namespaces="git"`), purpose, "spec:1: option namespaces does not admit"},
		"UnknownOption": {"It may be a limit.", alice.AllowedSigner(`only-on="mondays"`), purpose, "spec:1: unknown option"},
		"Weak":          {"Its word is worth nothing.", gitrepo.SSH(t, "Old", "old@example.com", gitrepo.SSHRSA1024).AllowedSigner(), purpose, "RSA key of 1024 bits"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := commit.NewSSHSigners("spec", tc.lines, tc.namespace)
			if s != nil || err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s\nNewSSHSigners() = %v, %v, want %q", tc.reason, s, err, tc.want)
			}
		})
	}
}

// FuzzSSHSigners: whatever is given as a signature, it is a known key's over
// exactly these bytes, or it is refused with a reason.
func FuzzSSHSigners(f *testing.F) {
	alice := gitrepo.SSH(f, "Alice", "alice@example.com", "").Namespace(purpose)
	signers, err := commit.NewSSHSigners("spec", alice.AllowedSigner(), purpose)
	if err != nil {
		f.Fatal(err)
	}
	valid := signed(f, alice, "m")
	for _, seed := range []string{valid, strings.TrimSpace(valid), strings.ReplaceAll(valid, "\n", "\r\n"), valid[:len(valid)/2],
		signed(f, alice.Namespace("git"), "m"), signed(f, alice.Digest("sha256"), "m"), "-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----"} {
		f.Add(seed, "m")
		f.Add(seed, "")
	}
	f.Fuzz(func(t *testing.T, armored, message string) {
		sig, err := signers.Verify(armored, []byte(message))
		if err != nil {
			var why *commit.SSHSignatureError
			if !errors.As(err, &why) || why.Reason == "" || why.Message == "" || strings.Contains(why.Message, "\n") {
				t.Errorf("Verify() fails without a reason in one line: %#v", err)
			}
			return
		}
		if message != "m" || sig.Fingerprint != alice.Fingerprint() || !slices.Equal(sig.Principals, []string{"alice@example.com"}) {
			t.Errorf("Verify(%q, %q) = %+v", armored, message, sig)
		}
	})
}
