package source_test

import (
	"errors"
	"strings"
	"testing"

	"gitgate.dev/gitgate/reconcile/source"
)

func TestAttack_G18_URLsRefusedAtLoad(t *testing.T) {
	for name, tc := range map[string]struct{ reason, url string }{
		"Empty":            {"Nothing.", ""},
		"File":             {"A path of this machine.", "file:///etc"},
		"FileUpper":        {"Schemes have no case.", "FILE:///etc"},
		"Path":             {"A path without a scheme.", "/srv/git/a.git"},
		"RelativePath":     {"A relative path.", "../a.git"},
		"WindowsPath":      {"A drive is no host.", `C:\git\a.git`},
		"Git":              {"Neither authenticated nor encrypted.", "git://git.example.com/a.git"},
		"HTTP":             {"Not encrypted.", "http://git.example.com/a.git"},
		"HTTPLoopback":     {"Not without the option.", "http://127.0.0.1/a.git"},
		"Ext":              {"A transport that runs a command.", "ext::sh -c id"},
		"ExtHost":          {"The same with a host.", "git@ext::sh"},
		"Option":           {"CVE-2025-21613.", "--upload-pack=touch /tmp/pwned"},
		"OptionHost":       {"CVE-2017-1000117: ssh takes the host for an option.", "ssh://-oProxyCommand=id/a.git"},
		"OptionUser":       {"The user is an option.", "ssh://-l@git.example.com/a.git"},
		"OptionScp":        {"The scp spelling with an option for a host.", "git@-oProxyCommand=id:a.git"},
		"Quote":            {"CVE-2026-45570: the path ends its own quoting.", "ssh://git@git.example.com/a'; id; '.git"},
		"QuoteEncoded":     {"The same, percent-encoded.", "ssh://git@git.example.com/a%27;id;%27.git"},
		"DoubleQuote":      {"As above.", `ssh://git@git.example.com/a".git`},
		"Backslash":        {"As above.", `ssh://git@git.example.com/a\.git`},
		"Backtick":         {"As above.", "ssh://git@git.example.com/`id`.git"},
		"Dollar":           {"As above.", "ssh://git@git.example.com/$HOME.git"},
		"ScpQuote":         {"The scp spelling.", "git@git.example.com:a'b.git"},
		"Newline":          {"Header and log injection.", "https://git.example.com/a.git\nHost: evil"},
		"NewlineEncoded":   {"The same, encoded.", "https://git.example.com/a%0d%0ab.git"},
		"NUL":              {"Cuts strings short.", "https://git.example.com/a\x00.git"},
		"NULEncoded":       {"The same, encoded.", "https://git.example.com/a%00.git"},
		"DoubleEncoded":    {"Decodes to an encoded NUL.", "https://git.example.com/a%2500.git"},
		"EncodedSlash":     {"Segments would be ambiguous.", "https://git.example.com/a%2fb.git"},
		"Password":         {"Secrets belong into the Secret.", "https://bot:canary@git.example.com/a.git"},
		"User":             {"As above.", "https://canary@git.example.com/a.git"},
		"SSHPassword":      {"As above.", "ssh://git:canary@git.example.com/a.git"},
		"Query":            {"Not part of a repository's name.", "https://git.example.com/a.git?x=canary"},
		"Fragment":         {"As above.", "https://git.example.com/a.git#main"},
		"EmptyFragment":    {"As above.", "https://git.example.com/a.git#"},
		"NoPath":           {"A host is no repository.", "https://git.example.com/"},
		"NoHost":           {"No host.", "https:///a.git"},
		"DotSegment":       {"Ambiguous.", "https://git.example.com/a/../b.git"},
		"DotEncoded":       {"As above.", "https://git.example.com/a/%2e%2e/b.git"},
		"EmptySegment":     {"Ambiguous.", "https://git.example.com//a.git"},
		"TrailingDot":      {"Another name for the same host.", "https://git.example.com./a.git"},
		"PortZero":         {"No port.", "https://git.example.com:0/a.git"},
		"PortEmpty":        {"No port.", "https://git.example.com:/a.git"},
		"PortHuge":         {"No port.", "https://git.example.com:70000/a.git"},
		"ScpPort":          {"Path or port?", "git@git.example.com:2222/a.git"},
		"ScpNoUser":        {"Looks like a drive or a transport.", "git.example.com:a.git"},
		"NonASCIIHost":     {"Looks like another host.", "https://gіt.example.com/a.git"},
		"Zone":             {"A zone is this machine's business.", "https://[fe80::1%25eth0]/a.git"},
		"Long":             {"Longer than any real one.", "https://git.example.com/" + strings.Repeat("a", 3000)},
		"DirectionalMarks": {"Reads otherwise than it is.", "https://git.example.com/a%E2%80%AE.git"},
	} {
		t.Run("G18/"+name, func(t *testing.T) {
			_, err := source.ParseURL(tc.url)
			if !errors.Is(err, source.ErrInvalidURL) {
				t.Fatalf("%s\nParseURL(%q) = %v, want ErrInvalidURL", tc.reason, tc.url, err)
			}
			if strings.Contains(err.Error(), "canary") || strings.ContainsAny(err.Error(), "\n\x00") {
				t.Errorf("the error repeats the URL: %v", err)
			}
			if _, err := openCache(t, t.TempDir()).Repository(source.Options{URL: tc.url, Branch: "main"}); !errors.Is(err, source.ErrInvalidURL) {
				t.Errorf("Repository accepted it: %v", err)
			}
		})
	}
	t.Run("G18/LoopbackOnly", func(t *testing.T) {
		for _, u := range []string{"http://git.example.com/a.git", "http://127.0.0.1.example.com/a.git", "http://localhost.example.com/a", "http://0.0.0.0/a", "http://10.0.0.1/a"} {
			if _, err := source.ParseLoopbackURL(u); !errors.Is(err, source.ErrInvalidURL) {
				t.Errorf("ParseLoopbackURL(%q) = %v, want ErrInvalidURL", u, err)
			}
		}
	})
}

