package image

import (
	"strings"
	"testing"
)

var hash = "sha256:" + strings.Repeat("ab", 32)

// THREATS I9: every spelling of an image is one image.
func TestAttack_I9_Spellings(t *testing.T) {
	for name, spellings := range map[string][]string{
		"docker.io/library/nginx:latest@": {
			"nginx", "nginx:latest", "library/nginx", "docker.io/nginx", "docker.io/library/nginx", "index.docker.io/nginx",
			"index.docker.io/library/nginx:latest", "docker.io:443/library/nginx", "index.docker.io:443/nginx:latest",
			"registry-1.docker.io/library/nginx", "registry.hub.docker.com/library/nginx:latest",
		},
		"docker.io/acme/app:1@":                   {"acme/app:1", "docker.io/acme/app:1", "index.docker.io:443/acme/app:1"},
		"ghcr.io/acme/app:1@":                     {"ghcr.io/acme/app:1", "ghcr.io:443/acme/app:1"},
		"localhost:5000/app:latest@":              {"localhost:5000/app", "localhost:5000/app:latest"},
		"localhost/app:latest@":                   {"localhost/app", "localhost:443/app"},
		"[::1]:5000/app:1@":                       {"[::1]:5000/app:1", "[0:0::1]:5000/app:1", "[::0001]:5000/app:1"},
		"10.0.0.1/app:1@":                         {"10.0.0.1/app:1", "10.0.0.1:443/app:1", "[::ffff:a00:1]/app:1"},
		"docker.io/library/nginx:@" + hash:        {"nginx@" + hash, "docker.io/library/nginx@" + hash, "index.docker.io:443/nginx@" + hash},
		"docker.io/library/nginx:1.27@" + hash:    {"nginx:1.27@" + hash, "docker.io/nginx:1.27@" + hash},
		"registry.example.com:8443/a/b/c:latest@": {"registry.example.com:8443/a/b/c"},
	} {
		for _, s := range spellings {
			t.Run(s, func(t *testing.T) {
				r, err := parseReference(s)
				if err != nil {
					t.Fatal(err)
				}
				if r.key() != name {
					t.Errorf("key %s, want %s", r.key(), name)
				}
				want := s
				if r.digest == "" {
					want += "@" + hash
				}
				if got := r.pinned(hash); got != want {
					t.Errorf("pinned %s, want %s", got, want)
				}
			})
		}
	}
}

// THREATS I9: the rule decides alike, and through the whole verifier.
func TestAttack_I9_Verdicts(t *testing.T) {
	for _, glob := range []string{"nginx", "docker.io/library/nginx", "index.docker.io/nginx", "docker.io:443/library/*", "library/**", "docker.io/**", "*"} {
		for _, action := range []Action{Allow, Deny} {
			other := map[Action]Action{Allow: Deny, Deny: Allow}[action]
			v, err := NewVerifier(Config{Default: other, Rules: []Rule{{Match: []string{glob}, Static: action}}})
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range []string{
				"nginx@", "nginx:1@", "library/nginx@", "docker.io/nginx@", "docker.io/library/nginx:2@",
				"index.docker.io/library/nginx@", "index.docker.io:443/nginx:latest@", "registry-1.docker.io/library/nginx@",
			} {
				e, err := v.Verify(t.Context(), s+hash)
				if (err == nil) != (action == Allow) || e.Valid() != (action == Allow) {
					t.Errorf("glob %s, %s: %s%s: %v", glob, action, s, hash, err)
				}
				if action == Allow && (e.Image() != "docker.io/library/nginx" || e.Rule() != "rules[0]") {
					t.Errorf("glob %s: %s is %s by %s", glob, s, e.Image(), e.Rule())
				}
			}
		}
	}
}