func TestCanonical(t *testing.T) {
	for name, tc := range map[string]struct{ reason, url, want string }{
		"HTTPS":         {"Nothing to change.", "https://git.example.com/acme/shop.git", "https://git.example.com/acme/shop.git"},
		"Case":          {"Scheme and host have no case, the path has.", "HTTPS://Git.Example.COM/Acme/Shop.git", "https://git.example.com/Acme/Shop.git"},
		"DefaultPort":   {"443 goes without saying.", "https://git.example.com:443/a.git", "https://git.example.com/a.git"},
		"OtherPort":     {"8443 does not.", "https://git.example.com:08443/a.git", "https://git.example.com:8443/a.git"},
		"TrailingSlash": {"One slash is dropped.", "https://git.example.com/a.git/", "https://git.example.com/a.git"},
		"NoSuffix":      {"The suffix makes a difference.", "https://git.example.com/a", "https://git.example.com/a"},
		"Encoding":      {"Needless encoding is undone, needed is kept.", "https://git.example.com/%61%20b", "https://git.example.com/a%20b"},
		"Scp":           {"scp's spelling is ssh.", "git@git.example.com:acme/shop.git", "ssh://git@git.example.com/acme/shop.git"},
		"ScpRoot":       {"It counts from the root anyway.", "git@git.example.com:/acme/shop.git", "ssh://git@git.example.com/acme/shop.git"},
		"SSHPort":       {"22 goes without saying.", "ssh://git@git.example.com:22/a.git", "ssh://git@git.example.com/a.git"},
		"SSHUser":       {"git is the user of every forge.", "ssh://git.example.com/a.git", "ssh://git@git.example.com/a.git"},
		"SSHOtherUser":  {"Another user may see another repository.", "ssh://bot@git.example.com/a.git", "ssh://bot@git.example.com/a.git"},
		"Home":          {"A home directory has to be named.", "ssh://git.example.com/~alice/a.git", "ssh://git@git.example.com/~alice/a.git"},
		"IPv6":          {"The address has one spelling.", "https://[2001:DB8::0:1]:443/a", "https://[2001:db8::1]/a"},
		"Loopback":      {"For tests and demonstrations.", "http://127.0.0.1:8080/a.git", "http://127.0.0.1:8080/a.git"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := source.Canonical(tc.url)
			if err != nil || got != tc.want {
				t.Errorf("%s\nCanonical(%q) = %q, %v; want %q", tc.reason, tc.url, got, err, tc.want)
			}
			if again, err := source.Canonical(got); err != nil || again != got {
				t.Errorf("%s\nCanonical is not stable: %q, %v", tc.reason, again, err)
			}
		})
	}
	if got, err := source.Canonical("file:///a"); err == nil || got != "" {
		t.Errorf("Canonical of a refused URL = %q, %v", got, err)
	}
}

func FuzzParseURL(f *testing.F) {
	for _, s := range []string{
		"https://git.example.com/acme/shop.git", "git@git.example.com:acme/shop.git", "ssh://git@[::1]:22/~a/b", "ext::sh", "https://a:b@c/d", "ssh://h/%27", "http://127.0.0.1/a",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := source.ParseLoopbackURL(raw)
		if err != nil {
			if u != (source.URL{}) {
				t.Errorf("ParseLoopbackURL(%q) failed and returned %v", raw, u)
			}
			return
		}
		s := u.String()
		again, err := source.ParseLoopbackURL(s)
		if err != nil || again != u {
			t.Errorf("canonical form %q of %q parses as %v, %v", s, raw, again, err)
		}
		if strings.ContainsAny(s, "'\"`\\\n\x00$;|&") || strings.HasPrefix(s, "-") {
			t.Errorf("canonical form %q of %q holds shell characters", s, raw)
		}
	})
}