func TestParseReferenceRefuses(t *testing.T) {
	for _, s := range []string{
		"", ":", "@", "nginx:", "nginx@", "nginx@sha256:00", "nginx@sha512:" + strings.Repeat("ab", 64), "nginx@" + hash + "@" + hash,
		"nginx@" + strings.ToUpper(hash), "Nginx", "docker.io/", "/nginx", "a//b", "a/", "a..b", "GHCR.io/acme/app", "ghcr.io./acme/app",
		"ghcr.io:0/a", "ghcr.io:0443/a", "ghcr.io:70000/a", "ghcr.io:/a", "[:]/a", "[::1/a", "[1]/a", "user@ghcr.io/a", "user:pass@ghcr.io/a",
		"https://ghcr.io/acme/app", "ghcr.io/acme/app?x=1", "ghcr.io/acme/../app", "ghcr.io/acme/app#x", "-x", "a b", "nginx\n", "nginx:1\x00",
		"ghcr.io/acme/app:" + strings.Repeat("a", 129), strings.Repeat("a/", 130) + "a", strings.Repeat("ab", 32), "ghcr.io/%2e%2e/app", "gһcr.io/acme/app",
	} {
		if r, err := parseReference(s); err == nil {
			t.Errorf("%q is accepted as %s", s, r.key())
		}
	}
}

func TestGlob(t *testing.T) {
	for _, tc := range []struct {
		glob, name string
		want       bool
	}{
		{"ghcr.io/acme/**", "ghcr.io/acme/a/b", true},
		{"ghcr.io/acme/**", "ghcr.io/acme", false},
		{"ghcr.io/acme/**", "ghcr.io/acme-evil/a", false},
		{"ghcr.io/acme/**", "evil.io/ghcr.io/acme/a", false},
		{"ghcr.io/acme/*", "ghcr.io/acme/a", true},
		{"ghcr.io/acme/*", "ghcr.io/acme/a/b", false},
		{"ghcr.io:443/acme/*", "ghcr.io/acme/a", true},
		{"ghcr.io:5000/acme/*", "ghcr.io/acme/a", false},
		{"ghcr.io/acme/app", "ghcrxio/acme/app", false},
		{"ghcr.io/acme/app", "ghcr.io/acme/app2", false},
		{"*.example.com/**", "a.example.com/x", true},
		{"*.example.com/**", "example.com/x", false},
		{"*.example.com/**", "evil.io/a.example.com/x", false},
		{"*", "docker.io/library/nginx", true},
		{"*", "ghcr.io/acme/app", false},
		{"*/*", "docker.io/acme/app", true},
		{"*/*", "ghcr.io/app", false},
		{"**", "ghcr.io/acme/app", true},
		{"**/app", "ghcr.io/acme/app", true},
		{"acme/*", "docker.io/acme/app", true},
	} {
		g, err := compileGlob(tc.glob)
		if err != nil {
			t.Errorf("%s: %v", tc.glob, err)
			continue
		}
		if got := g.match(tc.name); got != tc.want {
			t.Errorf("%s matches %s: %t, want %t", tc.glob, tc.name, got, tc.want)
		}
	}
	for _, bad := range []string{"", "a//b", "ghcr.io/", "ghcr.io/a***", "ghcr.io/a:1", "nginx:1", "ghcr.io/a@b", "[a-z]/x", "a?b", "ghcr.io/A", "ghcr.io:x/a"} {
		if _, err := compileGlob(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func FuzzReference(f *testing.F) {
	for _, s := range []string{"nginx", "ghcr.io:443/acme/app:1", "a/b@" + hash, "localhost:5000/x:y@" + hash, "[::1]:1/a", "[:]/0", "[::ffff:a00:1]/a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := parseReference(s)
		if err != nil {
			t.Skip()
		}
		again, err := parseReference(r.pinned(hash))
		if err != nil || again.name() != r.name() || again.tag != "" && again.tag != r.tag {
			t.Fatalf("%q pins to %q: %v", s, r.pinned(hash), err)
		}
		canonical, err := parseReference(r.name() + "@" + hash)
		if err != nil || canonical.name() != r.name() {
			// A host without a dot is only a host with its port.
			if strings.ContainsAny(r.host, ".:") || r.host == "localhost" {
				t.Fatalf("%q: the name %q is not its own normal form: %v", s, r.name(), err)
			}
		}
		if _, err := r.repository(); err != nil {
			t.Fatalf("%q has no repository: %v", s, err)
		}
	})
}
